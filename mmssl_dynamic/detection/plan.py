"""How many candidates are fine-tuned in a detector, for how long, and which."""

from __future__ import annotations

from dataclasses import dataclass

from mmssl_dynamic.errors import ConfigError

SHORTLISTS = ("knn", "cluster", "halving", "random")


@dataclass(frozen=True)
class DetectionPlan:
    """How many candidates are fine-tuned, for how long, and which.

    Attributes:
        iterations: Of a candidate in the last round (the paper: 1,000).
        candidates: How many; ``None`` for all.
        shortlist: How fewer candidates than there are sub-networks are found: ``'knn'``, ``'cluster'`` or
            ``'halving'`` on cut-out objects, or ``'random'``.
        halving: With a factor of 2 or more, candidates are dropped in rounds: each round has so many times fewer of
            them, for so many times the iterations. 1 trains all of them to the end.
        finalists: Candidates in the last round of halving.
        kind: AP of ``'boxes'`` or ``'masks'``.
        crops: Cut-out objects for the short list at most.
        seed: Of everything random.
    """

    iterations: int = 1000
    candidates: int | None = None
    shortlist: str = "knn"
    halving: int = 1
    finalists: int = 2
    kind: str = "boxes"
    crops: int = 2000
    seed: int = 0

    def __post_init__(self) -> None:
        if self.iterations < 1 or self.halving < 1 or self.finalists < 1:
            raise ConfigError(
                f"--iters {self.iterations}, --halving {self.halving} and --finalists {self.finalists} must be at "
                "least 1."
            )
        if self.candidates is not None and self.candidates < 1:
            raise ConfigError(f"--candidates {self.candidates} must be at least 1, or all.")
        if self.shortlist not in SHORTLISTS:
            raise ConfigError(f"--shortlist {self.shortlist} is unknown; use one of {', '.join(SHORTLISTS)}.")
        if self.kind not in ("boxes", "masks"):
            raise ConfigError(f"AP is of boxes or masks, not of '{self.kind}'.")

    def rounds(self, count: int) -> list[tuple[int, int]]:
        """(candidates, iterations) of every round."""
        found = [(count, self.iterations)]
        if self.halving > 1:
            left, sizes = count, [count]
            while left > self.finalists:
                left = max(self.finalists, -(-left // self.halving))
                sizes.append(left)
            last = len(sizes) - 1
            found = [
                (size, max(1, round(self.iterations / self.halving ** (last - i)))) for i, size in enumerate(sizes)
            ]
        return found
