"""Timing that survives a busy machine: the candidates take turns, and ratios are taken round by round."""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Callable

import torch


def alternate(
    candidates: dict[str, Callable[[], object]],
    rounds: int,
    warm_up: int = 1,
    limit: float = math.inf,
    whole: int = 1,
) -> dict[str, list[float]]:
    """Seconds of every candidate in every round, one after another in each round.

    Args:
        candidates: What is timed, by name.
        rounds: How many, unless time runs out.
        warm_up: Rounds before them that do not count.
        limit: Seconds after which no further rounds begin.
        whole: Rounds that belong together; as many are measured in any case.
    """
    begun = time.perf_counter()
    seconds: dict[str, list[float]] = {name: [] for name in candidates}
    for index in range(warm_up + rounds):
        measured = index - warm_up
        if measured > 0 and measured % whole == 0 and time.perf_counter() - begun > limit:
            break
        # Every other round the other way round: whoever comes second finds the memory as the first has left it.
        order = list(candidates.items())[:: 1 if index % 2 else -1]
        for name, run in order:
            _synchronise()
            start = time.perf_counter()
            run()
            _synchronise()
            if index >= warm_up:
                seconds[name].append(time.perf_counter() - start)
    return seconds


def _synchronise() -> None:
    if torch.cuda.is_available():
        torch.cuda.synchronize()


def ratios(numerator: list[float], denominator: list[float]) -> list[float]:
    """Ratio of each round."""
    return [a / b for a, b in zip(numerator, denominator)]


def summary(values: list[float]) -> str:
    """Median with the range."""
    return f"{statistics.median(values):.3f} ({min(values):.3f} to {max(values):.3f})"
