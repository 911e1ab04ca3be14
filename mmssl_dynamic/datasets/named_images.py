"""Images of a folder by their names, whether they are files or packed."""

from __future__ import annotations

import os
from bisect import bisect_left
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path

import numpy as np

from mmssl_dynamic.datasets.image_listing import list_images
from mmssl_dynamic.datasets.load_image import read_image, read_packed
from mmssl_dynamic.datasets.packed_folders import open_packed
from mmssl_dynamic.errors import DataError, UserError


class NamedImages:
    """What a ``data_root`` holds, by the names that clusters and features have.

    Args:
        root: The folder.

    Raises:
        UserError: as of :func:`~mmssl_dynamic.datasets.packed_folders.open_packed`.
    """

    def __init__(self, root: str | os.PathLike[str]) -> None:
        self.root = Path(root).expanduser()
        self._packed = open_packed(self.root)

    @cached_property
    def names(self) -> Sequence[str]:
        """Of all images, sorted.

        Raises:
            DataError: as of :func:`~mmssl_dynamic.datasets.image_listing.list_images`.
        """
        return list_images(self.root) if self._packed is None else self._packed.image_names

    def __contains__(self, name: str) -> bool:
        return (self.root / name).is_file() if self._packed is None else self._position(name) is not None

    def read(self, name: str) -> np.ndarray:
        """BGR pixels of an image, (H, W, 3) uint8.

        Raises:
            DataError: it is not there, or cannot be used.
        """
        if self._packed is None:
            return read_image(self.root / name)
        position = self._position(name)
        if position is None:
            raise DataError(f"image {name} is not packed in {self.root}; correct the path.")
        return read_packed(name, self._packed.place(position))

    def _position(self, name: str) -> int | None:
        assert self._packed is not None
        position = bisect_left(range(len(self._packed)), name, key=self._packed.name)
        return position if position < len(self._packed) and self._packed.name(position) == name else None


def holds(root: str | os.PathLike[str], name: str) -> bool:
    """Whether a folder has an image of this name; one that cannot be opened has none."""
    try:
        return name in NamedImages(root)
    except UserError:
        return False
