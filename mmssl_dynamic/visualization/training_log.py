"""What mmengine logged of a training, and its curves: the loss of every network, and accuracies along the way."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from mmssl_dynamic.errors import ConfigError

KNN = "knn/"
"""Begins the tags of accuracies that were measured during the training."""
_LOSS = "loss_"
_STD = "std_"
_COLOURS = ("#c44e52", "#dd8452", "#c9a227", "#6a9f58", "#4878a8", "#8c6bb1", "#5f6b73", "#967662")
_MARKED = 60  # points of a curve at most that are marked one by one


def read_log(work_dir: str | os.PathLike[str]) -> list[dict[str, Any]]:
    """The records of ``vis_data/scalars.json``, in the order of their steps.

    What was logged of a step in several records is one here. A training that was resumed left one file each time; where
    they overlap, the later one counts.

    Args:
        work_dir: Of the training.

    Returns:
        One record per logging interval, such as ``{'step': 32, 'epoch': 1, 'time': 0.2, 'loss_w0.5': 1.7, ...}``; none
        if nothing was logged.
    """
    found: dict[int, dict[str, Any]] = {}
    for file in sorted(Path(work_dir).glob("*/vis_data/scalars.json")):
        for line in file.read_text(encoding="utf-8").splitlines():
            try:
                record = json.loads(line)
            except json.JSONDecodeError:  # the line that a killed run was writing
                continue
            if isinstance(record, dict) and "step" in record:
                found[record["step"]] = {**found.get(record["step"], {}), **record}
    return [found[step] for step in sorted(found)]


def network_losses(records: Sequence[Mapping[str, Any]], names: Sequence[str]) -> dict[str, list[tuple[int, float]]]:
    """(step, loss) of every network, from the first record that has it on.

    Args:
        records: What :func:`read_log` gave.
        names: Of the networks; one that was never logged is left out.
    """
    curves = {name: [(r["step"], r[_LOSS + name]) for r in records if _LOSS + name in r] for name in names}
    return {name: points for name, points in curves.items() if points}


def loss_curves(curves: Mapping[str, Sequence[tuple[int, float]]]) -> Figure:
    """The loss of every network over the steps.

    Args:
        curves: (step, loss) by the name of the network.

    Raises:
        ConfigError: there is nothing to show.
    """
    if not any(curves.values()):
        raise ConfigError("a plot of losses needs at least one record of the training's log.")
    figure = Figure(figsize=(7.2, 4.0), layout="constrained")
    axes = figure.subplots()
    _draw(axes, curves, "loss")
    axes.set_xlabel("step")
    return figure


def training_curves(records: Sequence[Mapping[str, Any]], title: str = "") -> Figure | None:
    """Losses over the steps of a training and, where it was watched, kNN accuracies below them.

    Args:
        records: What :func:`read_log` gave.
        title: Above the figure.

    Returns:
        The figure; ``None`` if nothing was logged of a loss.
    """
    losses, accuracies = _losses(records), _series(records, KNN)
    if not losses:
        return None
    figure = Figure(figsize=(7.2, 4.0 if not accuracies else 6.6), layout="constrained")
    panels = figure.subplots(2 if accuracies else 1, sharex=True, squeeze=False)[:, 0]
    _draw(panels[0], losses, "loss")
    if accuracies:
        _draw(panels[1], accuracies, "kNN accuracy (%)", markers=True)
    for phase, step in _phases(records):
        for axes in panels:
            axes.axvline(step, color="#8b949e", linewidth=1, linestyle=":")
        panels[0].annotate(
            f"phase {phase + 1}", (step, 1), (3, -2), "axes fraction", "offset points", va="top", fontsize="x-small"
        ).xycoords = panels[0].get_xaxis_transform()
    panels[-1].set_xlabel("step")
    if title:
        figure.suptitle(title, fontsize="medium")
    return figure


def _losses(records: Sequence[Mapping[str, Any]]) -> dict[str, list[tuple[int, float]]]:
    """What to show of the losses: those of the networks of a sandwich, or the loss and its parts."""
    found = {name: points for name, points in _series(records, "loss").items() if name in ("", *_parts(records))}
    sandwich = [name for name in found if any(_STD + name.removeprefix("_") in record for record in records)]
    if sandwich:  # the sum over the networks of a step is no curve: in the warm-up there is only one
        return {name.removeprefix("_"): found[name] for name in sandwich}
    if len(found) > len(_COLOURS):
        found = {"": found[""]} if "" in found else {}
    return {f"loss{name}": points for name, points in found.items()}


def _parts(records: Sequence[Mapping[str, Any]]) -> list[str]:
    return [key.removeprefix("loss") for record in records for key in record if key.startswith(_LOSS)]


def _series(records: Sequence[Mapping[str, Any]], prefix: str) -> dict[str, list[tuple[int, float]]]:
    """(step, value) of everything whose tag begins so, by the rest of the tag."""
    found: dict[str, list[tuple[int, float]]] = {}
    for record in records:
        for key, value in record.items():
            if key.startswith(prefix) and isinstance(value, int | float):
                found.setdefault(key.removeprefix(prefix), []).append((record["step"], float(value)))
    return found


def _phases(records: Sequence[Mapping[str, Any]]) -> list[tuple[int, int]]:
    """(phase, step) where a phase of SDR was first logged, but for the first one."""
    first: dict[int, int] = {}
    for record in records:
        if "phase" in record:
            first.setdefault(int(record["phase"]), record["step"])
    return [(phase, step) for phase, step in sorted(first.items()) if phase > 0]


def _draw(
    axes: Axes, curves: Mapping[str, Sequence[tuple[int, float]]], quantity: str, markers: bool | None = None
) -> None:
    for index, (name, points) in enumerate(curves.items()):
        steps, values = zip(*points)
        dots = "o" if (markers if markers is not None else len(points) <= _MARKED) else ""
        colour = _COLOURS[index % len(_COLOURS)]
        axes.plot(steps, values, marker=dots, markersize=3, linewidth=1.4, color=colour, label=name)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set_ylabel(quantity)
    axes.grid(color="#d8dee4", linewidth=0.6)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False, fontsize="small", ncols=2)
