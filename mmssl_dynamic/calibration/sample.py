"""Which images BatchNorm statistics come from, and the batches that they run in.

While statistics are collected, every BatchNorm normalises with its own batch. A batch of few classes, as one of images
in folder order is, normalises away what tells classes apart before the next layer sees it, and that layer's variance
comes out too small. So the images of a sample keep the random order in which they were drawn.
"""

from __future__ import annotations

import zlib
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mmssl_dynamic.datasets.batches import ImageBatches
from mmssl_dynamic.datasets.normalisation import Normalisation


def draw_images(candidates: NDArray[np.integer], count: int, seed: int, stream: str) -> list[int]:
    """A random sample in random order.

    Args:
        candidates: Positions of images in a data set.
        count: Images at most; fewer candidates are all taken.
        seed: Of the calibration.
        stream: What the sample is for; samples of other streams are drawn independently.
    """
    rng = np.random.default_rng([seed, zlib.crc32(stream.encode())])
    return [int(i) for i in rng.permutation(candidates)[:count]]


def sample_batches(
    dataset: Any,
    indices: list[int],
    normalisation: Normalisation,
    batch_size: int,
    num_workers: int = 0,
    device: Any = "cpu",
) -> ImageBatches:
    """Batches of a sample, in its order and of nearly equal length.

    Args:
        dataset: Images in evaluation form.
        indices: What :func:`draw_images` gave.
        normalisation: That of the network.
        batch_size: Images per batch at most.
        num_workers: Loader processes.
        device: Where the images go.
    """
    return ImageBatches(
        dataset,
        normalisation,
        even_batch_size(len(indices), batch_size),
        num_workers=num_workers,
        device=device,
        indices=indices,
    )


def even_batch_size(num_images: int, batch_size: int) -> int:
    """The size of batches of nearly equal length, at most ``batch_size``.

    A small last batch would normalise with poor statistics of its own; 2,001 images make 11 batches of 182 or 181.
    """
    count = -(-num_images // batch_size)
    return -(-num_images // count)
