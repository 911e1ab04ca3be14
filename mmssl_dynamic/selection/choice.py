"""The most accurate network within a budget, the runner-up, and what the next step up would cost."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from mmssl_dynamic.budget import Budget, amount
from mmssl_dynamic.selection.candidates import Candidate, TaskCandidates


@dataclass(frozen=True)
class Choice:
    """What to use for a task.

    Attributes:
        task: The task with all its networks.
        budget: What a network may cost.
        chosen: The best within the budget, the cheaper one of equals; ``None`` if none fits.
        runner_up: The second best within the budget.
        next_up: The cheapest network that is better than the chosen one and does not fit.
        smallest: The network that comes nearest to the budget, or needs least of it.
    """

    task: TaskCandidates
    budget: Budget
    chosen: Candidate | None
    runner_up: Candidate | None
    next_up: Candidate | None
    smallest: Candidate

    def text(self) -> str:
        """A few lines for people."""
        if self.chosen is None:
            needs = ", ".join(amount(name, getattr(self.smallest.cost, name)) for name in self.budget.limits)
            return f"{self.task.task}: none fits {self.budget}: the smallest, {self.smallest.name}, needs {needs}."
        # Chosen by the test images, one figure says it all.
        judged = any(candidate.test != candidate.choice for candidate in self.task.candidates)
        lines = [f"{self.task.task}: {_line(self.chosen, judged)}"]
        if self.runner_up is not None:
            lines.append(f"  runner-up: {_line(self.runner_up, judged)}")
        if self.next_up is not None:
            gain = self.next_up.choice - self.chosen.choice
            lines.append(
                f"  next step up: {self.next_up.name}, {gain:+.2f} points, {self.budget.load(self.next_up.cost):.2f} "
                f"times the budget ({self.next_up.cost})"
            )
        return "\n".join(lines)

    def record(self) -> dict[str, Any]:
        """As plain data."""
        picked = {name: getattr(self, name) for name in ("chosen", "runner_up", "next_up", "smallest")}
        return {
            "task": self.task.task,
            "measure": self.task.measure,
            "budget": self.budget.limits,
            **{name: None if candidate is None else _record(candidate) for name, candidate in picked.items()},
            "front": [candidate.name for candidate in pareto_front(self.task.candidates, self.budget)],
            "candidates": [_record(candidate) for candidate in self.task.candidates],
            "source": self.task.source,
            "weights_fingerprint": self.task.weights_fingerprint,
            "files": self.task.files,
            "cfg_options": self.task.cfg_options,
        }


def choose(task: TaskCandidates, budget: Budget) -> Choice:
    """Choose the network for a task.

    Args:
        task: Its networks, with latencies if the budget limits them.
        budget: What it may cost.

    Raises:
        ConfigError: the budget limits the latency, and the networks have none.
    """
    cheapest_first = sorted(task.candidates, key=lambda c: (budget.load(c.cost), c.cost.macs))
    best_first = sorted(cheapest_first, key=lambda c: -c.choice)
    within = [candidate for candidate in best_first if budget.fits(candidate.cost)]
    chosen = within[0] if within else None
    better = (
        [c for c in cheapest_first if not budget.fits(c.cost) and c.choice > chosen.choice]
        if chosen is not None
        else []
    )
    return Choice(
        task,
        budget,
        chosen,
        within[1] if len(within) > 1 else None,
        better[0] if better else None,
        cheapest_first[0],
    )


def pareto_front(candidates: Iterable[Candidate], budget: Budget) -> list[Candidate]:
    """Networks that no other one beats in accuracy at the same cost or less, cheapest first."""
    front: list[Candidate] = []
    for candidate in sorted(candidates, key=lambda c: (budget.load(c.cost), -c.choice)):
        if not front or candidate.choice > front[-1].choice:
            front.append(candidate)
    return front


def _line(candidate: Candidate, judged: bool) -> str:
    """Name, accuracies and cost; the one on test images where they took no part in the choice."""
    test = "" if candidate.test is None or not judged else f" (test {candidate.test:.2f} %)"
    return f"{candidate.name}, {candidate.choice:.2f} %{test}, {candidate.cost}"


def _record(candidate: Candidate) -> dict[str, Any]:
    cost = candidate.cost
    return {
        "name": candidate.name,
        "choice": candidate.choice,
        "test": candidate.test,
        "latency_ms": cost.latency_ms,
        "latency_estimated": cost.estimated,
        "macs": cost.macs,
        "params": cost.params,
        "size_bytes": cost.size_bytes,
    }
