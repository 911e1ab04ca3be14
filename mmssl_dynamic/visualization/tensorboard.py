"""Scalars in TensorBoard, through mmengine's visualizer: of a training while it runs, of results afterwards."""

from __future__ import annotations

import os
from collections.abc import Iterator
from functools import singledispatch
from pathlib import Path
from typing import Any

from mmengine.visualization import Visualizer

from mmssl_dynamic.engine.tensorboard import BACKEND, need_tensorboard
from mmssl_dynamic.evaluation.evaluation_result import EvaluationResult
from mmssl_dynamic.evaluation.transfer_result import TransferResult
from mmssl_dynamic.routing.result import RoutingResult

Point = tuple[int, dict[str, float | None]]
"""Scalars by their tags at one step; ``None`` was not measured."""


@singledispatch
def scalars(result: Any) -> Iterator[Point]:
    """What TensorBoard shows of a result."""
    raise NotImplementedError(type(result).__name__)


@scalars.register
def _(result: RoutingResult) -> Iterator[Point]:
    """Figures (accuracy or AP) over the rank of the sub-networks, from 1; choice, full network and cost at step 0."""
    best, full = result.best, result.full
    yield (
        0,
        {
            "best/select": best.select_accuracy,
            "best/test": best.test_accuracy,
            "best/gain_over_full": best.gain_over_full,
            "full/select": full.select_accuracy,
            "full/test": full.test_accuracy,
            "seconds": result.cost.get("seconds"),
        },
    )
    for position, score in enumerate(result.subnets, start=1):
        yield (
            position,
            {
                "ranked/select": score.select_accuracy,
                "ranked/test": score.test_accuracy,
                "ranked/gain_over_full": score.gain_over_full,
            },
        )


@scalars.register
def _(result: EvaluationResult) -> Iterator[Point]:
    """Accuracy and cost over the networks, from 1, the cheapest first."""
    kind = result.protocol["kind"]
    for position, network in enumerate(result.networks, start=1):
        latency = None if network.latency is None else network.latency.median_ms
        accuracy = {f"{kind}/top1": network.top1, f"{kind}/top5": network.top5}
        cost = {"cost/params_m": network.params / 1e6, "cost/macs_m": network.macs / 1e6, "cost/latency_ms": latency}
        yield position, {**accuracy, **cost}


@scalars.register
def _(result: TransferResult) -> Iterator[Point]:
    """Scores on every data set over the networks, from 1 in the order of the table; those of the choice at step 0."""
    chosen = {dataset: result.chosen(dataset).score for dataset in result.datasets}
    yield 0, {f"chosen/{dataset}": score for dataset, score in chosen.items()}
    for position, name in enumerate(result.networks, start=1):
        found = {f"transfer/{dataset}": result.score(name, dataset).score for dataset in result.datasets}
        yield position, {**found, "transfer/mean": result.mean(name)}


def write_scalars(result: Any, folder: str | os.PathLike[str]) -> None:
    """Write the scalars of a result, in place of what was written into the folder before.

    Args:
        result: A routing, evaluation or transfer result.
        folder: One run in TensorBoard.

    Raises:
        ConfigError: TensorBoard is not installed.
    """
    need_tensorboard()
    points = list(scalars(result))
    for earlier in Path(folder).glob("vis_data/events.out.tfevents.*"):  # or both would be shown as one curve
        earlier.unlink()
    visualizer = Visualizer(vis_backends=[dict(BACKEND)], save_dir=str(folder))
    for step, values in points:
        visualizer.add_scalars({tag: value for tag, value in values.items() if value is not None}, step=step)
    visualizer.close()
