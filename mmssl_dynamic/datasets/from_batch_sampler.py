"""A batch sampler that starts later, so that a resumed training draws what it would have drawn."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from typing import Any

from torch.utils.data import BatchSampler, Sampler

from mmssl_dynamic.registry import DATA_SAMPLERS


@DATA_SAMPLERS.register_module()
class FromBatchSampler:
    """The batches of another batch sampler from a number on.

    The earlier ones are drawn as indices, and none of their images is read.

    Args:
        sampler: Draws the images; without an end, such as mmengine's ``InfiniteSampler``.
        batch_size: Images per batch.
        start: Batches to leave out.
        batch_sampler: Config of the other batch sampler; ``None`` for torch's.
    """

    def __init__(self, sampler: Sampler, batch_size: int, start: int, batch_sampler: dict[str, Any] | None) -> None:
        self.sampler, self.batch_size, self.start = sampler, batch_size, start
        if batch_sampler is None:
            self.batch_sampler = BatchSampler(sampler, batch_size, drop_last=False)
        else:
            self.batch_sampler = DATA_SAMPLERS.build(
                batch_sampler, default_args=dict(sampler=sampler, batch_size=batch_size)
            )

    def __iter__(self) -> Iterator[list[int]]:
        return islice(iter(self.batch_sampler), self.start, None)

    def __len__(self) -> int:
        return len(self.batch_sampler)
