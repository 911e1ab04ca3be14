"""Batches of a data set that processes share out, with what they make of them brought together in order."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any, TypeVar

import torch
from torch import Tensor

from mmssl_dynamic.datasets.batches import ImageBatches
from mmssl_dynamic.datasets.kept_images import ImageKeeper
from mmssl_dynamic.datasets.normalisation import Normalisation
from mmssl_dynamic.processes import Processes

T = TypeVar("T")


@dataclass(frozen=True)
class SharedBatches:
    """Batches of some images of a data set: the same ones as one process would make.

    Attributes:
        dataset: The images, with their pipeline.
        normalisation: That of the networks.
        indices: Which images.
        batch_size: Images per batch.
        num_workers: Loader processes, of each process.
        device: Of the networks.
        processes: Those that share the batches out.
        kept: Where decoded images wait for the next network.
    """

    dataset: Any
    normalisation: Normalisation
    indices: Sequence[int]
    batch_size: int
    num_workers: int
    device: torch.device | str
    processes: Processes
    kept: ImageKeeper | None = None

    def results(self, compute: Callable[[Tensor], T], most: int = 8) -> Iterator[tuple[list[int], T]]:
        """Positions of the images of every batch, in order, and what came of it, for the first process.

        The others get nothing, and have to go through it all the same.

        Args:
            compute: Makes it of normalised images (B, 3, H, W): anything that can be pickled.
            most: Batches of a process before results are brought together, which bounds the memory.
        """
        turns = list(self.processes.turns(-(-len(self.indices) // self.batch_size), most))
        own = [i for turn in turns for i in self.indices[turn.start * self.batch_size : turn.stop * self.batch_size]]
        loading = self.normalisation, self.batch_size, self.num_workers, self.device
        found = (
            (batch.indices, compute(batch.images)) for batch in ImageBatches(self.dataset, *loading, own, self.kept)
        )
        for turn in turns:
            for part in self.processes.gathered(list(islice(found, len(turn))), to=0):
                yield from part
