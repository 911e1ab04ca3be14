"""Data sets in an LMDB: keys are the paths that images had in their folder, values the contents of the files.

Read by the optional package ``lmdb``. N images.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from types import ModuleType
from typing import Any

from mmssl_dynamic.datasets.image_listing import IMAGE_EXTENSIONS, is_hidden, is_text_line
from mmssl_dynamic.datasets.load_image import printable
from mmssl_dynamic.datasets.packed_images import PackedImages
from mmssl_dynamic.errors import ConfigError, DataError, first_line
from mmssl_dynamic.image_names import ImageNames

PathLike = str | os.PathLike[str]

DATA = "data.mdb"
# Opened once in every process. One that is forked closes its parent's first, or LMDB refuses to open them again.
_opened: dict[tuple[str, int], Any] = {}


def is_lmdb(root: PathLike) -> bool:
    """Whether a folder is an LMDB."""
    return os.path.isfile(os.path.join(root, DATA))


@dataclass(frozen=True)
class LmdbPlace:
    """Where an image is.

    Attributes:
        root: Folder of the LMDB.
        name: The key.
    """

    root: str
    name: str

    @property
    def file(self) -> str:
        """The file that holds it."""
        return os.path.join(self.root, DATA)

    @property
    def where(self) -> str:
        """What holds it."""
        return self.root

    @property
    def size(self) -> int:
        """In bytes."""
        with self._value() as value:
            return len(value)

    def read(self) -> bytes:
        """Its bytes.

        Raises:
            DataError: the LMDB cannot be read, or has lost it.
        """
        with self._value() as value:
            return bytes(value)

    @contextmanager
    def _value(self) -> Iterator[memoryview]:
        with _reading(self.root) as transaction:
            value = transaction.get(self.name.encode())
            if value is None:
                raise DataError(f"LMDB {printable(self.root)} has lost image {self.name}; copy it again.")
            yield value


class LmdbImages(PackedImages):
    """The images of an LMDB.

    Args:
        root: Its folder.
        extensions: Endings of keys that are images.

    Raises:
        ConfigError: the package lmdb is not installed.
        DataError: the LMDB cannot be read, or holds no image.
    """

    def __init__(self, root: PathLike, extensions: Sequence[str] = IMAGE_EXTENSIONS) -> None:
        self.root, self.files = Path(root), [DATA]
        self._endings = tuple(ending.lower() for ending in extensions)
        if not len(self.image_names):
            raise DataError(f"LMDB {printable(root)} holds no key that ends as an image file; correct data_root.")

    @cached_property
    def image_names(self) -> ImageNames:
        """The keys, which LMDB keeps in the order of their bytes."""
        return ImageNames.of(self._names(), differ=True)

    def _names(self) -> Iterator[str]:
        with _reading(str(self.root)) as transaction, transaction.cursor() as cursor:
            for key in cursor.iternext(keys=True, values=False):
                name = bytes(key).decode("utf-8", "surrogateescape")
                if not name.lower().endswith(self._endings) or any(map(is_hidden, name.split("/"))):
                    continue
                if not is_text_line(name):
                    raise DataError(f"LMDB {printable(self.root)}: key {ascii(name)} is no line of text; rename it.")
                yield name

    def place(self, position: int) -> LmdbPlace:
        """Where an image is."""
        return LmdbPlace(str(self.root), self.name(position))


@contextmanager
def _reading(root: str) -> Iterator[Any]:
    """A transaction that reads; what it gives is memory of the file, as long as the block lasts."""
    lmdb = _package(root)
    try:
        own = root, os.getpid()
        if own not in _opened:
            for inherited in [key for key in _opened if key[1] != own[1]]:
                _opened.pop(inherited).close()
            _opened[own] = lmdb.open(root, readonly=True, lock=False, readahead=False)
        with _opened[own].begin(buffers=True) as transaction:
            yield transaction
    except lmdb.Error as error:
        raise DataError(f"LMDB {printable(root)} cannot be read ({first_line(error)}); copy it again.") from error


def _package(root: str) -> ModuleType:
    try:
        import lmdb
    except ModuleNotFoundError as error:
        raise ConfigError(
            f"data_root {printable(root)} is an LMDB, and the package that reads it is not installed; run "
            "`pip install 'mmssl-dynamic[lmdb]'`."
        ) from error
    return lmdb
