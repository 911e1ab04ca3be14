"""Decoded images held for further passes, so that many networks can look at an image that is decoded once.

What is held is what the pipeline hands over, uint8 pixels of the size that networks take: 147 KiB for 224 x 224. Up to
a limit they lie in memory, and after that in a file without a name, which the system deletes with the process.

C channels, H W height and width.
"""

from __future__ import annotations

import errno
import math
import os
import shutil
import tempfile
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import IO, Any

import numpy as np
import torch
from torch import Tensor

from mmssl_dynamic.cpu import free_memory_gib
from mmssl_dynamic.errors import UserNotice
from mmssl_dynamic.writing import human_size, is_full

Loaded = tuple[Tensor, list[int], Tensor | None]
"""Images (N, C, H, W), their positions in the data set, and labels (N,) or ``None``."""
Load = Callable[[list[Sequence[int]]], Iterable[Loaded]]

_GIB = 2**30
_LEFT_FREE = 0.05  # of a disk, that others can go on writing
_LOOK_AGAIN = 64 * 2**20  # bytes written between two looks at the room that is left


class ImageKeeper:
    """Where decoded images wait, those of all parts of a task together.

    Args:
        memory_gib: Bound on those in memory, in GiB; a quarter of the memory that is free when left out.
        folder: Where the file of the others is made; they are decoded in every pass when left out.

    Attributes:
        decoded: How many images have been decoded, each as often as it was.
    """

    def __init__(self, memory_gib: float | None = None, folder: str | os.PathLike[str] | None = None) -> None:
        self.memory_gib = free_memory_gib() / 4 if memory_gib is None else memory_gib
        self.folder = None if memory_gib == 0 else folder
        self.decoded = self.in_memory = self.on_disk = 0
        self._free = int(self.memory_gib * _GIB)
        self._file: IO[bytes] | None = None
        self._end = self._looked = 0
        self._kept: dict[int, tuple[Any, KeptImages]] = {}

    def of(self, dataset: Any) -> KeptImages:
        """The images of a data set, the same ones for everybody who asks."""
        if id(dataset) not in self._kept:  # the data set is held, too: its id is not another one's meanwhile
            self._kept[id(dataset)] = (dataset, KeptImages(self))
        return self._kept[id(dataset)][1]

    def keep(self, image: np.ndarray) -> np.ndarray | int | None:
        """Put an image away: itself, or where in the file it is; ``None`` where there is no room for it."""
        if image.nbytes <= self._free:
            self._free -= image.nbytes
            self.in_memory += 1
            return image.copy()
        place = self._write(image)
        self.on_disk += place is not None
        return place

    def read(self, place: int, size: int) -> bytes:
        """Bytes of an image in the file."""
        assert self._file is not None
        return os.pread(self._file.fileno(), size, place)

    def _write(self, image: np.ndarray) -> int | None:
        if self.folder is None:
            return None
        try:
            if self._end >= self._looked:
                self._looked = self._end + _LOOK_AGAIN
                self._open_where_there_is_room(Path(self.folder))
            assert self._file is not None
            os.pwrite(self._file.fileno(), image.tobytes(), self._end)
        except OSError as error:
            if not is_full(error):
                raise
            warnings.warn(
                UserNotice(
                    f"{self.folder} has no room for more decoded images than {human_size(self._end)}, so others are "
                    "decoded in every pass; give more memory for them (--image-memory-gib)."
                ),
                stacklevel=5,
            )
            self.folder = None
            return None
        place, self._end = self._end, self._end + image.nbytes
        return place

    def _open_where_there_is_room(self, folder: Path) -> None:
        """Raises OSError, as a disk that is full does, before it is."""
        if self._file is None:
            folder.mkdir(parents=True, exist_ok=True)
            self._file = tempfile.TemporaryFile(dir=folder)  # noqa: SIM115  open as long as the keeper lives
        usage = shutil.disk_usage(folder)
        if usage.free - _LOOK_AGAIN < _LEFT_FREE * usage.total:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    @property
    def text(self) -> str:
        """What is held, in a few words."""
        size = int(self.memory_gib * _GIB) - self._free + self._end
        held = self.in_memory + self.on_disk
        return f"{held:,} decoded images held, {self.on_disk:,} of them on disk, {human_size(size)}"

    def close(self) -> None:
        """Let go of everything."""
        self._kept.clear()
        if self._file is not None:
            self._file.close()
            self._file = None


class KeptImages:
    """Those of one data set.

    Args:
        keeper: Where they are put.
    """

    def __init__(self, keeper: ImageKeeper) -> None:
        self._keeper = keeper
        self._places: dict[int, np.ndarray | int] = {}
        self._labels: dict[int, int | None] = {}
        self._shape: tuple[int, ...] = ()

    def through(self, batches: Sequence[Sequence[int]], load: Load) -> Iterator[Loaded]:
        """Batches of positions, of which only those images are decoded that are not held yet.

        Args:
            batches: Positions in the data set.
            load: Decodes such batches.
        """
        missing = [[position for position in batch if position not in self._places] for batch in batches]
        decoded = iter(load([part for part in missing if part]))
        for batch, new in zip(batches, missing):
            if len(new) == len(batch):
                images, _, labels = next(decoded)
                self._add(new, images, labels)
            else:
                images, labels = self._joined(batch, new, next(decoded) if new else None)
            yield images, list(batch), labels

    def _joined(self, batch: Sequence[int], new: Sequence[int], decoded: Loaded | None) -> tuple[Tensor, Tensor | None]:
        """Images and labels of a batch, of which those at the positions ``new`` have just been decoded."""
        rows = {position: row for row, position in enumerate(new)}
        held = {position: self._image(position) for position in batch if position not in rows}
        labels = {position: self._labels[position] for position in held}
        if decoded is not None:
            images, _, classes = decoded
            self._add(new, images, classes)
            held.update({position: images[row] for position, row in rows.items()})
            labels.update({p: None if classes is None else int(classes[row]) for p, row in rows.items()})
        known = [label for label in (labels[position] for position in batch) if label is not None]
        images = torch.stack([held[position] for position in batch])
        return images, torch.tensor(known, dtype=torch.int64) if len(known) == len(batch) else None

    def _add(self, positions: Sequence[int], images: Tensor, labels: Tensor | None) -> None:
        """Put images away that have been decoded, as far as there is room; others than uint8 pixels are not."""
        self._keeper.decoded += len(images)
        shape = tuple(images.shape[1:])
        self._shape = self._shape or shape
        if images.dtype != torch.uint8 or shape != self._shape:
            return
        for row, position in enumerate(positions):
            place = self._keeper.keep(images[row].numpy())
            if place is not None:
                self._places[position] = place
                self._labels[position] = None if labels is None else int(labels[row])

    def _image(self, position: int) -> Tensor:
        """(C, H, W)."""
        place = self._places[position]
        if isinstance(place, np.ndarray):
            return torch.from_numpy(place)
        return torch.frombuffer(bytearray(self._keeper.read(place, math.prod(self._shape))), dtype=torch.uint8).view(
            self._shape
        )
