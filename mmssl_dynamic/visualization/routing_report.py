"""The page of a routing run: what was chosen for every task, how much it gains, and what its cluster looks like."""

from __future__ import annotations

import os
import platform
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from mmssl_dynamic.clusters import Clusters
from mmssl_dynamic.routing.result import RoutingResult, SubnetScore
from mmssl_dynamic.version import __version__
from mmssl_dynamic.visualization.montage import choose_rows, draw_montage
from mmssl_dynamic.visualization.report import HtmlReport
from mmssl_dynamic.visualization.routing_plots import gains_histogram, save_figure, task_gains, task_heatmap
from mmssl_dynamic.writing import write_stream

_CLASSES = 8  # most frequent ones that are listed


@dataclass(frozen=True)
class ClusterPictures:
    """What is needed to show the images that a sub-network was trained on.

    Attributes:
        clusters: The clusters; cluster i trained path i.
        paths: All paths, in that order.
        image_root: Folder of their images; ``None`` where it is not there.
    """

    clusters: Clusters
    paths: Sequence[str]
    image_root: Path | None = None


@dataclass(frozen=True)
class RoutedTask:
    """One task of the report.

    Attributes:
        result: Its routing.
        exported: What was exported, in a sentence.
        reference: Ranking of all sub-networks, for the regret of a faster method.
        snippet: Lines of Python that load what was exported.
    """

    result: RoutingResult
    exported: str = ""
    reference: RoutingResult | None = None
    snippet: str = ""


def write_routing_report(
    tasks: Sequence[RoutedTask],
    path: str | os.PathLike[str],
    pictures: ClusterPictures | None = None,
    command: str | None = None,
) -> Path:
    """Write the page, and its figures as PNG and SVG beside it.

    Args:
        tasks: At least one.
        path: The page; the figures go into the same folder.
        pictures: For montages of the chosen clusters.
        command: The command line that made it.
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
        _task(page, task)
    if pictures is not None:
        _clusters(page, results, pictures, folder)
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
        "images took no part in the choice; the test columns say how it turned out. Regret is what the best of the "
        "ranked sub-networks has over the chosen one on the test images."
    )
    rows: list[list[object]] = []
    for task in tasks:
        result = task.result
        hindsight = (task.reference or result).best_in_hindsight
        cost = result.cost
        rows.append(
            [
                result.task,
                result.best.name,
                _reported(result.best),
                _reported(result.full),
                f"{result.best.gain_over_full:+.1f}",
                hindsight.name,
                result.regret(task.reference),
                f"{len(result.subnets)} of {len(result.subnets) + len(result.dropped)}",
                f"{cost['stage_runs']} ({cost['stage_runs_one_by_one']})",
                cost["seconds"],
            ]
        )
    page.table(
        [
            "task",
            "chosen",
            "accuracy, %",
            "full network, %",
            "gain",
            "best in hindsight",
            "regret",
            "ranked",
            "stage runs per image (one by one)",
            "seconds",
        ],
        rows,
    )


def _task(page: HtmlReport, task: RoutedTask) -> None:
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
    marked = [i for i, score in enumerate(scores) if score.name == result.best.name]
    page.table(header, rows, marked, summary=f"All {len(rows)} networks, the full one and then best first")
    if result.dropped:
        page.table(
            ["not evaluated on all images", "accuracy there, %", "training images", "why"],
            [
                [drop.name, "-" if drop.select_accuracy is None else drop.select_accuracy, drop.images, drop.reason]
                for drop in result.dropped
            ],
            summary=f"{len(result.dropped)} sub-networks that were left out early",
        )


def _clusters(page: HtmlReport, results: Sequence[RoutingResult], pictures: ClusterPictures, folder: Path) -> None:
    paths = list(pictures.paths)
    chosen = {result.task: paths.index(result.best.name) for result in results if result.best.name in paths}
    if not chosen:
        return
    page.section("What the chosen sub-networks were trained on")
    clusters = pictures.clusters
    shown = list(dict.fromkeys(chosen.values()))
    if pictures.image_root is not None:
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
        f"Weights {first.weights_fingerprint[:16]}; {files}. Protocol: {first.protocol}.",
        note=True,
    )


def _reported(score: SubnetScore) -> float:
    return score.select_accuracy if score.test_accuracy is None else score.test_accuracy
