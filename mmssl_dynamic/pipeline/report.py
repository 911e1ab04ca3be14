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
from mmssl_dynamic.version import __version__
from mmssl_dynamic.visualization.report import HtmlReport
from mmssl_dynamic.visualization.training_curves_hook import CURVES
from mmssl_dynamic.visualization.words import ROUTING_WORDS


@dataclass(frozen=True)
class PipelineResults:
    """Everything the report shows.

    Attributes:
        routed: Ranking and export of every task.
        full: Export of the full network, if it selects better than the best path of a task.
        clusters: The clusters of the pre-training images.
        montage: Picture of them.
        folder: Of the pipeline.
        settings: Of the pipeline.
    """

    routed: Sequence[tuple[RoutingResult, ExportReport]]
    full: ExportReport | None
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
        export = results.full if result.full_is_better and results.full is not None else winner
        page.section(f"Task: {result.task}")
        verdict = result.verdict()
        page.text(f"{verdict[0].upper()}{verdict[1:]}.", str(export))
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
        export = results.full if result.full_is_better and results.full is not None else winner
        best, full = result.best, result.full
        rows.append(
            [
                result.task,
                "full network" if result.full_is_better else best.name,
                best.name,
                _reported(best.select_accuracy, best.test_accuracy),
                _reported(full.select_accuracy, full.test_accuracy),
                f"{best.params / 1e6:.2f} M",
                os.path.relpath(export.path, results.folder),
            ]
        )
    page.text(
        "For every task the sub-network was chosen whose features classify the training images best, each left out in "
        "turn (or those of val/). Test images took no part in it; the accuracies are theirs."
    )
    page.table(
        ["task", "use", "best path", "best path, %", "full network, %", "parameters of the path", "export to use"], rows
    )
    page.text(
        f"{Path('routing') / 'report.html'} has all sub-networks, SimSiam and random weights beside them, with "
        "standard errors.",
        note=True,
    )


def _reported(select: float, test: float | None) -> float:
    return select if test is None else test
