"""The page of a routing run: what was chosen for every task, how much it gains, and what its cluster looks like."""

from __future__ import annotations

import os
import platform
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch

from mmssl_dynamic.clusters import Clusters
from mmssl_dynamic.routing.result import Baseline, RoutingResult, SubnetScore, reported
from mmssl_dynamic.subnets import split_width
from mmssl_dynamic.version import __version__
from mmssl_dynamic.visualization.montage import choose_rows, draw_montage
from mmssl_dynamic.visualization.report import HtmlReport
from mmssl_dynamic.visualization.routing_plots import gains_histogram, save_figure, task_gains, task_heatmap
from mmssl_dynamic.visualization.words import ROUTING_WORDS
from mmssl_dynamic.writing import write_stream

_CLASSES = 8  # most frequent ones that are listed
#: Training steps below which a network is marked: our reading of too few to have learned anything of its own.
FEW_STEPS = 100


@dataclass(frozen=True)
class ClusterPictures:
    """What is needed to show the images that a sub-network was trained on.

    Attributes:
        clusters: The clusters; cluster i trained path i.
        paths: All paths, in that order.
        image_root: Folder of their images.
        found: Whether the images are there.
    """

    clusters: Clusters
    paths: Sequence[str]
    image_root: Path | None = None
    found: bool = True


@dataclass(frozen=True)
class RoutedTask:
    """One task of the report.

    Attributes:
        result: Its routing.
        exported: What was exported, in a sentence.
        reference: Ranking of all sub-networks, for the regret of a faster method.
        snippet: Lines of Python that load what was exported.
        baselines: Other networks on the same images.
        counts: Images of each part, for standard errors.
    """

    result: RoutingResult
    exported: str = ""
    reference: RoutingResult | None = None
    snippet: str = ""
    baselines: Sequence[Baseline] = ()
    counts: Mapping[str, int] = field(default_factory=dict)


def write_routing_report(
    tasks: Sequence[RoutedTask],
    path: str | os.PathLike[str],
    pictures: ClusterPictures | None = None,
    command: str | None = None,
    steps: Mapping[str, int] | None = None,
) -> Path:
    """Write the page, and its figures as PNG and SVG beside it.

    Args:
        tasks: At least one.
        path: The page; the figures go into the same folder.
        pictures: For montages of the chosen clusters.
        command: The command line that made it.
        steps: Training steps of every network, where they are known.
    """
    results = [task.result for task in tasks]
    folder = Path(path).parent
    page = HtmlReport("Routing: " + ", ".join(result.task for result in results))
    _summary(page, tasks)
    gains = task_gains(results)
    save_figure(gains, folder / "gains_by_task")
    page.figure(gains, "Gain of the chosen sub-network on every task, and of the best one in hindsight")
    if len(results) > 1 or len(results[0].subnets) > 1:
        heatmap = task_heatmap(results)
        save_figure(heatmap, folder / "heatmap")
        page.figure(heatmap, "Gain over the full network of every sub-network on every task, in percentage points")
    for task in tasks:
        _task(page, task, steps or {})
    if pictures is not None:
        _clusters(page, results, pictures, folder)
    page.section("Words")
    page.terms(ROUTING_WORDS)
    _origin(page, results, command)
    return page.save(path)


def ranking_rows(scores: Sequence[SubnetScore]) -> tuple[list[str], list[list[object]]]:
    """Header and cells of a table of scores."""
    header = ["network", "chosen with, %", "test, %", "over full", "parameters", "multiply-adds"]
    rows: list[list[object]] = [
        [
            score.name,
            score.select_accuracy,
            "-" if score.test_accuracy is None else score.test_accuracy,
            f"{score.gain_over_full:+.1f}",
            f"{score.params / 1e6:.2f} M",
            f"{score.macs / 1e6:.0f} M",
        ]
        for score in scores
    ]
    return header, rows


def _summary(page: HtmlReport, tasks: Sequence[RoutedTask]) -> None:
    selection = "; ".join(sorted({str(task.result.protocol.get("selection")) for task in tasks}))
    page.text(
        f"For every task the sub-network that ranks first on the images to choose with ({selection}) was taken. Test "
        "images took no part in the choice; the accuracies here are theirs and say how it turned out."
    )
    for task in tasks:
        if task.result.chosen is not task.result.best:
            page.text(f"{task.result.task}: {task.result.verdict()}.")
    names = list(dict.fromkeys(baseline.name for task in tasks for baseline in task.baselines))
    rows: list[list[object]] = []
    costs: list[list[object]] = []
    for task in tasks:
        result = task.result
        hindsight = (task.reference or result).best_in_hindsight
        cost = result.cost
        others = {baseline.name: baseline for baseline in task.baselines}
        rows.append(
            [
                result.task,
                result.best.name,
                _with_error(task, reported(result.best)),
                _with_error(task, reported(result.full)),
                *(_with_error(task, reported(others[name])) if name in others else "-" for name in names),
                f"{result.best.gain_over_full:+.1f}",
                hindsight.name,
                result.regret(task.reference),
            ]
        )
        costs.append(
            [
                result.task,
                f"{len(result.subnets)} of {len(result.subnets) + len(result.dropped)}",
                cost["stage_runs"],
                cost["stage_runs_one_by_one"],
                cost["seconds"],
            ]
        )
    header = ["task", "chosen", "chosen, %", "full network, %", *(f"{name}, %" for name in names)]
    page.table([*header, "gain", "best in hindsight", "regret"], rows)
    header = ["task", "sub-networks ranked", "stage runs per image", "one by one", "seconds"]
    page.table(header, costs, summary="What the routing cost")


