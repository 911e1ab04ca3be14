"""The report of DSPNet's demo: accuracy and cost of every network, the training, and what was exported."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from mmssl_dynamic.demo.budget_section import budget_section
from mmssl_dynamic.demo.dspnet_results import (
    AT_ONCE,
    EQUAL_STEPS,
    EQUAL_TIME,
    DSPNetDemoResults,
    Training,
    average,
    comparison,
    standard_error,
    task_scores,
)
from mmssl_dynamic.demo.steps import how_it_was_made
from mmssl_dynamic.evaluation.evaluation_result import NetworkResult, by_cost
from mmssl_dynamic.evaluation.knn import protocol_text
from mmssl_dynamic.fileio import read_json, sidecar_path
from mmssl_dynamic.visualization.accuracy_cost import Curve, accuracy_cost
from mmssl_dynamic.visualization.report import HtmlReport
from mmssl_dynamic.visualization.routing_plots import save_figure
from mmssl_dynamic.visualization.training_log import loss_curves, network_losses


def write_dspnet_report(results: DSPNetDemoResults, path: Path) -> Path:
    """Write the page, and its plots of accuracy over cost and of a budget as PNG and SVG beside it."""
    groups = {AT_ONCE: average(results.dspnet)}
    for kind in (EQUAL_TIME, EQUAL_STEPS):
        groups[kind] = {name: average(found)[name] for name, found in results.alone[kind].items()}
    groups["random weights"] = average(results.random)
    page = HtmlReport(f"DSPNet demo: one pre-training, {len(results.names)} networks to choose from")
    _summary(page, results, groups)
    curves = [Curve(label, by_cost(found.values())) for label, found in groups.items()]
    figure = accuracy_cost(curves, f"mean kNN accuracy on {len(results.dspnet)} tasks (%)")
    save_figure(figure, path.with_name("accuracy_cost"))
    page.figure(figure, "Accuracy over cost; the names give width (w) and blocks per stage (d)")
    _tasks(page, results)
    _trainings(page, results)
    _exports(page, results)
    first = next(iter(results.dspnet.values()))
    budget_section(page, groups[AT_ONCE].values(), first.weights_fingerprint, path.parent)
    health = {
        f"{kind}, {name}": value
        for kind, of_kind in results.trainings.items()
        for training in of_kind.values()
        for name, value in training.health.items()
    }
    more = f"{protocol_text(first.protocol)}. Weights: {first.weights_fingerprint[:16]}."
    how_it_was_made(page, health, results.seconds, results.settings, more)
    return page.save(path)


def _summary(page: HtmlReport, results: DSPNetDemoResults, groups: Mapping[str, Mapping[str, NetworkResult]]) -> None:
    at_once, random = groups[AT_ONCE], groups["random weights"]
    largest = at_once[results.names[-1]]
    better = sum(at_once[name].top1 > random[name].top1 for name in at_once)
    sizes = f"{at_once[results.names[0]].params / 1e6:.2f} to {largest.params / 1e6:.2f} million parameters"
    page.text(
        f"One training without labels gave {len(at_once)} ResNets, from {sizes}: each is a part of the largest one. "
        "Beside them stands each network trained alone: for as many steps, and for fewer, so that all of them together "
        "took the time of the one training. The accuracy is that of nearest neighbours among labelled training images, "
        f"on test images that took no part in any training. {better} of {len(at_once)} networks are above the same "
        "network with random weights.",
        comparison(results),
    )
    header = ["mean accuracy in %", *groups, "parameters", "multiply-adds", "latency"]
    rows = [_row(name, [group[name].top1 for group in groups.values()], at_once[name]) for name in results.names]
    seconds = [f"{results.training_seconds(kind):.0f} s" for kind in (AT_ONCE, EQUAL_TIME, EQUAL_STEPS)]
    page.table(header, [*rows, ["training of all", *seconds, "", "", "", ""]])
    conditions = largest.latency.conditions if largest.latency is not None else "not measured"
    page.text(f"Latency: {conditions}.", note=True)
    page.text(
        f"This demo is small, so that it ends while you wait: narrow ResNets, 32-pixel images, one seed, minutes of "
        f"training, SimSiam in place of the paper's BYOL, and a standard error of "
        f"{standard_error(results.dspnet, results.names[-1]):.1f} points of every figure from the number of test "
        "images alone. It shows every step at work; it is no evidence for or against the method.",
        note=True,
    )


def _row(name: str, accuracies: Sequence[float], network: NetworkResult) -> list[object]:
    time = "" if network.latency is None else f"{network.latency.median_ms:.2f} ms"
    return [name, *accuracies, f"{network.params / 1e6:.2f} M", f"{network.macs / 1e6:.1f} M", time]


def _tasks(page: HtmlReport, results: DSPNetDemoResults) -> None:
    page.section("Every network on every task")
    rows: list[list[object]] = []
    groups = [(AT_ONCE, results.dspnet)]
    groups += [(kind, found) for kind in (EQUAL_TIME, EQUAL_STEPS) for found in results.alone[kind].values()]
    for label, found in [*groups, ("random weights", results.random)]:
        for name in [name for name in results.names if name in task_scores(found)[0]]:
            rows.append([f"{label}, {name}", *(scores[name] for scores in task_scores(found))])
    page.table(["test accuracy in %", *results.dspnet], rows)
    sizes = ", ".join(
        f"{task} {result.data['train']['images']:,} and {result.data['test']['images']:,}"
        for task, result in results.dspnet.items()
    )
    page.text(f"Labelled training images and test images: {sizes}.", note=True)


def _trainings(page: HtmlReport, results: DSPNetDemoResults) -> None:
    page.section("Training")
    (at_once,) = results.trainings[AT_ONCE].values()
    curves = network_losses(at_once.log, results.names)
    if curves:
        page.figure(loss_curves(curves), "Loss of every network out of the one training")
    rows: list[list[object]] = []
    for kind, of_kind in results.trainings.items():
        for training in of_kind.values():
            losses = network_losses(training.log, results.names)
            for name in [name for name in results.names if name in training.health]:
                loss = f"{losses[name][-1][1]:.2f}" if name in losses else ""
                rows.append([f"{kind}, {name}", training.steps[name], loss, f"{training.health[name]:.2f}"])
    page.table(["network", "steps", "loss at the end", "collapse check"], rows, summary=f"All {len(rows)} networks")
    page.text(
        "Losses of different trainings cannot be compared: each has targets of its own. The collapse check is the std "
        "of the normalised projections: 1 when healthy, 0 when collapsed.",
        note=True,
    )
    table: list[list[object]] = [[AT_ONCE, *_times(at_once)]]
    for kind in (EQUAL_TIME, EQUAL_STEPS):
        table += [[f"{kind}, {name}", *_times(training)] for name, training in results.trainings[kind].items()]
    page.table(["training", "seconds per step", "seconds"], table)
    page.text(
        f"A step has {results.batch_size} images in two views, loading included. One of all networks at once trains "
        "the smallest network, the largest and random others.",
        note=True,
    )


def _times(training: Training) -> tuple[str, str]:
    per_step = training.seconds_per_step
    return "" if per_step is None else f"{per_step:.2f}", f"{training.seconds:.0f}"


def _exports(page: HtmlReport, results: DSPNetDemoResults) -> None:
    page.section("Exported networks")
    page.text(
        "Every network is a file of its own that needs no super-network. Each was read back, and weights and outputs "
        "were compared with those inside the one training's:"
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
