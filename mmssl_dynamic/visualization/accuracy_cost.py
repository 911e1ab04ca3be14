"""Accuracy over cost: one point per network, and curves of other evaluations beside them (DSPNet Fig. 5)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.text import Annotation
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter
from matplotlib.transforms import Bbox

from mmssl_dynamic.errors import ConfigError
from mmssl_dynamic.evaluation.evaluation_result import NetworkResult

_COLOURS = ("#c44e52", "#4878a8", "#6a9f58", "#967662", "#8c6bb1", "#5f6b73")
_MARKERS = "osD^vP"
_MAX_LABELS = 24  # more names than this cannot be read in one curve
# Where a label may stand, from its point in points of the page: horizontal and vertical alignment follow.
_PLACES = (
    (0, 7),
    (0, -7),
    (7, 0),
    (-7, 0),
    (6, 6),
    (-6, 6),
    (6, -6),
    (-6, -6),
    (0, 18),
    (0, -18),
    (14, 12),
    (-14, -12),
)


@dataclass(frozen=True)
class Curve:
    """The networks of one evaluation.

    Attributes:
        name: For the legend.
        networks: Cheapest first.
    """

    name: str
    networks: Sequence[NetworkResult]


def accuracy_cost(curves: Sequence[Curve], accuracy: str = "top-1 accuracy (%)") -> Figure:
    """Top-1 accuracy over multiply-accumulates, one labelled point per network.

    Points of a curve are joined if no two networks cost the same. Of a curve with more networks than can be
    labelled, the best at each cost are.

    Args:
        curves: Those of the evaluation first, baselines after them.
        accuracy: What the vertical axis shows.

    Raises:
        ConfigError: there is nothing to show.
    """
    if not any(curve.networks for curve in curves):
        raise ConfigError("an accuracy-cost plot needs the result of at least one network.")
    figure = Figure(figsize=(7.2, 4.8), layout="constrained")
    FigureCanvasAgg(figure)  # measures the labels
    axes = figure.subplots()
    costs = [network.macs for curve in curves for network in curve.networks]
    for index, curve in enumerate(curves):
        xs, ys = [n.macs for n in curve.networks], [n.top1 for n in curve.networks]
        axes.plot(
            xs,
            ys,
            linestyle=("-" if index == 0 else "--") if len(set(xs)) == len(xs) else "",
            marker=_MARKERS[index % len(_MARKERS)],
            markersize=5.5 if len(xs) <= _MAX_LABELS else 3.5,
            linewidth=1.5,
            color=_COLOURS[index % len(_COLOURS)],
            label=curve.name,
            zorder=3 - 0.1 * index,
        )
    if min(costs) > 0 and max(costs) > 8 * min(costs):
        axes.set_xscale("log")
        axes.xaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
        axes.xaxis.set_minor_formatter(NullFormatter())
    unit, name = (1e9, "G") if max(costs) >= 2e9 else (1e6, "M")
    axes.xaxis.set_major_formatter(FuncFormatter(lambda x, _: f"{x / unit:g}"))
    axes.set_xlabel(f"multiply-accumulates per image ({name})")
    axes.set_ylabel(accuracy)
    axes.grid(color="#d8dee4", linewidth=0.6)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    axes.margins(0.09, 0.12)
    if len(curves) > 1:
        axes.legend(frameon=False, fontsize="small")
    _label(figure, axes, curves)
    return figure


def _label(figure: Figure, axes: Axes, curves: Sequence[Curve]) -> None:
    """Write every network's name where it hides no point, line or other name."""
    figure.draw_without_rendering()
    # The layout is settled: a later one would move points away from what was measured.
    figure.set_layout_engine("none")
    taken: list[Bbox] = []
    for line in axes.lines:
        corners = axes.transData.transform(list(zip(line.get_xdata(), line.get_ydata())))  # type: ignore[arg-type]
        for x, y in corners:
            taken.append(Bbox.from_extents(x - 4, y - 4, x + 4, y + 4))
        if line.get_linestyle() != "None":
            for (x0, y0), (x1, y1) in zip(corners, corners[1:]):
                steps = [(i + 1) / 13 for i in range(12)]
                dots = [(x0 + t * (x1 - x0), y0 + t * (y1 - y0)) for t in steps]
                taken += [Bbox.from_extents(x - 1, y - 1, x + 1, y + 1) for x, y in dots]
    legend = axes.get_legend()
    if legend is not None:
        taken.append(legend.get_window_extent())
    for index, curve in enumerate(curves):
        for network in _named(curve.networks):
            taken.append(_place(axes, network, _COLOURS[index % len(_COLOURS)], taken))


def _place(axes: Axes, network: NetworkResult, colour: str, taken: Sequence[Bbox]) -> Bbox:
    """Put a name at the place that hides least, the earlier of equal ones; returns what it covers."""
    best: tuple[float, Annotation, Bbox] | None = None
    room = axes.get_window_extent()
    for dx, dy in _PLACES:
        text = axes.annotate(
            network.name,
            (network.macs, network.top1),
            (dx, dy),
            textcoords="offset points",
            ha="center" if dx == 0 else ("left" if dx > 0 else "right"),
            va="center" if dy == 0 else ("bottom" if dy > 0 else "top"),
            fontsize="small",
            color=colour,
            zorder=4,
        )
        box = text.get_window_extent()
        outside = box.x0 < room.x0 or box.x1 > room.x1 or box.y0 < room.y0 or box.y1 > room.y1
        hidden = 1000.0 * outside + sum(box.overlaps(other) for other in taken)
        if best is None or hidden < best[0]:
            if best is not None:
                best[1].remove()
            best = (hidden, text, box)
        else:
            text.remove()
        if hidden == 0:
            break
    assert best is not None
    return best[2]


def _named(networks: Sequence[NetworkResult]) -> list[NetworkResult]:
    """All of a few networks; of many the best at each cost: of SDR's, the best path and the full network."""
    if len(networks) <= _MAX_LABELS:
        return list(networks)
    best: dict[int, NetworkResult] = {}
    for network in networks:
        if network.macs not in best or network.top1 > best[network.macs].top1:
            best[network.macs] = network
    return list(best.values())
