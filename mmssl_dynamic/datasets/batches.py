"""Batches of images for everything that does not train: feature extraction, calibration, evaluation.

N batch, H W height and width.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from mmengine.config import ConfigDict
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from mmssl_dynamic.datasets.image_listing import is_hidden
from mmssl_dynamic.datasets.kept_images import ImageKeeper, Loaded
from mmssl_dynamic.datasets.normalisation import Normalisation
from mmssl_dynamic.datasets.shared_memory import HandOver, is_short_of_shared_memory, shared_memory_left
from mmssl_dynamic.errors import ConfigError, DataError, UserError, UserNotice, first_line
from mmssl_dynamic.processes import Processes


def build_dataset(config: Mapping[str, Any], scope: str = "mmpretrain") -> Any:
    """Build and fully initialise a data set from its config.

    Raises:
        ConfigError: the config names a data set or transform that does not exist.
        DataError: the files are missing, there is no image among them, or a hidden folder would be a class.
    """
    from mmpretrain.registry import DATASETS
    from mmpretrain.utils import register_all_modules

    register_all_modules(init_default_scope=False)
    try:
        with DATASETS.switch_scope_and_registry(scope) as registry:
            dataset = registry.build(ConfigDict(config))
            dataset.full_init()
    except UserError:
        raise
    except FileNotFoundError as error:
        raise DataError(
            f"data set {config.get('type')} cannot be read: {error.filename or error} does not exist; correct "
            "data_root or the annotation file in the config."
        ) from error
    except (KeyError, TypeError, AssertionError, RuntimeError, ValueError) as error:
        raise ConfigError(f"data set {config.get('type')} cannot be built: {first_line(error)}") from error
    hidden = next((name for name in getattr(dataset, "folder_to_idx", None) or () if is_hidden(name)), None)
    if hidden is not None:
        raise DataError(
            f"data set {config.get('type')} ({config.get('data_root')}) takes the folder {hidden} for a class, which "
            "would shift the labels of the others; remove it, or use type='mmssl_dynamic.ImageFolder'."
        )
    if len(dataset) == 0:
        raise DataError(f"data set {config.get('type')} ({config.get('data_root')}) holds no image; correct data_root.")
    return dataset


@dataclass
class Batch:
    """Images of one batch.

    Attributes:
        images: (N, 3, H, W), normalised.
        indices: Their positions in the data set.
        labels: (N,) or ``None`` for images without labels.
    """

    images: Tensor
    indices: list[int]
    labels: Tensor | None


class _Indexed(Dataset):
    """Gives the position along with the sample."""

    def __init__(self, dataset: Any) -> None:
        self.dataset = dataset

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, index: int) -> tuple[int, dict]:
        return index, self.dataset[index]


def _collate(samples: Sequence[tuple[int, dict]]) -> tuple[Tensor, list[int], Tensor | None]:
    images = [sample["inputs"] for _, sample in samples]
    if len({image.shape for image in images}) > 1:
        raise ConfigError(
            f"images of a batch have different sizes ({tuple(images[0].shape)}, ...); end eval_pipeline with a "
            "fixed-size crop such as ResizeEdge and CenterCrop."
        )
    labels = [getattr(sample["data_samples"], "gt_label", None) for _, sample in samples]
    known = [label.reshape(()) for label in labels if label is not None and label.numel() == 1]
    return (
        torch.stack(images),
        [index for index, _ in samples],
        torch.stack(known).long() if len(known) == len(labels) else None,
    )


class ImageBatches:
    """Iterates over a data set in order, normalised and on the device; can be iterated several times.

    Args:
        dataset: A data set whose pipeline ends in ``PackInputs``.
        normalisation: That of the network, see :func:`mmssl_dynamic.loading.normalisation_of`.
        batch_size: Images per batch; the last one may be smaller.
        num_workers: Loader processes.
        device: Where the images go.
        indices: Only these positions, in this order; all when left out.
        kept: Where decoded images wait for further passes; every pass decodes them again when left out.
    """

    def __init__(
        self,
        dataset: Any,
        normalisation: Normalisation,
        batch_size: int,
        num_workers: int = 0,
        device: str | torch.device = "cpu",
        indices: Sequence[int] | None = None,
        kept: ImageKeeper | None = None,
    ) -> None:
        if batch_size < 1:
            raise ConfigError(f"batch size {batch_size} must be at least 1.")
        if not isinstance(normalisation, Normalisation):  # raw pixels would give numbers, but wrong ones
            raise ConfigError(f"ImageBatches needs the Normalisation of the network, not {normalisation!r}.")
        self.device = torch.device(device)
        self.normalisation, self._dataset, self._kept = normalisation, dataset, kept
        self._positions: Sequence[int] = range(len(dataset)) if indices is None else indices
        self._samples = _Indexed(dataset)
        self.num_images = len(self._positions)
        self._batch_size, self._num_workers = batch_size, num_workers

    def take(self, positions: Sequence[int]) -> ImageBatches:
        """Batches of the images at some positions of these, read alone."""
        return self._of([self._positions[position] for position in positions])

    def between(self, start: int, stop: int) -> ImageBatches:
        """The batches from ``start`` to ``stop``, with the images that they have here."""
        return self._of(self._positions[start * self._batch_size : stop * self._batch_size])

    def _of(self, positions: Sequence[int]) -> ImageBatches:
        loading = self._batch_size, self._num_workers, self.device
        return ImageBatches(self._dataset, self.normalisation, *loading, positions, self._kept)

    def labels(self) -> np.ndarray | None:
        """(N,) classes as the data set lists them, without reading an image; ``None`` if it does not, or several."""
        if not hasattr(self._dataset, "get_data_info"):
            return None
        labels = [self._dataset.get_data_info(position).get("gt_label") for position in self._positions]
        known = [int(label) for label in labels if label is not None and np.ndim(label) == 0]
        return np.array(known) if len(known) == len(labels) else None

    def __len__(self) -> int:
        return -(-self.num_images // self._batch_size)

    def __iter__(self) -> Iterator[Batch]:
        size = self._batch_size
        batches = [self._positions[start : start + size] for start in range(0, self.num_images, size)]
        kept = None if self._kept is None else self._kept.of(self._dataset)
        for images, indices, labels in self._decoded(batches) if kept is None else kept.through(batches, self._decoded):
            yield Batch(self.normalisation(images.to(self.device, non_blocking=True)), indices, labels)

    def _decoded(self, batches: Sequence[Sequence[int]]) -> Iterator[Loaded]:
        """What the loader gives; without workers from where they have no room to hand it over."""
        done = 0
        try:
            for batch in self._load(batches):
                yield batch
                done += 1
            return
        except (RuntimeError, OSError) as error:
            if not self._num_workers or not is_short_of_shared_memory(error):
                raise
        warnings.warn(
            UserNotice(
                f"{shared_memory_left()}, too little for {self._num_workers} loader workers (--workers), so images are "
                "loaded without them from here on; a container gets more by docker run --shm-size=8g."
            ),
            stacklevel=3,
        )
        self._num_workers = 0
        yield from self._load(batches[done:])

    def _load(self, batches: Sequence[Sequence[int]]) -> DataLoader:
        return DataLoader(
            self._samples,
            batch_sampler=batches,  # type: ignore[arg-type]
            num_workers=self._num_workers,
            collate_fn=HandOver(_collate),
            pin_memory=self.device.type == "cuda",
        )


def share_of(batches: Iterable[Any], processes: Processes) -> Iterable[Any]:
    """The batches of one of several processes: consecutive ones, each with the images that it has in one process."""
    if processes.count == 1:
        return batches
    if isinstance(batches, ImageBatches):
        own = processes.share(len(batches))
        return batches.between(own.start, own.stop)
    listed = list(batches)
    own = processes.share(len(listed))
    return listed[own.start : own.stop]
