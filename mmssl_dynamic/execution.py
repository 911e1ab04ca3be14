"""How a verb runs: one value that every function of ``apis`` takes."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from mmssl_dynamic.errors import ConfigError
from mmssl_dynamic.launchers import rank_of


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
        launcher: ``'pytorch'``, ``'slurm'`` or ``'mpi'`` in processes of theirs, which share the work.
        image_memory_gib: Bound on the decoded images that are held for further passes, in GiB; more than fit wait on
            disk. 0 decodes them again in every pass.

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
    image_memory_gib: float | None = None

    def __post_init__(self) -> None:
        if self.batch_size is not None and self.batch_size < 1:
            raise ConfigError(f"--batch-size {self.batch_size} must be at least 1.")
        if self.workers is not None and self.workers < 0:
            raise ConfigError(f"--workers {self.workers} must be at least 0.")
        if self.memory_gib is not None and not self.memory_gib > 0:
            raise ConfigError(f"--memory-gib {self.memory_gib} must be positive.")
        if self.image_memory_gib is not None and not self.image_memory_gib >= 0:
            raise ConfigError(f"--image-memory-gib {self.image_memory_gib} must be at least 0.")

    @property
    def first(self) -> bool:
        """Whether this process is the one that writes and prints, among those of a launcher."""
        return rank_of(self.launcher) == 0

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
            raise ConfigError(f"--launcher {given.launcher}: this verb runs in one process; leave it out.")
        return replace(given, **{name: value for name, value in defaults.items() if getattr(given, name) is None})
