"""The report of DSPNet's demo: accuracy and cost of every network, the training, and what was exported."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from mmssl_dynamic.demo.steps import how_it_was_made
from mmssl_dynamic.evaluation.evaluation_result import EvaluationResult, NetworkResult, by_cost
from mmssl_dynamic.evaluation.knn import protocol_text
from mmssl_dynamic.export import ExportReport
from mmssl_dynamic.fileio import read_json, sidecar_path
from mmssl_dynamic.visualization.accuracy_cost import Curve, accuracy_cost
from mmssl_dynamic.visualization.report import HtmlReport
from mmssl_dynamic.visualization.routing_plots import save_figure
from mmssl_dynamic.visualization.training_log import loss_curves, network_losses

Results = Mapping[str, EvaluationResult]
"""Results by task."""

DSPNET = "DSPNet"


@dataclass
class Training:
    """One training: its log, and collapse measure and number of steps of every network."""

    log: list[dict[str, Any]]
    health: dict[str, float]
    steps: dict[str, int]

    def label(self, title: str, name: str) -> str:
        """What a network of this training is called."""
        return title if len(self.health) == 1 else f"{title}, {name}"

    @property
    def seconds_per_step(self) -> float | None:
        """Median over the second half of what was logged, in which every network trains."""
        times = [record["time"] for record in self.log if "time" in record]
        return statistics.median(times[len(times) // 2 :]) if times else None


@dataclass
class DSPNetDemoResults:
    """Everything the report shows.

    Attributes:
        names: Of the networks, the smallest first.
        dspnet: Results of all networks.
        byol: Results of those that trained alone, by name.
        random: Results of all networks before any training.
        trainings: By title, ``'DSPNet'`` first.
        exports: One per network.
        batch_size: Images per step.
        settings: Of the demo.
        seconds: Of every step.
    """

    names: Sequence[str]
    dspnet: Results
    byol: Mapping[str, Results]
    random: Results
    trainings: Mapping[str, Training]
    exports: Sequence[ExportReport]
    batch_size: int
    settings: Mapping[str, Any]
    seconds: Mapping[str, float]


def write_dspnet_report(results: DSPNetDemoResults, path: Path) -> Path:
    """Write the page, and its plot of accuracy over cost as PNG and SVG beside it."""
    dspnet, random = average(results.dspnet), average(results.random)
    byol = {name: average(found)[name] for name, found in results.byol.items()}
    page = HtmlReport(f"DSPNet demo: one pre-training, {len(results.names)} networks to choose from")
    _summary(page, results, dspnet, byol, random)
    groups = {DSPNET: dspnet, "BYOL alone": byol, "random weights": random}
    curves = [Curve(label, by_cost(found.values())) for label, found in groups.items()]
    figure = accuracy_cost(curves, f"mean kNN accuracy on {len(results.dspnet)} tasks (%)")
    save_figure(figure, path.with_name("accuracy_cost"))
    page.figure(figure, "Accuracy over cost; the names give width (w) and blocks per stage (d)")
    _tasks(page, results)
    _trainings(page, results)
    _exports(page, results)
    first = next(iter(results.dspnet.values()))
    runs = results.trainings.items()
    health = {run.label(title, name): value for title, run in runs for name, value in run.health.items()}
    more = f"{protocol_text(first.protocol)}. Weights: {first.weights_fingerprint[:16]}."
    how_it_was_made(page, health, results.seconds, results.settings, more)
    return page.save(path)


def average(found: Results) -> dict[str, NetworkResult]:
    """The networks by name, each with its mean accuracy over the tasks; the latency is of the first task."""
    first = next(iter(found.values()))
    scores = _scores(found)
    return {
        network.name: replace(network, top1=statistics.mean(task[network.name] for task in scores))
        for network in first.networks
    }


def comparison(
    dspnet: Mapping[str, NetworkResult], byol: Mapping[str, NetworkResult], random: Mapping[str, NetworkResult]
) -> str:
    """What the figures say, in words: nothing but them decides which words."""
    better = sum(dspnet[name].top1 > random[name].top1 for name in dspnet)
    sentences = [
        f"DSPNet's networks get {_span(dspnet)} on average over the tasks; with random weights they get "
        f"{_span(random)}. {better} of {len(dspnet)} are above the same network with random weights."
    ]
    for name, alone in byol.items():
        gain = dspnet[name].top1 - alone.top1
        where = "the same" if abs(gain) < 0.05 else f"{abs(gain):.1f} points {'more' if gain > 0 else 'less'}"
        sentences.append(
            f"BYOL with {name} alone gets {alone.top1:.1f} %; inside DSPNet it gets {dspnet[name].top1:.1f} %, {where}."
        )
    return " ".join(sentences)


def standard_error(found: Results, name: str) -> float:
    """Of a network's mean accuracy over the tasks, from the number of test images alone, in percentage points."""
    shares = [scores[name] / 100 for scores in _scores(found)]
    counts = [result.data["test"]["images"] for result in found.values()]
    variance = sum(share * (1 - share) / count for share, count in zip(shares, counts))
    return 100 * math.sqrt(variance) / len(found)


