"""Arrays in ``.npy`` and ``.npz`` files whose headers are checked against the file before anything is allocated."""

from __future__ import annotations

import math
import os
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from mmssl_dynamic.file_checks import check_archive


@dataclass(frozen=True)
class ArrayKind:
    """What an array in a file must be.

    Attributes:
        kinds: Letters of NumPy's kinds, such as ``'iu'`` for whole numbers.
        ndim: Number of dimensions.
    """

    kinds: str
    ndim: int

    def check(self, name: str, shape: tuple[int, ...], dtype: np.dtype) -> None:
        """Refuse other arrays.

        Raises:
            ValueError: it has another kind or number of dimensions.
        """
        if dtype.kind not in self.kinds or len(shape) != self.ndim:
            raise ValueError(f"'{name}' is {dtype} of shape {shape}")


def read_arrays(path: Path, kinds: Mapping[str, ArrayKind]) -> dict[str, NDArray[Any]]:
    """Those arrays of an ``.npz`` file that ``kinds`` names and the file holds.

    Raises:
        ValueError: an array is not of its kind, or the file claims to hold more than it does; the many errors of
            damaged archives come through as they are.
    """
    found = {}
    with zipfile.ZipFile(path) as archive:
        check_archive(archive, packed=True)
        entries = {entry.filename.removesuffix(".npy"): entry for entry in archive.infolist()}
        for name, kind in kinds.items():
            if name not in entries:
                continue
            entry = entries[name]
            with archive.open(entry) as stream:
                kind.check(name, *_header(stream, entry.file_size))
            with archive.open(entry) as stream:
                found[name] = np.lib.format.read_array(stream, allow_pickle=False)
    return found


def map_array(path: Path, kind: ArrayKind) -> NDArray[Any]:
    """The array of an ``.npy`` file, memory-mapped for reading.

    Raises:
        ValueError: as :func:`read_arrays`.
    """
    with path.open("rb") as stream:
        kind.check(path.name, *_header(stream, os.fstat(stream.fileno()).st_size))
    return np.load(path, mmap_mode="r", allow_pickle=False)


def _header(stream: IO[bytes], size: int) -> tuple[tuple[int, ...], np.dtype]:
    """Shape and type of an array, of whose file ``size`` bytes must be exactly as many as header and values take.

    Raises:
        ValueError: they are not, or there is no header.
    """
    version = np.lib.format.read_magic(stream)
    readers = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
    if version not in readers:  # 3.0 is for arrays with named fields
        raise ValueError(f"it has version {version} of the format")
    shape, _, dtype = readers[version](stream)
    if dtype.hasobject or any(side < 0 for side in shape):
        raise ValueError(f"it holds {dtype} of shape {shape}")
    values = math.prod(shape) * dtype.itemsize
    if stream.tell() + values != size:
        raise ValueError(f"its header tells of {values:,} bytes of values, and it has {size - stream.tell():,}")
    return shape, dtype
