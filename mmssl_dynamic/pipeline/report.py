"""The report of the pipeline: what was chosen for every task, what it was trained on, and how to use it."""

from __future__ import annotations

import os
import platform
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from mmssl_dynamic.clustering import ClusterReport
from mmssl_dynamic.clusters import Clusters
from mmssl_dynamic.evaluation.knn import protocol_text
from mmssl_dynamic.export import ExportReport
from mmssl_dynamic.pipeline.clock import in_words
from mmssl_dynamic.routing import RoutingResult
from mmssl_dynamic.routing.result import reported
from mmssl_dynamic.version import __version__
from mmssl_dynamic.visualization.report import HtmlReport
from mmssl_dynamic.visualization.training_curves_hook import CURVES
from mmssl_dynamic.visualization.words import ROUTING_WORDS


@dataclass(frozen=True)
class PipelineResults:
    """Everything the report shows.

    Attributes:
        routed: Ranking and export of every task.
        full: Export of the full network, if it is the one to use for a task.
        start: Config and checkpoint of SimSiam's training.
        clusters: The clusters of the pre-training images.
        montage: Picture of them.
        folder: Of the pipeline.
        settings: Of the pipeline.
    """

    routed: Sequence[tuple[RoutingResult, ExportReport]]
    full: ExportReport | None
    start: tuple[Path, Path]
    clusters: Clusters
    montage: Path
    folder: Path
    settings: Mapping[str, Any]


def write_pipeline_report(results: PipelineResults, seconds: Mapping[str, float]) -> Path:
    """Write ``report.html`` into the folder.

    Args:
        results: What to show.
        seconds: Of every step.
    """
    path = results.folder / "report.html"
    page = HtmlReport("SDR on your images: a backbone for every task")
    _choices(page, results)
    for result, winner in results.routed:
        page.section(f"Task: {result.task}")
        verdict = result.verdict()
        page.text(f"{verdict[0].upper()}{verdict[1:]}.")
        export = _exported(results, result, winner)
        if export is None:
            page.text("It is no sub-network and needs no export. To load it:")
            page.code(_start_snippet(*results.start))
            continue
        page.text(str(export))
        if export.snippet:
            page.code(export.snippet)
    page.section("What the sub-networks were trained on")
    page.text(
        "The images were split into clusters by SimSiam's features; every sub-network trained on the images of one."
    )
    page.figure(results.montage, "Random images of every cluster, its number and size at the left")
    page.code(ClusterReport.of(results.clusters, None).text())
    page.section("Trainings")
    for name, label in (("simsiam", "SimSiam"), ("sdr", "SDR")):
        picture = results.folder / name / f"{CURVES}.png"
        if picture.is_file():
            page.figure(picture, f"Loss of {label} over its steps")
    page.section("Words")
    page.terms(ROUTING_WORDS)
    page.section("How it was made")
    page.table(["step", "time"], [[name, in_words(value)] for name, value in seconds.items()])
    first = results.routed[0][0]
    page.text(
        f"mmssl_dynamic {__version__}, python {platform.python_version()}, torch {torch.__version__}. "
        f"{protocol_text(first.protocol)}. Weights {first.weights_fingerprint[:16]}.",
        note=True,
    )
    page.facts(results.settings, summary="Settings")
    return page.save(path)


def _choices(page: HtmlReport, results: PipelineResults) -> None:
    rows: list[list[object]] = []
    for result, winner in results.routed:
        best, full, start = result.best, result.full, result.start
        export = _exported(results, result, winner)
        use = "SimSiam" if export is None else "full network" if export is results.full else best.name
        rows.append(
            [
                result.task,
                use,
                best.name,
                *("-" if network is None else reported(network) for network in (best, full, start)),
                f"{best.params / 1e6:.2f} M",
                os.path.relpath(results.start[1] if export is None else export.path, results.folder),
            ]
        )
    page.text(
        "For every task the network was chosen whose features classify the training images best, each left out in "
        "turn (or those of val/): a path, or the full network or the SimSiam that SDR started from, where that does "
        "better than all paths. Test images took no part in it; the accuracies are theirs."
    )
    accuracies = ["best path, %", "full network, %", "SimSiam, %"]
    page.table(["task", "use", "best path", *accuracies, "parameters of the path", "file to use"], rows)
    page.text(
        f"{Path('routing') / 'report.html'} has all sub-networks, and random weights beside them, with standard "
        "errors.",
        note=True,
    )


def _exported(results: PipelineResults, result: RoutingResult, winner: ExportReport) -> ExportReport | None:
    """Export of the network to use for a task; ``None`` if that is SimSiam's, which is there as it is."""
    if result.start_is_better:
        return None
    return results.full if result.full_is_better and results.full is not None else winner


def _start_snippet(config: Path, checkpoint: Path) -> str:
    return f"import mmssl_dynamic\n\nnet = mmssl_dynamic.get_model({str(config)!r}, pretrained={str(checkpoint)!r})"
