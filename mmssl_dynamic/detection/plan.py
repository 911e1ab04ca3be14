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
        method: ``'all'`` trains all of them to the end; ``'halving'`` drops candidates in rounds.
        factor: Halving: each round has so many times fewer candidates, for so many times the iterations.
        finalists: Halving: candidates in the last round.
        kind: AP of ``'boxes'`` or ``'masks'``.
        crops: Cut-out objects for the short list at most.
        seed: Of everything random.
    """

    iterations: int = 1000
    candidates: int | None = None
    shortlist: str = "knn"
    method: str = "all"
    factor: int = 4
    finalists: int = 2
    kind: str = "boxes"
    crops: int = 2000
    seed: int = 0

    def __post_init__(self) -> None:
        if self.iterations < 1 or self.factor < 2 or self.finalists < 1:
            raise ConfigError(
                f"--iters {self.iterations} and --finalists {self.finalists} must be at least 1, and --factor "
                f"{self.factor} at least 2."
            )
        if self.method not in ("all", "halving"):
            raise ConfigError(f"--method {self.method} finds no candidates for detection; use halving, or --shortlist.")
        if self.candidates is not None and self.candidates < 1:
            raise ConfigError(f"--candidates {self.candidates} must be at least 1, or all.")
        if self.shortlist not in SHORTLISTS:
            raise ConfigError(f"--shortlist {self.shortlist} is unknown; use one of {', '.join(SHORTLISTS)}.")
        if self.kind not in ("boxes", "masks"):
            raise ConfigError(f"AP is of boxes or masks, not of '{self.kind}'.")

    def rounds(self, count: int) -> list[tuple[int, int]]:
        """(candidates, iterations) of every round."""
        found = [(count, self.iterations)]
        if self.method == "halving":
            left, sizes = count, [count]
            while left > self.finalists:
                left = max(self.finalists, -(-left // self.factor))
                sizes.append(left)
            last = len(sizes) - 1
            found = [(size, max(1, round(self.iterations / self.factor ** (last - i)))) for i, size in enumerate(sizes)]
        return found
