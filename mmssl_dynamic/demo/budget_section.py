"""The end of a demo's report: which of its networks to take where half of the largest one's work is the most."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from mmssl_dynamic.budget import Budget, Cost
from mmssl_dynamic.evaluation.evaluation_result import NetworkResult
from mmssl_dynamic.selection import Candidate, TaskCandidates, choose
from mmssl_dynamic.visualization.budget_plot import budget_plot
from mmssl_dynamic.visualization.report import HtmlReport
from mmssl_dynamic.visualization.routing_plots import save_figure

_SHARE = 0.5  # of the multiply-accumulates of the largest network


def budget_section(page: HtmlReport, networks: Iterable[NetworkResult], weights: str, folder: Path) -> None:
    """Add the section, and save its picture as ``budget.png`` and ``.svg``.

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
    page.section("Within a budget")
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
