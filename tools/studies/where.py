"""On which tasks one training gains: against what the task's own domain alone gives, task by task."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from comparison import Accuracies, domain_of, gains_by_task
from matplotlib.figure import Figure


@dataclass(frozen=True)
class Gains:
    """Gains of two trainings over a third on the same tasks, means over the seeds that all have.

    Attributes:
        tasks: Their names, T.
        of_domain: What training on the task's own domain gains, in points, T.
        of_run: What the run that is looked at gains, in points, T.
    """

    tasks: tuple[str, ...]
    of_domain: tuple[float, ...]
    of_run: tuple[float, ...]

    @property
    def correlation(self) -> float:
        """Pearson's, over the tasks."""
        return float(np.corrcoef(self.of_domain, self.of_run)[0, 1])


def gains(domain: Accuracies, run: Accuracies, baseline: Accuracies) -> Gains | None:
    """Of every task that all three have; ``None`` for fewer than three tasks, of which a correlation says nothing."""
    pairs = set(domain) & set(run) & set(baseline)
    of_domain, of_run = (gains_by_task(one, baseline, pairs) for one in (domain, run))
    if len(of_run) < 3:
        return None
    return Gains(tuple(of_run), tuple(of_domain.values()), tuple(of_run.values()))


def figure(found: Gains, run: str, baseline: str) -> Figure:
    """A dot for each task."""
    result = Figure(figsize=(6.5, 5), layout="constrained")
    axes = result.subplots()
    axes.axhline(0, color="black", linewidth=0.6)
    axes.axvline(0, color="black", linewidth=0.6)
    axes.margins(0.12)  # room for names
    axes.scatter(found.of_domain, found.of_run, color="#c44e52", zorder=2)
    for task, x, y in zip(found.tasks, found.of_domain, found.of_run):
        axes.annotate(domain_of(task), (x, y), xytext=(5, 3), textcoords="offset points", fontsize="small")
    axes.set_xlabel(f"training on the task's own domain, minus {baseline} (points of kNN accuracy)")
    axes.set_ylabel(f"{run}, minus {baseline} (points)")
    axes.set_title(f"correlation over tasks {found.correlation:.2f}", fontsize="medium")
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    return result
