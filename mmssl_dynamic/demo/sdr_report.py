"""The demo's report: what was clustered, how the sub-networks did on every task, and what was exported."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mmssl_dynamic.clustering import ClusterReport
from mmssl_dynamic.clusters import Clusters
from mmssl_dynamic.demo.steps import how_it_was_made
from mmssl_dynamic.export import ExportReport
from mmssl_dynamic.routing import RoutingResult
from mmssl_dynamic.visualization.report import HtmlReport
from mmssl_dynamic.visualization.routing_plots import gains_histogram, save_figure, task_heatmap


@dataclass
class TaskFigures:
    """One task: its routing, the exported winner, and (train, test) accuracies in percent of the baselines."""

    routing: RoutingResult
    export: ExportReport
    baselines: dict[str, tuple[float, float]] = field(default_factory=dict)


@dataclass
class DemoResults:
    """Everything the report shows."""

    clusters: Clusters
    montage: Path
    settings: dict[str, Any]
    health: dict[str, Any]
    tasks: dict[str, TaskFigures] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)


def write_report(results: DemoResults, path: Path) -> Path:
    """Write the page, and its heat-map as PNG and SVG beside it."""
    page = HtmlReport("SDR demo: one super-network, a backbone for every task")
    _summary(page, results)
    page.section("Clusters")
    page.text(
        "The images were split by Sinkhorn prototypes over SimSiam's features; cluster i trains path i. "
        "Each line shows images of one cluster."
    )
    page.figure(results.montage, "Random images of every cluster, its number and size at the left")
    report = ClusterReport.of(results.clusters, None)
    page.code(report.text())
    page.section("Sub-networks on every task")
    heatmap = task_heatmap([task.routing for task in results.tasks.values()])
    save_figure(heatmap, path.with_name("heatmap"))
    page.figure(heatmap, "Gain over the full network, in percentage points of kNN accuracy on the test images")
    for name, task in results.tasks.items():
        _task(page, name, task)
    routing = next(iter(results.tasks.values())).routing
    more = f"kNN protocol: {routing.protocol}. Weights: {routing.weights_fingerprint[:16]}."
    how_it_was_made(page, results.health["health"], results.seconds, results.settings, more)
    return page.save(path)


def _summary(page: HtmlReport, results: DemoResults) -> None:
    header = ["test accuracy in %", *results.tasks]
    tasks = list(results.tasks.values())
    rows: list[list[object]] = [[label, *(task.baselines[label][1] for task in tasks)] for label in tasks[0].baselines]
    rows.append(["SDR, full network", *(task.routing.full.test_accuracy for task in tasks)])
    rows.append(["SDR, routed sub-network", *(task.routing.best.test_accuracy for task in tasks)])
    oracle = [max(score.test_accuracy or 0.0 for score in task.routing.subnets) for task in tasks]
    rows.append(["best in hindsight", *oracle])
    page.text(
        "A super-network was trained without labels: the full network on all images, every sub-network beside it "
        "on one "
        "cluster. For every task the sub-network with the best kNN accuracy on the training images was chosen; "
        "the figures below are of the test images, which took no part in the choice."
    )
    page.table(header, rows, marked=[len(rows) - 2])
    page.text(
        "This demo is small, so that it ends while you wait: a narrow ResNet-18, 32-pixel images, minutes of "
        "training. It shows every step at work; it is no evidence for or against the method.",
        note=True,
    )


def _task(page: HtmlReport, name: str, task: TaskFigures) -> None:
    routing = task.routing
    page.section(f"Task: {name}")
    page.figure(gains_histogram(routing), f"{name}: how many sub-networks gain how much over the full network")
    page.text(f"Chosen: {routing.best.name}. {task.export}")
    rows: list[list[object]] = [[label, *values, "", ""] for label, values in task.baselines.items()]
    scores = [routing.full, *routing.subnets]
    rows += [
        [s.name, s.select_accuracy, s.test_accuracy, f"{s.params / 1e6:.2f} M", f"{s.macs / 1e6:.0f} M"] for s in scores
    ]
    marked = [i for i, row in enumerate(rows) if row[0] == routing.best.name]
    header = ["network", "train (left out), %", "test, %", "parameters", "multiply-adds"]
    page.table(header, rows, marked, summary=f"All {len(rows)} networks on {name}")
