"""Accuracy over cost with the Pareto front, the budget drawn in, and the chosen network marked."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from mmssl_dynamic.selection.candidates import Candidate
from mmssl_dynamic.selection.choice import Choice, pareto_front
from mmssl_dynamic.visualization.labels import Label, write_labels

_AXES = {
    "latency_ms": ("latency (ms)", 1.0),
    "macs": ("multiply-accumulates per image (M)", 1e6),
    "params": ("weights (M)", 1e6),
    "size_bytes": ("size of the weights (MB)", 1e6),
}
_RED, _BLUE, _GREEN, _GREY = "#c44e52", "#4878a8", "#5a8f4a", "#7f8c96"
_COLUMNS = 3  # panels in a line of the page
_NAMED_OUTSIDE = 4  # more networks than this above the budget are not named


@dataclass(frozen=True)
class Beside:
    """A network that is none of those to choose from.

    Attributes:
        label: What it is called.
        accuracy: In percent, of the kind that the picture shows.
        value: What it costs, in the unit of the budget.
    """

    label: str
    accuracy: float
    value: float


def budget_plot(choice: Choice) -> Figure:
    """What the choice was made by over cost, one panel for each limit of the budget; without any, over the work."""
    names = list(choice.budget.limits) or ["macs"]
    figure = Figure(figsize=(1.2 + 5.2 * len(names), 4.4), layout="constrained")
    labels = []
    for axes, name in zip(figure.subplots(1, len(names), squeeze=False)[0], names):
        panel = _Panel(axes, choice, name, lambda candidate: candidate.choice)
        panel.draw("networks")
        axes.set_ylabel("accuracy that the choice is made by (%)")
        axes.legend(frameon=False, fontsize="small", loc="best")
        labels.append((axes, panel.labels()))
    figure.suptitle(f"{choice.task.task}: {choice.budget}", fontsize="medium")
    write_labels(figure, labels)
    return figure


def tasks_plot(
    choices: Sequence[Choice], beside: Sequence[Beside], images: Sequence[int], networks: str = "sub-networks"
) -> Figure:
    """Accuracy on test images over cost, a panel for each task.

    A choice that test images took no part in is better judged by them: what it was made by is a little too good for the
    network that has the most of it, and fair to the network beside.

    Args:
        choices: One for each task, all under the same budget with one limit, with accuracies on test images.
        beside: For each task the network to compare with.
        images: Test images of each task, for the standard errors.
        networks: What the networks to choose from are called.
    """
    (name,) = choices[0].budget.limits
    rows = math.ceil(len(choices) / _COLUMNS)
    columns = min(len(choices), _COLUMNS)
    figure = Figure(figsize=(0.8 + 3.3 * columns, 0.9 + 3.2 * rows), layout="constrained")
    grid = list(figure.subplots(rows, columns, squeeze=False).flat)
    labels = []
    for axes, choice, other, count in zip(grid, choices, beside, images):
        panel = _Panel(axes, choice, name, lambda candidate: candidate.test or 0.0)
        panel.compare(other)
        panel.errors(count)
        panel.draw(networks)
        axes.set_title(choice.task.task, fontsize="medium")
        labels.append((axes, panel.labels()))
    for axes in grid[len(choices) :]:
        axes.remove()
    for axes in grid[: len(choices) : columns]:
        axes.set_ylabel("accuracy on test images (%)")
    shown = {text: mark for axes in grid[: len(choices)] for mark, text in zip(*axes.get_legend_handles_labels())}
    figure.legend(
        shown.values(), shown.keys(), loc="outside lower center", ncols=len(shown), frameon=False, fontsize="small"
    )
    write_labels(figure, labels)
    return figure


class _Panel:
    """One choice over one cost."""

    def __init__(self, axes: Axes, choice: Choice, name: str, height: Callable[[Candidate], float]) -> None:
        self.axes, self.choice, self.name, self.height = axes, choice, name, height
        self.label, self.unit = _AXES[name]
        self.limit = choice.budget.limits.get(name)
        self.front = pareto_front(choice.task.candidates, choice.budget)
        above = [c for c in choice.task.candidates if not choice.budget.fits(c.cost)]
        named = (choice.chosen, choice.next_up, *self.front, *(above if len(above) <= _NAMED_OUTSIDE else ()))
        self.named = list({c.name: c for c in named if c is not None}.values())

    def point(self, candidate: Candidate) -> tuple[float, float]:
        return getattr(candidate.cost, self.name) / self.unit, self.height(candidate)

    def draw(self, networks: str) -> None:
        """Networks, front, budget and choice."""
        axes, candidates = self.axes, self.choice.task.candidates
        estimated = [c for c in candidates if self.name == "latency_ms" and c.cost.estimated]
        measured = [c for c in candidates if c not in estimated]
        for some, face, text in ((measured, _GREY, networks), (estimated, "none", f"{networks}, latency estimated")):
            if some:
                xs, ys = zip(*map(self.point, some))
                axes.scatter(xs, ys, s=24, edgecolor=_GREY, facecolor=face, label=text, zorder=2.5)
        if len(self.front) > 1:  # of one network there is no line
            axes.plot(*zip(*map(self.point, self.front)), color=_BLUE, linewidth=1.2, label="best at its cost or less")
        if self.choice.chosen is not None:
            axes.scatter(*self.point(self.choice.chosen), s=80, color=_RED, zorder=3, label="chosen")
        axes.set_xlabel(self.label)
        axes.grid(color="#d8dee4", linewidth=0.6)
        axes.set_axisbelow(True)
        axes.spines[["top", "right"]].set_visible(False)
        axes.margins(0.14, 0.16)
        values = [self.point(candidate)[0] for candidate in candidates]
        if min(values) < max(values) / 2:  # a cost many times another's looks so
            axes.set_xlim(left=0)
        if self.limit is not None:
            self._budget(self.limit / self.unit)

    def _budget(self, limit: float) -> None:
        """A line at the limit, and what lies behind it in the colour of what is not to be had."""
        left, right = self.axes.get_xlim()
        right = max(right, limit + 0.06 * (limit - left))
        self.axes.axvspan(limit, right, color=_RED, alpha=0.07, linewidth=0)
        self.axes.axvline(limit, color=_RED, linestyle="--", linewidth=1.2, label="budget")
        self.axes.set_xlim(left, right)

    def compare(self, other: Beside) -> None:
        """The network beside those to choose from: its accuracy as a line to compare all with."""
        self.axes.axhline(other.accuracy, color=_GREEN, linestyle=":", linewidth=1.4, zorder=2)
        self.axes.plot(
            other.value / self.unit,
            other.accuracy,
            color=_GREEN,
            marker="D",
            markersize=6,
            markerfacecolor="white",
            linestyle=":",
            linewidth=1.4,
            label=other.label,
            zorder=2.8,
        )

    def errors(self, images: int) -> None:
        """Standard errors of the accuracies of the named networks, from the number of test images alone."""
        for candidate in self.named:
            share = self.height(candidate) / 100
            colour = _RED if candidate is self.choice.chosen else _GREY
            error = 100 * math.sqrt(share * (1 - share) / images)
            x, y = self.point(candidate)
            self.axes.plot([x, x], [y - error, y + error], color=colour, linewidth=1.2, alpha=0.6, zorder=2)

    def labels(self) -> list[Label]:
        return [Label(c.name, self.point(c), _RED if c is self.choice.chosen else "#4b545c") for c in self.named]