def _summary(
    page: HtmlReport,
    results: DSPNetDemoResults,
    dspnet: Mapping[str, NetworkResult],
    byol: Mapping[str, NetworkResult],
    random: Mapping[str, NetworkResult],
) -> None:
    largest = dspnet[results.names[-1]]
    page.text(
        f"One training without labels gave {len(dspnet)} ResNets, from {dspnet[results.names[0]].params / 1e6:.2f} to "
        f"{largest.params / 1e6:.2f} million parameters: each is a part of the largest one. Beside them stand the "
        "smallest and the largest, each trained alone by BYOL for as many steps, and all of them before any training. "
        "The accuracy is that of nearest neighbours among labelled training images, on test images that took no part "
        "in any training.",
        comparison(dspnet, byol, random),
    )
    header = ["mean accuracy in %", DSPNET, "BYOL alone", "random", "parameters", "multiply-adds", "latency"]
    page.table(header, [_row(dspnet[n], byol.get(n), random[n]) for n in results.names])
    conditions = largest.latency.conditions if largest.latency is not None else "not measured"
    page.text(f"Latency: {conditions}.", note=True)
    page.text(
        f"This demo is small, so that it ends while you wait: narrow ResNets, 32-pixel images, one seed, minutes of "
        f"training, and a standard error of {standard_error(results.dspnet, results.names[-1]):.1f} points from the "
        "number of test images alone. It shows every step at work; it is no evidence for or against the method.",
        note=True,
    )


def _row(dspnet: NetworkResult, byol: NetworkResult | None, random: NetworkResult) -> list[object]:
    time = "" if dspnet.latency is None else f"{dspnet.latency.median_ms:.2f} ms"
    cost = [f"{dspnet.params / 1e6:.2f} M", f"{dspnet.macs / 1e6:.1f} M", time]
    return [dspnet.name, dspnet.top1, "" if byol is None else byol.top1, random.top1, *cost]


def _tasks(page: HtmlReport, results: DSPNetDemoResults) -> None:
    page.section("Every network on every task")
    rows: list[list[object]] = []
    groups = [(DSPNET, results.dspnet), *(("BYOL alone", found) for found in results.byol.values())]
    for label, found in [*groups, ("random weights", results.random)]:
        for name in [name for name in results.names if name in _scores(found)[0]]:
            rows.append([f"{label}, {name}", *(scores[name] for scores in _scores(found))])
    page.table(["test accuracy in %", *results.dspnet], rows)
    sizes = ", ".join(
        f"{task} {result.data['train']['images']:,} and {result.data['test']['images']:,}"
        for task, result in results.dspnet.items()
    )
    page.text(f"Labelled training images and test images: {sizes}.", note=True)


def _scores(found: Results) -> list[dict[str, float]]:
    """Accuracy by network, of every task."""
    return [{network.name: network.top1 for network in result.networks} for result in found.values()]


def _trainings(page: HtmlReport, results: DSPNetDemoResults) -> None:
    page.section("Training")
    curves = network_losses(results.trainings[DSPNET].log, results.names)
    if curves:
        page.figure(
            loss_curves(curves),
            "Loss of every network inside DSPNet. All have the same targets, of the largest network's moving average",
        )
    rows: list[list[object]] = []
    for title, training in results.trainings.items():
        losses = network_losses(training.log, results.names)
        for name in [name for name in results.names if name in training.health]:
            loss = f"{losses[name][-1][1]:.2f}" if name in losses else ""
            rows.append([training.label(title, name), training.steps[name], loss, f"{training.health[name]:.2f}"])
    page.table(["network", "steps", "loss at the end", "collapse check"], rows)
    page.text(
        "Losses of different trainings cannot be compared: each has targets of its own. The collapse check is the std "
        "of the normalised projections: 1 when healthy, 0 when collapsed.",
        note=True,
    )
    times = {title: training.seconds_per_step for title, training in results.trainings.items()}
    page.table(
        ["training", "seconds per step"],
        [[title, f"{seconds:.2f}"] for title, seconds in times.items() if seconds is not None],
    )
    page.text(
        f"A step has {results.batch_size} images in two views, loading included. One of DSPNet trains the smallest "
        "network, the largest and random others.",
        note=True,
    )


def _exports(page: HtmlReport, results: DSPNetDemoResults) -> None:
    page.section("Exported networks")
    page.text(
        "Every network is a file of its own that needs no super-network. Each was read back, and weights and outputs "
        "were compared with those inside DSPNet:"
    )
    rows = [
        [
            export.path.name,
            ", ".join(export.models),
            f"{export.max_difference:.0e}" if export.max_difference else "0",
            f"{_megabytes(export.path):.1f} MB",
        ]
        for export in results.exports
    ]
    page.table(["file", "read back into", "largest difference of outputs", "size"], rows)
    file = results.exports[0].path
    page.text(f"To load one, in the folder {file.parent.name}:")
    page.code(
        "import json, torch, mmssl_dynamic.export as export\n"
        f'net = export.torchvision_resnet(json.load(open("{sidecar_path(file.name)}")))\n'
        f'net.load_state_dict(torch.load("{file.name}", weights_only=True))'
    )
    page.text(
        f"It maps images (N, 3, H, W) to features (N, {_feature_dim(file)}). The .json file also holds lines that do "
        "the same with torchvision alone.",
        note=True,
    )


def _feature_dim(file: Path) -> int:
    return read_json(sidecar_path(file), "sidecar")["out_channels"][-1]


def _megabytes(path: Path) -> float:
    return path.stat().st_size / 1e6


def _span(found: Mapping[str, NetworkResult]) -> str:
    accuracies = [network.top1 for network in found.values()]
    return f"{min(accuracies):.1f} to {max(accuracies):.1f} %"
