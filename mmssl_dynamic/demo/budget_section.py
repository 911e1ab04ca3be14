"""The end of a demo's report: which of its networks to take where there is room for half of the largest one."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn

from mmssl_dynamic.budget import Budget, Cost
from mmssl_dynamic.evaluation.complexity import complexity
from mmssl_dynamic.evaluation.evaluation_result import NetworkResult
from mmssl_dynamic.evaluation.latency import Latency, latency
from mmssl_dynamic.models.backbones import SuperNetwork
from mmssl_dynamic.selection import Candidate, Choice, DeviceTable, Measurement, TaskCandidates, choose
from mmssl_dynamic.selection.device_table import Conditions
from mmssl_dynamic.subnets import FULL
from mmssl_dynamic.visualization.budget_plot import Beside, budget_plot, tasks_plot
from mmssl_dynamic.visualization.report import HtmlReport
from mmssl_dynamic.visualization.routing_plots import save_figure

#: Latencies of this machine, in the folder of the demo.
TABLE = "this_machine.json"
_SHARE = 0.5  # of what the largest network needs
_HEADING = "Within a budget"
_ROUNDS, _REPEATS = 5, 20  # of latencies: the networks in turn, and passes of each


def budget_section(page: HtmlReport, networks: Iterable[NetworkResult], weights: str, folder: Path) -> None:
    """Add the section for networks of many sizes, and save its picture as ``budget.png`` and ``.svg``.

    Args:
        page: The report.
        networks: With their mean accuracies over the tasks.
        weights: Fingerprint of the super-network.
        folder: Of the picture.
    """
    found = [Candidate(n.name, n.top1, None, Cost(n.macs, n.params)) for n in networks]
    measure = "mean kNN accuracy on the test images of the tasks"
    task = TaskCandidates("mean of the tasks", tuple(found), measure, weights, {}, "this report")
    budget = Budget(macs=_SHARE * max(candidate.cost.macs for candidate in found))
    choice = choose(task, budget)
    page.section(_HEADING)
    page.text(
        "Where a device does half of the largest network's multiply-accumulates in the time that there is, this is the "
        "network to take, and what the next step up would cost. mmssl-dynamic select answers the same for your "
        "results and for a latency of your device."
    )
    page.code(choice.text())
    figure = budget_plot(choice)
    save_figure(figure, folder / "budget")
    page.figure(figure, "Networks that no other one beats at the same cost or less, and the budget")
    page.text(
        f"Chosen by {measure}, which is a little too good for the network that is chosen by it: on data of your own, "
        "keep test images that take no part in the choice.",
        note=True,
    )


@dataclass(frozen=True)
class MeasuredCosts:
    """What SDR's networks need, and the plain network that they are compared with.

    Attributes:
        table: Latencies of the sub-networks and of the full network on this machine.
        plain: Of the plain network.
    """

    table: DeviceTable
    plain: Cost

    @classmethod
    def of(cls, net: SuperNetwork, plain: nn.Module, size: tuple[int, int], weights: str) -> MeasuredCosts:
        """Measure the full network, one sub-network, whose shape all have, and the plain network, an image a pass.

        Args:
            net: The super-network.
            plain: The plain network.
            size: (H, W) of the images, in pixels.
            weights: Fingerprint of the super-network.
        """
        paths = [name for name in net.space.names if name != FULL]
        full, path, other = _latencies([net.static(FULL), net.static(paths[0]), plain], size)
        times = {FULL: full, **dict.fromkeys(paths, path)}
        entries = [
            Measurement(name, time.median_ms, time.low_ms, time.high_ms, source_weights_fingerprint=weights)
            for name, time in times.items()
        ]
        conditions = Conditions(full.device, f"torch {torch.__version__}", full.threads, full.batch_size, size)
        found = complexity(plain, None, size)
        return cls(DeviceTable(conditions, entries), Cost(found.macs, found.params, other.median_ms))


def _latencies(networks: Sequence[nn.Module], size: tuple[int, int]) -> list[Latency]:
    """Of every network its quickest round: another program that runs meanwhile slows down one and not the next."""
    rounds = [[latency(network, size, repeats=_REPEATS, warm_up=5) for network in networks] for _ in range(_ROUNDS)]
    return [min(found, key=lambda time: time.median_ms) for found in zip(*rounds)]


@dataclass(frozen=True)
class Row:
    """A network for each task, or the same for all.

    Attributes:
        label: What it is called.
        cost: What it needs.
        accuracies: In percent on the test images, by task.
    """

    label: str
    cost: Cost
    accuracies: Mapping[str, float]


def choices_within(tasks: Sequence[TaskCandidates]) -> list[Choice]:
    """For every task the network that needs no more than half of the full network's weights.

    Args:
        tasks: Of one super-network with the same networks.
    """
    budget = Budget(params=_SHARE * max(candidate.cost.params for candidate in tasks[0].candidates))
    return [choose(task, budget) for task in tasks]


def tasks_section(
    page: HtmlReport,
    choices: Sequence[Choice],
    rows: Sequence[Row],
    images: Mapping[str, int],
    costs: MeasuredCosts,
    folder: Path,
) -> None:
    """Add the section for a network of each task, save its picture and the latencies of this machine beside it.

    Args:
        page: The report.
        choices: Of every task, by :func:`choices_within`.
        rows: Of the table; the first one is what the others are compared with.
        images: Test images by task.
        costs: Of the networks.
        folder: Of the demo, with ``routing/`` in it.
    """
    costs.table.save(folder / TABLE)
    baseline, budget = rows[0], choices[0].budget
    full = max((candidate.cost for candidate in choices[0].task.candidates), key=lambda cost: cost.params)
    room = budget.limits["params"] / 1e6
    page.section(_HEADING)
    page.text(
        f"Every sub-network has the shape of SimSiam's network and needs what that one needs. The full network holds "
        f"all of them: {full.params / costs.plain.params:.1f} times the weights, "
        f"{full.macs / costs.plain.macs:.1f} times the multiply-accumulates. That is what the choice of sub-networks "
        "needs while it trains; a device gets the chosen one alone.",
        f"Where a device has room for {room:.2f} million weights, half of the full network, these are the networks to "
        "take for each task, by training images, and what the next step up would cost. The command says the same; "
        "give it --max-latency 2ms and it goes by the latencies that were measured here.",
    )
    files = [shlex.quote(str(folder / name)) for name in ("routing", TABLE)]
    command = f"mmssl-dynamic select {files[0]} --max-params {int(budget.limits['params'])} --device-table {files[1]}"
    page.code("\n\n".join([f"$ {command}", *(choice.text() for choice in choices)]))
    beside = [
        Beside(baseline.label, baseline.accuracies[choice.task.task], float(baseline.cost.params)) for choice in choices
    ]
    counts = [images[choice.task.task] for choice in choices]
    figure = tasks_plot(choices, beside, counts, "networks of SDR")
    save_figure(figure, folder / "budget")
    page.figure(
        figure,
        "Accuracy on test images over weights. Chosen by training images, the best of the sub-networks within the "
        "budget may be another one; bars are one standard error, from the number of test images alone",
    )
    names = [choice.task.task for choice in choices]
    page.table(
        ["test accuracy in %", *names, "parameters", "multiply-adds", "latency"],
        [[row.label, *(row.accuracies[name] for name in names), *_cost(row.cost)] for row in rows],
        marked=[1],
    )
    page.text(
        f"Latency: {costs.table.conditions}; median of {_REPEATS} passes, the least of {_ROUNDS} rounds. One of the "
        "sub-networks was measured for all.",
        note=True,
    )


def _cost(cost: Cost) -> tuple[str, str, str]:
    time = "" if cost.latency_ms is None else f"{cost.latency_ms:.2f} ms"
    return f"{cost.params / 1e6:.2f} M", f"{cost.macs / 1e6:.1f} M", time
