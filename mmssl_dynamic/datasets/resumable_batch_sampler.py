"""Shuffled batches as a function of seed and step: resumed runs and several processes draw what one run would."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from mmssl_dynamic.datasets.sample_request import SampleRequest
from mmssl_dynamic.datasets.seeded_dataset import SeededDataset
from mmssl_dynamic.errors import ConfigError, DataError
from mmssl_dynamic.registry import DATA_SAMPLERS

# Streams of random numbers that must not coincide.
_IMAGES, _AUGMENTATIONS = 1, 2


@DATA_SAMPLERS.register_module()
class ResumableBatchSampler:
    """Batch sampler over a :class:`SeededDataset`: every epoch is one shuffled pass, its last incomplete batch dropped.

    P processes with batches of B / P images draw the images and augmentations of one process with batches of B.

    Args:
        sampler: mmengine's ``DefaultSampler``, which knows data set, seed, rank and number of ranks.
        batch_size: Images per rank and step.

    Raises:
        ConfigError: another data set, or an empty batch.
        DataError: fewer images than a batch over all ranks.
    """

    def __init__(self, sampler: Any, batch_size: int) -> None:
        if batch_size < 1:
            raise ConfigError(f"batch_size={batch_size} must be at least 1.")
        dataset = sampler.dataset
        if not isinstance(dataset, SeededDataset):
            raise ConfigError(f"ResumableBatchSampler needs a SeededDataset, not {type(dataset).__name__}.")
        self.sampler, self.num_images, self.batch_size = sampler, len(dataset), batch_size
        self.seed, self.rank = int(sampler.seed), sampler.rank
        self.total_batch = batch_size * sampler.world_size
        if self.num_images < self.total_batch:
            raise DataError(
                f"the training set has {self.num_images} images, fewer than a batch of {self.total_batch}; use a "
                "smaller train_dataloader.batch_size or more images."
            )
        self.start_at(0)

    def __len__(self) -> int:
        return self.num_images // self.total_batch

    def start_at(self, step: int, epoch: int | None = None) -> None:
        """Continue at this step of the training with what is left of its epoch.

        Args:
            step: The next step, counted from the start of training.
            epoch: The epoch it belongs to. A checkpoint written by an epoch's last step belongs to that epoch, of which
                nothing is left. Defaults to the epoch that ``step`` falls in.
        """
        self._epoch = step // len(self) if epoch is None else epoch
        self._start = step

    def __iter__(self) -> Iterator[list[SampleRequest]]:
        epoch, end = self._epoch, (self._epoch + 1) * len(self)
        order = np.random.default_rng([self.seed, _IMAGES, epoch]).permutation(self.num_images)
        part = slice(self.rank * self.batch_size, (self.rank + 1) * self.batch_size)
        for step in range(self._start, end):
            offset = (step - epoch * len(self)) * self.total_batch
            images = order[offset : offset + self.total_batch]
            seeds = np.random.default_rng([self.seed, _AUGMENTATIONS, step]).integers(2**31, size=self.total_batch)
            yield [SampleRequest(int(i), None, int(s)) for i, s in zip(images[part], seeds[part])]
        self.start_at(end)
