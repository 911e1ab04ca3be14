"""Which images BatchNorm statistics come from, and the batches that they run in.

While statistics are collected, every BatchNorm normalises with its own batch. A batch of few classes, as one of images
in folder order is, normalises away what tells classes apart before the next layer sees it, and that layer's variance
comes out too small. So the images of a sample keep the random order in which they were drawn.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from typing import Any

import numpy as np
from mmengine.config import Config
from numpy.typing import NDArray

from mmssl_dynamic.datasets.batches import ImageBatches, build_dataset
from mmssl_dynamic.datasets.normalisation import Normalisation
from mmssl_dynamic.datasets.sample_request import seeded
from mmssl_dynamic.errors import ConfigError
from mmssl_dynamic.loading import need, normalisation_of, training_pipeline

TRANSFORMS = ("eval", "train")


@dataclass(frozen=True)
class CalibrationImages:
    """Images that statistics come from, transformed in one way or several.

    Attributes:
        views: Data sets of the same images, each with its own transforms; the images of a sample are dealt out to them.
        normalisation: That of the network.
        num_workers: Loader processes.
        transforms: One of :data:`TRANSFORMS`, for records.
    """

    views: tuple[Any, ...]
    normalisation: Normalisation
    num_workers: int = 0
    transforms: str = "eval"

    @classmethod
    def of(cls, config: Config, transforms: str = "eval", num_workers: int | None = None) -> CalibrationImages:
        """Those of a pre-training config: the images of its ``extract_dataloader``.

        The paper resets statistics "following once-for-all", whose code runs training images under their random
        transforms. What a sub-network sees when it is used are the transforms of evaluation: our reading, and the
        default. docs/studies/bn_statistics.md has the difference, which is small.

        Args:
            config: The config.
            transforms: ``'eval'``: those of ``extract_dataloader``. ``'train'``: those of ``train_dataloader``, a view
                of each image; of views that differ, as BYOL's, each has batches of its own, as in training.
            num_workers: Loader processes; those of ``extract_dataloader`` when left out.

        Raises:
            ConfigError: the config lacks a data set, or there are no such transforms.
            DataError: the images cannot be read.
        """
        check_transforms(transforms)
        need(config, "extract_dataloader")
        loader = config.extract_dataloader
        if transforms == "eval":
            views: list[Any] = [build_dataset(loader.dataset)]
        else:
            views = [_Seeded(build_dataset({**loader.dataset, "pipeline": steps})) for steps in training_views(config)]
        workers = loader.get("num_workers", 0) if num_workers is None else num_workers
        return cls(tuple(views), normalisation_of(config), workers, transforms)

    @property
    def dataset(self) -> Any:
        """The images, for their names."""
        return self.views[0]

    def __len__(self) -> int:
        return len(self.views[0])

    def batches(self, indices: list[int], batch_size: int, device: Any = "cpu") -> list[ImageBatches]:
        """Batches of a sample, a part for each way of transforming; each can be read several times.

        Args:
            indices: What :func:`draw_images` gave, two images or more.
            batch_size: Images per batch at most.
            device: Where the images go.
        """
        parts = min(len(self.views), len(indices) // 2)  # of two images at least, which have a variance
        return [
            sample_batches(view, indices[i::parts], self.normalisation, batch_size, self.num_workers, device)
            for i, view in enumerate(self.views[:parts])
        ]


class _Seeded:
    """A data set whose random transforms depend on the image alone: calibrated again, statistics are the same."""

    def __init__(self, dataset: Any) -> None:
        self.dataset = dataset

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, index: int) -> Any:
        with seeded(zlib.crc32(f"calibration {index}".encode())):
            return self.dataset[index]

    def get_data_info(self, index: int) -> Any:
        """What the data set knows of an image."""
        return self.dataset.get_data_info(index)


def check_transforms(transforms: str) -> None:
    """Refuse what is none of :data:`TRANSFORMS`."""
    if transforms not in TRANSFORMS:
        raise ConfigError(f"transforms='{transforms}' must be one of {', '.join(TRANSFORMS)}.")


def training_views(config: Config) -> list[list[dict[str, Any]]]:
    """The transforms of the training images: one pipeline for every kind of view.

    Raises:
        ConfigError: the config has no training images.
    """
    steps = training_pipeline(config, "calibrate with transforms='eval'")
    many = next((i for i, step in enumerate(steps) if str(step["type"]).split(".")[-1] == "MultiView"), None)
    if many is None:
        return [steps]
    views = [[*steps[:many], *view, *steps[many + 1 :]] for view in steps[many]["transforms"]]
    return [view for i, view in enumerate(views) if view not in views[:i]]


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
