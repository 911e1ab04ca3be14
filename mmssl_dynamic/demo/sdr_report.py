"""The demo's report: what was clustered, how the sub-networks did on every task, and what was exported."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mmssl_dynamic.budget import Cost
from mmssl_dynamic.clustering import ClusterReport
from mmssl_dynamic.clusters import Clusters
from mmssl_dynamic.demo.budget_section import MeasuredCosts, Row, choices_within, tasks_section
from mmssl_dynamic.demo.steps import how_it_was_made
from mmssl_dynamic.evaluation.knn import protocol_text
from mmssl_dynamic.export import ExportReport
from mmssl_dynamic.routing import RoutingResult
from mmssl_dynamic.selection import read_results
from mmssl_dynamic.subnets import FULL
from mmssl_dynamic.visualization.report import HtmlReport
from mmssl_dynamic.visualization.routing_plots import gains_histogram, save_figure, task_heatmap


@dataclass(frozen=True)
class Measured:
    """Which images of a task a network classifies rightly.

    Attributes:
        train: Of the training images, bool (N,), each left out in turn.
        test: Of the test images, bool (Q,).
    """

    train: NDArray
    test: NDArray


@dataclass(frozen=True)
class Gain:
    """One network minus another on the mean of the tasks, in percentage points, and its standard error."""

    points: float
    error: float

    def __str__(self) -> str:
        return f"{self.points:+.1f} ± {self.error:.1f}"


def gain(one: Sequence[NDArray], other: Sequence[NDArray]) -> Gain:
    """Compare two networks image by image.

    Args:
        one: Which test images the first classifies rightly, bool (Q,) for each task.
        other: The same of the second.

    Returns:
        The mean difference. Its standard error is that of the pairs: images that both classify alike say nothing.
    """
    differences = [a.astype(float) - b.astype(float) for a, b in zip(one, other, strict=True)]
    variance = sum(d.var(ddof=1) / len(d) for d in differences)
    return Gain(100 * float(np.mean([d.mean() for d in differences])), 100 * math.sqrt(variance) / len(differences))


@dataclass
class TaskFigures:
    """One task.

    Attributes:
        routing: Accuracies of all sub-networks.
        export: Of the winner.
        plain: Of networks without paths, by what they are called.
        full: Of the full network.
        routed: Of the winner.
    """

    routing: RoutingResult
    export: ExportReport
    plain: dict[str, Measured] = field(default_factory=dict)
    full: Measured | None = None
    routed: Measured | None = None


@dataclass
class SDRDemoResults:
    """Everything the report shows.

    Attributes:
        clusters: Of the images.
        montage: Picture of them.
        settings: Of the demo.
        collapse: What ``collapse.json`` holds: collapse measure and steps of every network.
        epochs: Of SimSiam, and as many of what started from it.
        num_paths: Why there are so many paths.
        tasks: By name.
        distance: Of the paths' weights from one another, relative to their norm.
        costs: Of the networks, as measured here.
        seconds: Of every step.
    """

    clusters: Clusters
    montage: Path
    settings: dict[str, Any]
    collapse: dict[str, Any]
    epochs: int
    num_paths: str
    tasks: dict[str, TaskFigures] = field(default_factory=dict)
    distance: float = 0.0
    costs: MeasuredCosts | None = None
    seconds: dict[str, float] = field(default_factory=dict)

    @property
    def baseline(self) -> str:
        """What SimSiam is called that had as many steps as SDR has with those of its start."""
        return f"SimSiam, {2 * self.epochs} epochs"

    @property
    def start(self) -> str:
        """What the SimSiam is called that SDR started from."""
        return f"SimSiam, {self.epochs} epochs"

    def measured(self, task: TaskFigures, kind: str) -> Measured:
        """``'full'``, ``'routed'``, ``'chosen'`` or the name of a plain network.

        Chosen is which of the routed sub-network, the full network and the start does best on the training images.
        """
        if kind == "chosen":
            found = (_measured(task, name) for name in ("routed", "full", self.start))
            return max(found, key=lambda measured: measured.train.mean())
        return _measured(task, kind)

    def gain(self, kind: str) -> Gain:
        """A kind of :meth:`measured` minus SimSiam of equal steps."""
        mine = [self.measured(task, kind).test for task in self.tasks.values()]
        return gain(mine, [task.plain[self.baseline].test for task in self.tasks.values()])

    def conclusion(self) -> str:
        """What the figures say of what the tasks get, in words that nothing but the figures decides."""
        found = self.gain("chosen")
        mean = np.mean([100 * self.measured(task, "chosen").test.mean() for task in self.tasks.values()])
        text = (
            f"On the mean of the tasks the chosen networks get {mean:.1f} %, {_distance(found)} SimSiam of equal total "
            f"steps; the routed sub-networks alone are {_distance(self.gain('routed'))} it"
        )
        if found.points > 2 * found.error:
            return f"{text}: more than chance."
        if found.points > 0:
            return f"{text}: within two standard errors, so that one training cannot tell it from chance."
        return f"{text}. {self._reason()}"

    def _reason(self) -> str:
        """Why the chosen networks are not above."""
        of_baseline = np.mean([100 * task.plain[self.baseline].test.mean() for task in self.tasks.values()])
        best = float(np.mean([_best_in_hindsight(task.routing) for task in self.tasks.values()]) - of_baseline)
        steps = [count for name, count in self.collapse["steps"].items() if name != FULL]
        if best > 0:
            return (
                f"Paths that are {best:.1f} points above it are there, but the labelled training images do not tell "
                "them from the others."
            )
        images = len(self.clusters.assignment) // self.clusters.num_clusters
        return (
            f"Not even the best paths in hindsight are above it ({best:+.1f} points): {min(steps)} to {max(steps)} "
            f"steps of each path on about {images} images of its own do not make up for the same steps on all images."
        )


def _distance(found: Gain) -> str:
    """``1.2 ± 0.9 points above``."""
    where = "above" if found.points > 0 else "below"
    return f"{abs(found.points):.1f} points (standard error {found.error:.1f}) {where}"


def _measured(task: TaskFigures, kind: str) -> Measured:
    found = {"full": task.full, "routed": task.routed}.get(kind) or task.plain[kind]
    return found


def _best_in_hindsight(routing: RoutingResult) -> float:
    return max(score.test_accuracy or 0.0 for score in routing.subnets)


def write_sdr_report(results: SDRDemoResults, path: Path) -> Path:
    """Write the page, and its heat-map and the picture of a budget as PNG and SVG beside it."""
    page = HtmlReport("SDR demo: one super-network, a backbone for every task")
    _summary(page, results)
    page.section("Clusters")
    page.text(
        "The images were split by Sinkhorn prototypes over SimSiam's features; cluster i trains path i. "
        f"{results.num_paths}. Each line shows images of one cluster."
    )
    page.figure(results.montage, "Random images of every cluster, its number and size at the left")
    report = ClusterReport.of(results.clusters, None)
    page.code(report.text())
    page.text(
        "All paths started as the same network. After the training the weights of two paths differ by "
        f"{100 * results.distance:.0f} % of their norm."
    )
    page.section("Sub-networks on every task")
    heatmap = task_heatmap([task.routing for task in results.tasks.values()])
    save_figure(heatmap, path.with_name("heatmap"))
    page.figure(heatmap, "Gain over the full network, in percentage points of kNN accuracy on the test images")
    for name, task in results.tasks.items():
        _task(page, name, task)
    if results.costs is not None:
        _budget(page, results, results.costs, path.parent)
    routing = next(iter(results.tasks.values())).routing
    more = f"{protocol_text(routing.protocol)}. Weights: {routing.weights_fingerprint[:16]}."
    how_it_was_made(
        page, results.collapse["health"], results.seconds, results.settings, more, results.collapse["steps"]
    )
    return page.save(path)


def _summary(page: HtmlReport, results: SDRDemoResults) -> None:
    tasks = list(results.tasks.values())
    rows: list[list[object]] = [_row(results, label, label) for label in tasks[0].plain]
    rows.append(_row(results, "SDR, full network", "full"))
    rows.append(_row(results, "SDR, routed sub-network", "routed"))
    rows.append(_row(results, "chosen for every task", "chosen"))
    hindsight = [_best_in_hindsight(task.routing) for task in tasks]
    rows.append(["SDR, best in hindsight", *hindsight, float(np.mean(hindsight)), ""])
    page.text(
        f"SimSiam trained without labels for {results.epochs} epochs on all images. SDR started from its weights: the "
        f"full network on all images, every sub-network beside it on one cluster, {results.epochs} epochs together. "
        "SimSiam itself trained on for as many steps: that is what SDR is compared with. Both went on with the rate "
        "that SimSiam's schedule had left when it was halfway down. For every task the network with the best kNN "
        "accuracy on the training images was chosen: the first sub-network, or the full network or the SimSiam that "
        "SDR started from. The figures below are of the test images, which took no part in any choice.",
        results.conclusion(),
    )
    header = ["test accuracy in %", *results.tasks, "mean", f"minus {results.baseline}"]
    page.table(header, rows, marked=[len(rows) - 2])
    images = sum(len(_measured(task, "full").test) for task in tasks)
    page.text(
        f"± is one standard error, of {images:,} test images that both networks classified; another training would "
        f"differ by more than that. This demo is small, so that it ends while you wait: a narrow ResNet-18, 32-pixel "
        "images, minutes of training. It shows every step at work; it is no evidence for or against the method.",
        note=True,
    )


def _row(results: SDRDemoResults, label: str, kind: str) -> list[object]:
    shares = [100 * float(results.measured(task, kind).test.mean()) for task in results.tasks.values()]
    against = "" if kind == results.baseline else str(results.gain(kind))
    return [label, *shares, float(np.mean(shares)), against]


def _task(page: HtmlReport, name: str, task: TaskFigures) -> None:
    routing = task.routing
    page.section(f"Task: {name}")
    page.figure(gains_histogram(routing), f"{name}: how many sub-networks gain how much over the full network")
    page.text(f"Routed: {routing.best.name}. {task.export}")
    rows: list[list[object]] = [
        [label, 100 * float(found.train.mean()), 100 * float(found.test.mean()), "", ""]
        for label, found in task.plain.items()
    ]
    scores = [routing.full, *routing.subnets]
    rows += [
        [s.name, s.select_accuracy, s.test_accuracy, f"{s.params / 1e6:.2f} M", f"{s.macs / 1e6:.0f} M"] for s in scores
    ]
    marked = [i for i, row in enumerate(rows) if row[0] == routing.best.name]
    header = ["network", "train (left out), %", "test, %", "parameters", "multiply-adds"]
    page.table(header, rows, marked, summary=f"All {len(rows)} networks on {name}")


def _budget(page: HtmlReport, results: SDRDemoResults, costs: MeasuredCosts, folder: Path) -> None:
    """The networks within a budget, out of the files of the routing as ``select`` reads them."""
    found = {name: read_results(folder / "routing" / name)[0] for name in results.tasks}
    choices = choices_within([replace(costs.table.priced(task), task=name) for name, task in found.items()])
    of_full = next(candidate.cost for candidate in choices[0].task.candidates if candidate.name == FULL)
    chosen = choices[0].chosen
    assert chosen is not None  # a sub-network has less than half of the full network's weights

    def row(label: str, kind: str, cost: Cost) -> Row:
        accuracies = {name: 100 * float(_measured(task, kind).test.mean()) for name, task in results.tasks.items()}
        return Row(label, cost, accuracies)

    rows = [
        row(results.baseline, results.baseline, costs.plain),
        row("SDR, routed sub-network", "routed", chosen.cost),
        row("SDR, full network", "full", of_full),
    ]
    images = {name: len(_measured(task, "full").test) for name, task in results.tasks.items()}
    tasks_section(page, choices, rows, images, costs, folder)
