"""Accuracy over cost: one point per network, and curves of other evaluations beside them (DSPNet Fig. 5)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from mmssl_dynamic.errors import ConfigError
from mmssl_dynamic.evaluation.evaluation_result import NetworkResult
from mmssl_dynamic.visualization.labels import Label, write_labels

_COLOURS = ("#c44e52", "#4878a8", "#6a9f58", "#967662", "#8c6bb1", "#5f6b73")
_MARKERS = "osD^vP"
_MAX_LABELS = 24  # more names than this cannot be read in one curve


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
    names = [
        Label(network.name, (network.macs, network.top1), _COLOURS[index % len(_COLOURS)])
        for index, curve in enumerate(curves)
        for network in _named(curve.networks)
    ]
    write_labels(figure, [(axes, names)])
    return figure


def _named(networks: Sequence[NetworkResult]) -> list[NetworkResult]:
    """All of a few networks; of many the best at each cost: of SDR's, the best path and the full network."""
    if len(networks) <= _MAX_LABELS:
        return list(networks)
    best: dict[int, NetworkResult] = {}
    for network in networks:
        if network.macs not in best or network.top1 > best[network.macs].top1:
            best[network.macs] = network
    return list(best.values())
