"""The images of a downstream task in batches, and smaller parts of them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor


@dataclass(frozen=True)
class Splits:
    """Batches of a task's images; each part can be iterated several times.

    Attributes:
        train: The bank, and the images to choose with.
        test: Reported only. ``None`` when there is none.
        val: The images to choose with instead of ``train``, if there are any.
    """

    train: Iterable[Any]
    test: Iterable[Any] | None = None
    val: Iterable[Any] | None = None

    def parts(self) -> dict[str, Iterable[Any]]:
        """Those that are there, by name."""
        named = {"train": self.train, "val": self.val, "test": self.test}
        return {name: batches for name, batches in named.items() if batches is not None}

    def for_selection(self, share: float, least: int, seed: int = 0) -> Splits:
        """A part of the images to choose with, without test images.

        Of every class about the same share, and of a larger share all that a smaller one has.

        Args:
            share: Of the images of each part, in (0, 1].
            least: Images of each part at least, as far as there are so many.
            seed: Chooses the images.
        """

        def part(batches: Iterable[Any] | None) -> Iterable[Any] | None:
            if batches is None:
                return None
            count = min(count_images(batches), max(least, round(share * count_images(batches))))
            return take(batches, balanced_order(labels_of(batches), count_images(batches), seed)[:count])

        train = part(self.train)
        assert train is not None
        return Splits(train, None, part(self.val))


@dataclass(frozen=True)
class _Part:
    """Images at some positions of batches that cannot be read one by one."""

    batches: Iterable[Any]
    positions: frozenset[int]

    @property
    def num_images(self) -> int:
        return len(self.positions)

    def __iter__(self) -> Iterator[Any]:
        start = 0
        for batch in self.batches:
            count = len(batch.images)
            rows = [row for row in range(count) if start + row in self.positions]
            start += count
            if rows:
                labels = None if batch.labels is None else batch.labels[rows]
                yield _Rows(batch.images[rows], labels)


@dataclass
class _Rows:
    images: Tensor
    labels: Tensor | None


def take(batches: Iterable[Any], positions: Sequence[int]) -> Iterable[Any]:
    """Only the images at some positions, in the order of the data set."""
    if hasattr(batches, "take"):  # reads no others
        return batches.take(sorted(positions))
    return _Part(batches, frozenset(positions))


def count_images(batches: Iterable[Any]) -> int:
    """Number of images of all batches."""
    known = getattr(batches, "num_images", None)
    return known if known is not None else sum(len(batch.images) for batch in batches)


def labels_of(batches: Iterable[Any]) -> np.ndarray | None:
    """(N,) classes, without reading the images where the data set can tell; ``None`` if some are unknown."""
    if hasattr(batches, "labels"):
        return batches.labels()
    labels = [getattr(batch, "labels", None) for batch in batches]
    known = [label for label in labels if label is not None]
    return torch.cat(known).cpu().numpy() if known and len(known) == len(labels) else None


def balanced_order(labels: np.ndarray | None, count: int, seed: int) -> list[int]:
    """An order of the positions 0 to ``count`` - 1 of which every beginning has all classes in proportion."""
    rng = np.random.default_rng(seed)
    shuffled = rng.permutation(count)
    if labels is None:
        return shuffled.tolist()
    place = np.empty(count)
    for label in np.unique(labels):
        own = shuffled[labels[shuffled] == label]
        place[own] = (np.arange(len(own)) + rng.random()) / len(own)
    return np.argsort(place, kind="stable").tolist()
