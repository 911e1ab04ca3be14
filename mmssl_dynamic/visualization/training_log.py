"""What mmengine logged of a training, and the loss of every network over its epochs."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from mmssl_dynamic.errors import ConfigError

_LOSS = "loss_"
_COLOURS = ("#c44e52", "#dd8452", "#c9a227", "#6a9f58", "#4878a8", "#8c6bb1", "#5f6b73", "#967662")


def read_log(work_dir: str | os.PathLike[str]) -> list[dict[str, Any]]:
    """The records of ``vis_data/scalars.json``, in the order of their steps.

    A training that was resumed left one file each time; where they overlap, the later one counts.

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
                found[record["step"]] = record
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
    for index, (name, points) in enumerate(curves.items()):
        steps, losses = zip(*points)
        axes.plot(
            steps, losses, marker="o", markersize=3, linewidth=1.4, color=_COLOURS[index % len(_COLOURS)], label=name
        )
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set_xlabel("step")
    axes.set_ylabel("loss")
    axes.grid(color="#d8dee4", linewidth=0.6)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False, fontsize="small", ncols=2)
    return figure
