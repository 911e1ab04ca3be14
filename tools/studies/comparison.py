"""Paired differences over tasks and seeds with a bootstrap interval.

T tasks, S seeds.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Accuracies = Mapping[tuple[str, int], float]
"""In percent, by task and seed."""


@dataclass(frozen=True)
class Difference:
    """One training minus another.

    Attributes:
        mean: Of the paired differences, in points.
        low, high: Bootstrap interval of 95 %; where it leaves out 0, the sign is not chance.
        pairs: Tasks times seeds that both have.
        better: Share of the tasks, averaged over seeds, on which the first is better.
    """

    mean: float
    low: float
    high: float
    pairs: int
    better: float


def gains_by_task(one: Accuracies, other: Accuracies, pairs: Collection[tuple[str, int]]) -> dict[str, float]:
    """By task in order of names, the mean over seeds of what one training gains over another, in points.

    Args:
        one: Accuracies of the first.
        other: Those of the second.
        pairs: Tasks and seeds that count; both have them.
    """
    tasks = sorted({task for task, _ in pairs})
    return {task: float(np.mean([one[pair] - other[pair] for pair in pairs if pair[0] == task])) for task in tasks}


def domain_of(task: str) -> str:
    """What ``steel_6cls`` is a task of."""
    return task.rpartition("_")[0]


def difference(one: Accuracies, other: Accuracies, draws: int = 10_000, seed: int = 0) -> Difference | None:
    """Compare two trainings on the tasks and seeds that both have; ``None`` if there is none.

    Tasks and seeds are drawn anew, both with replacement and independently of each other: tasks differ in what they
    ask for, and all tasks of a seed share one training, so that pairs of a seed are not independent.
    """
    pairs = sorted(set(one) & set(other))
    if not pairs:
        return None
    tasks, seeds = sorted({task for task, _ in pairs}), sorted({s for _, s in pairs})
    table = np.full((len(tasks), len(seeds)), np.nan)
    for task, s in pairs:
        table[tasks.index(task), seeds.index(s)] = one[task, s] - other[task, s]
    low, high = bootstrap(table, draws, seed)
    by_task = np.nanmean(table, axis=1)
    return Difference(float(np.nanmean(table)), low, high, len(pairs), float((by_task > 0).mean()))


def bootstrap(table: NDArray, draws: int = 10_000, seed: int = 0) -> tuple[float, float]:
    """Interval of 95 % of the mean of a table (T, S), which may lack entries (NaN), over redrawn rows and columns."""
    rng = np.random.default_rng(seed)
    rows = rng.integers(table.shape[0], size=(draws, table.shape[0]))
    columns = rng.integers(table.shape[1], size=(draws, table.shape[1]))
    known = ~np.isnan(table)
    values = np.where(known, table, 0.0)
    total, count = np.zeros(draws), np.zeros(draws)
    for draw in range(draws):
        block = np.ix_(rows[draw], columns[draw])
        total[draw], count[draw] = values[block].sum(), known[block].sum()
    means = total[count > 0] / count[count > 0]
    low, high = np.percentile(means, [2.5, 97.5])
    return float(low), float(high)
