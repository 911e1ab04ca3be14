"""Pictures of many-shot transfer: scores per data set, and the sub-networks' gains over the full network."""

from __future__ import annotations

from matplotlib.figure import Figure

from mmssl_dynamic.errors import ConfigError
from mmssl_dynamic.evaluation.transfer_result import TransferResult

_COLOURS = ("#5f6b73", "#4878a8", "#c44e52", "#6a9f58", "#967662", "#8c6bb1", "#d8a54f", "#4f9a94")
_CHOSEN = "chosen on validation images"


def transfer_scores(result: TransferResult) -> Figure:
    """Bars of the score on each data set and of their mean, one bar per network.

    Of more networks than there are colours: the full network and, on each data set, the one that was chosen for it.
    """
    names = list(result.networks)
    bars = {name: [result.score(name, dataset).score for dataset in result.datasets] for name in names}
    if len(names) > len(_COLOURS):
        bars = {name: bars[name] for name in names if name == result.full}
        bars[_CHOSEN] = [result.chosen(dataset).score for dataset in result.datasets]
    groups = [*result.datasets, "mean"]
    figure = Figure(figsize=(max(6.4, 1.2 + 0.75 * len(groups)), 3.8), layout="constrained")
    axes = figure.subplots()
    width = 0.8 / len(bars)
    for index, (name, scores) in enumerate(bars.items()):
        places = [group - 0.4 + (index + 0.5) * width for group in range(len(groups))]
        axes.bar(places, [*scores, sum(scores) / len(scores)], width, label=name, color=_COLOURS[index])
    axes.axvline(len(groups) - 1.5, color="#b8c0c8", linewidth=0.8)
    axes.set_xticks(range(len(groups)), groups, rotation=30, ha="right")
    axes.set_ylabel("test score (%)")
    axes.set_title("Logistic regression on frozen features")
    _finish(axes, columns=min(4, len(bars)))
    return figure


def transfer_gains(result: TransferResult) -> Figure:
    """Gain of every sub-network over the full network on each data set, and which one was chosen (SDR Fig. 4a).

    Raises:
        ConfigError: there is no full network or no sub-network among the results.
    """
    others = [name for name in result.networks if name != result.full]
    if result.full is None or not others:
        raise ConfigError("a plot of gains needs the full network and sub-networks; give both to --subnets.")
    figure = Figure(figsize=(max(6.4, 1.2 + 0.6 * len(result.datasets)), 3.8), layout="constrained")
    axes = figure.subplots()
    axes.axhline(0, color="black", linewidth=1)
    for place, dataset in enumerate(result.datasets):
        base = result.score(result.full, dataset).score
        gains = [result.score(name, dataset).score - base for name in others]
        mean, chosen = sum(gains) / len(gains), result.chosen(dataset).score - base
        first = place == 0
        axes.plot([place] * len(gains), gains, "o", color="#4878a8", alpha=0.35, markersize=5, markeredgewidth=0)
        axes.plot([place - 0.2, place + 0.2], [mean] * 2, color="#4878a8", label="mean" if first else None)
        axes.plot(place, chosen, "D", color="#c44e52", markersize=6, label=_CHOSEN if first else None)
    axes.set_xticks(range(len(result.datasets)), result.datasets, rotation=30, ha="right")
    axes.set_ylabel("gain over the full network (points)")
    axes.set_title(f"{len(others)} sub-network{'s' if len(others) > 1 else ''}, logistic regression")
    _finish(axes, columns=2)
    return figure


def _finish(axes, columns: int) -> None:  # type: ignore[no-untyped-def]
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(axis="y", color="#d8dee4", linewidth=0.6)
    axes.set_axisbelow(True)
    axes.margins(y=0.12)
    axes.legend(frameon=False, fontsize="small", ncols=columns)
