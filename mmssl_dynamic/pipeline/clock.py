"""Says which step of many begins, and how long all of them will take."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from mmssl_dynamic.errors import UserError
from mmssl_dynamic.fileio import read_json
from mmssl_dynamic.result_cache import KeptFiles
from mmssl_dynamic.writing import write_json


@dataclass
class Clock:
    """Announces the steps and keeps how long each took.

    Args:
        total: Number of steps.
        work: Of each step, in any unit, for the time left; unknown when left out.
        kept: What does the steps: one in which it made nothing tells nothing about the pace.
        file: Keeps the seconds, so that a step that is kept has those that it once took.
    """

    total: int
    work: Sequence[float] = ()
    kept: KeptFiles | None = None
    file: Path | None = None
    seconds: dict[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._earlier: dict[str, float] = {}
        if self.file is not None and self.file.is_file():
            with suppress(UserError, AttributeError, TypeError, ValueError):  # an estimate depends on it, no more
                self._earlier = {str(k): float(v) for k, v in read_json(self.file, "note of the seconds").items()}

    @contextmanager
    def step(self, name: str) -> Iterator[None]:
        """Announce a step and time it."""
        left = self.left()
        told = "" if left is None else f" ({in_words(left)} left in all)"
        print(f"\n[{len(self.seconds) + 1}/{self.total}] {name}{told}", flush=True)
        start, made = time.perf_counter(), self._made()
        yield
        seconds = time.perf_counter() - start
        if self.kept is not None and self._made() == made:
            seconds = max(seconds, self._earlier.get(name, 0.0))
        self.seconds[name] = seconds
        if self.file is not None:
            write_json(self.file, {**self._earlier, **self.seconds})

    def left(self) -> float | None:
        """Seconds that the steps to come will take, by the pace of those that are done; ``None`` if it is not known."""
        done = len(self.seconds)
        behind = sum(self.work[:done])
        if behind <= 0:
            return None
        return sum(self.seconds.values()) / behind * sum(self.work[done:])

    def announce_end(self, report: Path) -> None:
        """Say how long it took and where the report is."""
        print(f"\nDone in {in_words(sum(self.seconds.values()))}. Open {report} in a browser.")

    def _made(self) -> int:
        return 0 if self.kept is None else self.kept.made


def in_words(seconds: float) -> str:
    """A duration, no more exact than anybody wants to know it."""
    if seconds < 90:
        return f"{seconds:.0f} seconds"
    return f"{seconds / 60:.0f} minutes" if seconds < 5400 else f"{seconds / 3600:.1f} hours"
