"""Pictures of routing results: gains of the sub-networks over the full network, for one task or for many."""

from __future__ import annotations

import os
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import matplotlib
import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.ticker import MaxNLocator

from mmssl_dynamic.errors import ConfigError
from mmssl_dynamic.routing.result import RoutingResult, SubnetScore
from mmssl_dynamic.subnets import split_width
from mmssl_dynamic.writing import write_stream

_GAIN_LABEL = "gain in kNN accuracy over the full network (percentage points)"
_MAX_LABELS = 64  # names of sub-networks along an axis; more cannot be read


def gains_histogram(result: RoutingResult, bins: int | None = None) -> Figure:
    """How many sub-networks gain how much over the full network on a task (SDR Fig. 4b).

    Args:
        result: Routing of one task.
        bins: Number of bars; chosen by the number of sub-networks when left out.
    """
    gains = np.array([score.gain_over_full for score in result.subnets])
    figure = Figure(figsize=(6.4, 3.6), layout="constrained")
    axes = figure.subplots()
    edges = np.histogram_bin_edges(gains, bins if bins is not None else max(5, min(30, round(2 * len(gains) ** 0.5))))
    axes.hist(gains, bins=edges.tolist(), color="#4878a8", edgecolor="white", linewidth=0.5)
    axes.axvline(0, color="black", linewidth=1, label=f"full network ({_accuracy(result.full):.1f} %)")
    best = result.best
    axes.axvline(
        best.gain_over_full,
        color="#c44e52",
        linewidth=1.5,
        linestyle="--",
        label=f"chosen: {best.name} ({_accuracy(best):.1f} %)",
    )
    axes.set_xlabel(_GAIN_LABEL)
    axes.set_ylabel("sub-networks")
    axes.yaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set_title(f"{result.task}: {len(gains)} sub-networks")
    axes.legend(frameon=False, fontsize="small")
    axes.spines[["top", "right"]].set_visible(False)
    return figure


def task_heatmap(results: Sequence[RoutingResult]) -> Figure:
    """Gain over the full network of every sub-network (columns) on every task (rows); the chosen one is framed.

    Sub-networks that a fast method did not evaluate on a task are grey there.

    Raises:
        ConfigError: no results.
    """
    if not results:
        raise ConfigError("a heat-map needs the routing result of at least one task.")
    known = [{score.name: score.gain_over_full for score in result.subnets} for result in results]
    names = sorted(set().union(*known), key=_order)
    gains = np.array([[row.get(name, np.nan) for name in names] for row in known])  # (tasks, S)
    many = len(names) > _MAX_LABELS
    width = min(16.0, max(6.4, 3 + 0.35 * len(names))) if not many else 16.0
    figure = Figure(figsize=(width, 1.8 + 0.4 * len(results)), layout="constrained")
    axes = figure.subplots()
    limit = float(np.nanmax(np.abs(gains))) or 1.0
    colours = matplotlib.colormaps["RdBu"].with_extremes(bad="#d0d0d0")
    image = axes.imshow(gains, cmap=colours, vmin=-limit, vmax=limit, aspect="auto", interpolation="nearest")
    for row, result in enumerate(results):
        column = names.index(result.best.name)
        axes.add_patch(Rectangle((column - 0.5, row - 0.5), 1, 1, fill=False, edgecolor="black", linewidth=1.5))
    axes.set_yticks(range(len(results)), [result.task for result in results])
    step = -(-len(names) // _MAX_LABELS)
    axes.set_xticks(range(0, len(names), step), names[::step], rotation=90, fontsize="small", family="monospace")
    grey = "; grey: not evaluated" if np.isnan(gains).any() else ""
    axes.set_title(f"kNN accuracy of the sub-networks by task (framed: chosen{grey})")
    figure.colorbar(image, ax=axes, label="points over the full network", pad=0.01)
    return figure


def task_gains(results: Sequence[RoutingResult]) -> Figure:
    """Gain of the chosen sub-network on every task, and of the one that was best in hindsight (SDR Fig. 4a).

    Raises:
        ConfigError: no results.
    """
    if not results:
        raise ConfigError("a figure of gains needs the routing result of at least one task.")
    figure = Figure(figsize=(6.4, 1.6 + 0.45 * len(results)), layout="constrained")
    axes = figure.subplots()
    rows = np.arange(len(results))
    chosen = [result.best.gain_over_full for result in results]
    axes.barh(rows, chosen, height=0.6, color="#4878a8", label="chosen")
    oracle = [result.best_in_hindsight.gain_over_full for result in results]
    axes.plot(oracle, rows, "|", color="#c44e52", markersize=14, markeredgewidth=2, label="best in hindsight")
    axes.axvline(0, color="black", linewidth=1)
    axes.set_yticks(rows, [result.task for result in results])
    axes.invert_yaxis()
    axes.set_xlabel(_GAIN_LABEL)
    axes.legend(frameon=False, fontsize="small")
    axes.spines[["top", "right"]].set_visible(False)
    return figure


def save_figure(figure: Figure, path: str | os.PathLike[str], formats: Sequence[str] = ("png", "svg")) -> list[Path]:
    """Write a figure as ``path`` with each format's suffix, atomically; the same figure gives the same bytes.

    Returns:
        The files written.
    """
    written = []
    for suffix in formats:
        # Not with_suffix(): a task's name may hold a dot.
        target = Path(f"{os.fspath(path)}.{suffix}")
        metadata = {"Date": None} if suffix == "svg" else None
        with matplotlib.rc_context({"svg.hashsalt": "mmssl_dynamic"}):
            write_stream(target, partial(figure.savefig, format=suffix, dpi=150, metadata=metadata))
        written.append(target)
    return written


def _accuracy(score: SubnetScore) -> float:
    return score.select_accuracy if score.test_accuracy is None else score.test_accuracy


def _order(name: str) -> tuple:
    path, width = split_width(name)
    parts = path.split("-")
    return (0, width, *map(int, parts)) if all(part.isdigit() for part in parts) else (1, name)