def _with_error(task: RoutedTask, accuracy: float, part: str | None = None) -> str:
    """An accuracy and its standard error; on the test images, or those of the choice where there are none."""
    test = task.result.best.test_accuracy is not None
    count = task.counts.get(part or ("test" if test else "val" if "val" in task.counts else "train"), 0)
    if count < 1:
        return f"{accuracy:.1f}"
    # Agresti and Coull: two right and two wrong images are added, so that no accuracy is known for sure.
    share = (accuracy / 100 * count + 2) / (count + 4)
    return f"{accuracy:.1f} ± {100 * (share * (1 - share) / (count + 4)) ** 0.5:.1f}"


def _task(page: HtmlReport, task: RoutedTask, steps: Mapping[str, int]) -> None:
    result = task.result
    page.section(f"Task: {result.task}")
    if task.exported:
        page.text(task.exported)
    if task.snippet:
        page.text("To load it:")
        page.code(task.snippet.strip())
    verdict = result.verdict()
    page.text(f"{verdict[0].upper()}{verdict[1:]}.")
    page.figure(gains_histogram(result), f"{result.task}: how many sub-networks gain how much over the full network")
    scores = [result.full, *result.subnets]
    header, rows = ranking_rows(scores)
    select = "val" if "val" in task.counts else "train"
    for score, row in zip(scores, rows):
        row[1] = _with_error(task, score.select_accuracy, select)
        row[2] = "-" if score.test_accuracy is None else _with_error(task, score.test_accuracy)
    if steps:
        header = [*header, "training steps"]
        for score, row in zip(scores, rows):
            count = steps.get(score.name, 0)
            row.append(f"{count}, few" if count < FEW_STEPS else count)
    for baseline in task.baselines:
        test = "-" if baseline.test_accuracy is None else _with_error(task, baseline.test_accuracy)
        gain = f"{reported(baseline) - reported(result.full):+.1f}"
        more = [""] * (len(header) - 4)
        rows.append([baseline.name, _with_error(task, baseline.select_accuracy, select), test, gain, *more])
    few = sum(steps.get(score.name, 0) < FEW_STEPS for score in result.subnets) if steps else 0
    if few:
        chosen = steps.get(result.best.name, 0)
        page.text(
            f"{few} of {len(result.subnets)} sub-networks trained for fewer than {FEW_STEPS} steps of their own, too "
            f"few to be judged; the chosen one for {chosen}."
        )
    marked = [i for i, score in enumerate(scores) if score.name == result.best.name]
    others = f", and {len(task.baselines)} others" if task.baselines else ""
    page.table(header, rows, marked, summary=f"All {len(scores)} networks, the full one and then best first{others}")
    left_out = ["not evaluated on all images", "accuracy there, %", "training images", "why"]
    dropped_table(page, result, left_out, "left out early")


def dropped_table(page: HtmlReport, result: RoutingResult, header: Sequence[str], how: str) -> None:
    """The sub-networks that were left out on the way, if there are any.

    Args:
        page: Gets the table.
        result: The routing.
        header: What name, measurement, its size and the reason are called.
        how: What happened to them, for the line above.
    """
    if result.dropped:
        rows = [
            [drop.name, "-" if drop.select_accuracy is None else drop.select_accuracy, drop.images, drop.reason]
            for drop in result.dropped
        ]
        page.table(header, rows, summary=f"{len(rows)} sub-networks that were {how}")


def _clusters(page: HtmlReport, results: Sequence[RoutingResult], pictures: ClusterPictures, folder: Path) -> None:
    paths = list(pictures.paths)
    best = {result.task: split_width(result.best.name)[0] for result in results}
    chosen = {task: paths.index(path) for task, path in best.items() if path in paths}
    if not chosen:
        return
    page.section("What the chosen sub-networks were trained on")
    clusters = pictures.clusters
    shown = list(dict.fromkeys(chosen.values()))
    if pictures.image_root is None or not pictures.found:
        where = "the config names no folder of them" if pictures.image_root is None else f"not in {pictures.image_root}"
        page.text(
            f"The images of the clusters were not found ({where}), so none are shown; --cfg-options data_root=DIR "
            "names their folder."
        )
    else:
        file = folder / "chosen_clusters.png"
        picture = draw_montage(choose_rows(clusters, pictures.image_root, 10, only=shown), 10, columns=1)
        write_stream(file, lambda stream: picture.save(stream, format="PNG"))
        page.figure(file, "Random images of the clusters of the chosen sub-networks; number and size at the left")
    rows = []
    for task, index in chosen.items():
        members = clusters.members(index)
        found = Counter(os.path.dirname(clusters.names[i]).split("/")[0] for i in members)
        found.pop("", None)  # images that lie in no folder
        listed = ", ".join(f"{name} {100 * count / len(members):.0f} %" for name, count in found.most_common(_CLASSES))
        rows.append([task, paths[index], index, len(members), listed or "not known"])
    page.table(["task", "sub-network", "cluster", "images", "most frequent folders (classes) of its images"], rows)


def _origin(page: HtmlReport, results: Sequence[RoutingResult], command: str | None) -> None:
    page.section("How it was made")
    if command:
        page.code(command)
    first = results[0]
    files = ", ".join(f"{key} {getattr(first, key)}" for key in ("config", "checkpoint", "bank") if getattr(first, key))
    page.text(
        f"mmssl_dynamic {__version__}, python {platform.python_version()}, torch {torch.__version__}. "
        f"Weights {first.weights_fingerprint[:16]}; {files}.",
        note=True,
    )
    page.facts(first.protocol, summary="The protocol: everything that a repetition needs to know")
