"""How a verb runs: one value that every function of :mod:`mmssl_dynamic.apis` takes."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from mmssl_dynamic.errors import ConfigError


@dataclass(frozen=True)
class Execution:
    """Where and how a verb computes, and what it shows meanwhile. What it finds is the same, but for rounding.

    What is left out, each verb fills in with a default of its own, as its command line does.

    Args:
        device: Such as ``'cpu'`` or ``'cuda:0'``; CUDA where there is one when left out.
        batch_size: Images per batch, of each process.
        workers: Processes that load images.
        memory_gib: Bound on what is held in memory at a time, in GiB.
        progress: Show bars with the time left, and say what was kept from an earlier run.
        again: Compute anew what is kept from an earlier run.
        launcher: ``'pytorch'``, ``'slurm'`` or ``'mpi'`` in processes of theirs, for a training on several GPUs.

    Raises:
        ConfigError: a number that cannot be.
    """

    device: str | None = None
    batch_size: int | None = None
    workers: int | None = None
    memory_gib: float | None = None
    progress: bool = True
    again: bool = False
    launcher: str = "none"

    def __post_init__(self) -> None:
        if self.batch_size is not None and self.batch_size < 1:
            raise ConfigError(f"--batch-size {self.batch_size} must be at least 1.")
        if self.workers is not None and self.workers < 0:
            raise ConfigError(f"--workers {self.workers} must be at least 0.")
        if self.memory_gib is not None and not self.memory_gib > 0:
            raise ConfigError(f"--memory-gib {self.memory_gib} must be positive.")

    @property
    def loading(self) -> tuple[int, int]:
        """Images per batch and workers, 64 and 0 where nobody has said."""
        return self.batch_size or 64, self.workers or 0

    @classmethod
    def of(cls, given: Execution | None, launcher: bool = False, **defaults: Any) -> Execution:
        """What a verb was given, with its own defaults for what was left out.

        Args:
            given: By the caller.
            launcher: Whether the verb can run in several processes.
            defaults: ``batch_size``, ``workers`` and ``memory_gib`` of the verb.

        Raises:
            ConfigError: processes of a launcher for a verb that runs in one.
        """
        given = given or cls()
        if given.launcher != "none" and not launcher:
            raise ConfigError(f"--launcher {given.launcher} is for trainings; this runs in one process: leave it out.")
        return replace(given, **{name: value for name, value in defaults.items() if getattr(given, name) is None})
