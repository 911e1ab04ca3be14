"""Training by iterations that goes on after a resume without reading again what it has trained on."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any

from mmengine.dataset import InfiniteSampler
from mmengine.runner import IterBasedTrainLoop
from torch.utils.data import DataLoader

from mmssl_dynamic.engine.unwrap import shared_seed
from mmssl_dynamic.registry import LOOPS


class _After(Iterator):
    """Gives ``None`` for each batch that a loop means to skip, then what a loader gives."""

    def __init__(self, loader: DataLoader, skipped: int) -> None:
        self._loader, self._skipped = loader, skipped
        self._batches: Iterator[Any] | None = None

    def __next__(self) -> Any:
        if self._skipped:
            self._skipped -= 1
            return None
        if self._batches is None:
            self._batches = iter(self._loader)
        return next(self._batches)


@LOOPS.register_module()
class IterLoop(IterBasedTrainLoop):
    """mmengine's ``IterBasedTrainLoop``, which resumes in seconds.

    To get to where a run stopped, mmengine loads and augments every image that the run has seen, which takes the better
    part of an hour late in a schedule of 180k iterations. Here their indices are drawn and no image is read. It needs
    ``InfiniteSampler``, in any batch sampler; with another one it goes on as mmengine does.

    Args:
        runner: The Runner.
        dataloader: Config of the loader.
        kwargs: ``max_iters``, ``val_begin``, ``val_interval`` and ``dynamic_intervals``, as mmengine's.
    """

    dataloader: DataLoader

    def __init__(self, runner: Any, dataloader: Any, **kwargs: Any) -> None:
        self._loader_config = dataloader
        super().__init__(runner, dataloader, **kwargs)

    def run(self) -> Any:
        """Train to the end."""
        # A DataLoader that was given a batch sampler has a `sampler` of its own making.
        sampler = getattr(self.dataloader.batch_sampler, "sampler", self.dataloader.sampler)
        if self._iter > 0 and isinstance(sampler, InfiniteSampler) and isinstance(self._loader_config, dict):
            self.dataloader = self._loader_from(self._iter)
            self.dataloader_iterator = _After(self.dataloader, self._iter)
        return super().run()

    def _loader_from(self, start: int) -> DataLoader:
        """The same loader without its first batches."""
        config = copy.copy(dict(self._loader_config))
        config["dataset"] = self.dataloader.dataset
        config["batch_sampler"] = dict(
            type="mmssl_dynamic.FromBatchSampler", start=start, batch_sampler=config.get("batch_sampler")
        )
        return self.runner.build_dataloader(config, seed=shared_seed(self.runner))
