"""Folders of images that are packed into few files: what a data set asks of them, whatever packs them.

N images.
"""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from bisect import bisect_left
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from mmssl_dynamic.image_names import ImageNames


class Place(Protocol):
    """Where an image is."""

    @property
    def file(self) -> str:
        """The file that holds it."""
        ...

    @property
    def size(self) -> int:
        """In bytes."""
        ...

    @property
    def where(self) -> str:
        """What holds it, in words."""
        ...

    def read(self) -> bytes:
        """Its bytes.

        Raises:
            DataError: they cannot be read.
        """
        ...


class PackedImages(ABC):
    """Images by their position in the order of their names.

    Attributes:
        root: The folder.
        files: Names of the files in it that hold images.
    """

    root: Path
    files: Sequence[str]

    @property
    @abstractmethod
    def image_names(self) -> ImageNames:
        """Paths of all images inside of the folder that was packed, sorted and all different."""

    @abstractmethod
    def place(self, position: int) -> Place:
        """Where an image is."""

    def as_stored(self) -> NDArray[np.int64]:
        """Positions in the order that they lie in on disk, (N,)."""
        return np.arange(len(self))

    def __len__(self) -> int:
        return len(self.image_names)

    def name(self, position: int) -> str:
        """Path of an image inside of the folder that was packed."""
        return self.image_names[position]

    @cached_property
    def folders(self) -> tuple[list[str], NDArray[np.int32]]:
        """First-level folders of the names, sorted, and of every image which it is in, (N,); -1: in none."""
        heads: list[str] = []
        which = np.full(len(self), -1, dtype=np.int32)
        start = 0
        while start < len(self):
            head, slash, _ = self.name(start).partition("/")
            stop = start + 1
            if slash:  # names are sorted: those of a folder stand together, and "0" comes after "/"
                stop = bisect_left(range(len(self)), head + "0", lo=start, key=self.name)
                which[start:stop] = len(heads)
                heads.append(head)
            start = stop
        # As folders are sorted, and not as names with a slash behind: "a" comes before "a-b", and "a-b/" before "a/".
        order = sorted(range(len(heads)), key=heads.__getitem__)
        rank = np.empty(len(heads) + 1, dtype=np.int32)
        rank[order], rank[-1] = np.arange(len(heads)), -1
        return [heads[index] for index in order], rank[which]


def places_state(places: Sequence[Place]) -> list[tuple[str, str]]:
    """Sizes of images, and when their files were last changed, as :func:`mmssl_dynamic.fingerprints.files_state`."""
    times = {file: str(os.stat(file).st_mtime_ns) for file in {place.file for place in places}}
    return [(str(place.size), times[place.file]) for place in places]
