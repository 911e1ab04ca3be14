"""Files of tables with an image in every row, as Hugging Face's data sets have them: parquet, and Arrow's streams.

Read by the optional package ``pyarrow``. Rows of an Arrow file are mapped from disk. Of a parquet file a row group is
the least that can be read; the last few are held, in each process for itself.

R rows of a file.
"""

from __future__ import annotations

import json
import os
from abc import ABC, abstractmethod
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property, lru_cache
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mmssl_dynamic.datasets.load_image import printable
from mmssl_dynamic.errors import ConfigError, DataError, first_line

ARROW, PARQUET = ".arrow", ".parquet"
LABEL = "label"
_FILES_OPEN = 256  # in a process; each is a descriptor, of which there are often 1,024
_BYTES_HELD = 2**28  # of row groups in a process, or one that is larger
_MOST_IN_GROUP = 2**31

# Contents of row groups, the last used one at the end: (R of the group,) binary arrays of pyarrow, and their bytes.
_groups: OrderedDict[tuple[str, int], tuple[Any, int]] = OrderedDict()


class TableFile(ABC):
    """A file of a table, opened.

    Args:
        file: Its path.
        schema: Its columns, pyarrow's.

    Attributes:
        image: Name of the column with images.
        classes: Names of the classes by the values of the column ``label``; ``None``: it has no such column.
    """

    def __init__(self, file: str, schema: Any) -> None:
        self.file = file
        features = _features(schema)
        self.image = _image_column(file, schema, features)
        self.classes = _class_names(schema, features)

    @abstractmethod
    def column(self, name: str, child: str | None = None) -> Any:
        """A column, or one child of a column of structs, in one array of pyarrow, (R,)."""

    @abstractmethod
    def contents(self) -> Iterator[Any]:
        """The image files of all rows, in order, in pyarrow's binary arrays."""

    @abstractmethod
    def content(self, row: int) -> bytes | None:
        """The image file of a row; ``None`` if it has none."""

    @cached_property
    def sizes(self) -> NDArray[np.int64]:
        """Bytes of the image files of all rows, (R,); 0 for a row without one. Of parquet they are all read, once."""
        with reading(self.file):
            import pyarrow.compute as pc

            parts = [np.zeros(0, dtype=np.int64)]
            for contents in self.contents():
                parts.append(pc.fill_null(pc.binary_length(contents), 0).to_numpy().astype(np.int64))
            return np.concatenate(parts)

    def read(self, row: int) -> bytes:
        """The image file of a row.

        Raises:
            DataError: the file cannot be read, or the row has no image in it.
        """
        with reading(self.file):
            found = self.content(row)
        if found is None:
            raise DataError(
                f"row {row} of {printable(self.file)} has no bytes of an image, only a path at most; write the data "
                "set by save_to_disk or push_to_hub, which put them in."
            )
        return found


class ArrowFile(TableFile):
    """A stream of Arrow (or its file format), mapped from disk."""

    def __init__(self, file: str) -> None:
        with reading(file) as pa:
            source = pa.memory_map(file)
            try:
                self._table = pa.ipc.open_stream(source).read_all()
            except pa.ArrowInvalid:
                source.seek(0)
                self._table = pa.ipc.open_file(source).read_all()
            super().__init__(file, self._table.schema)
            images = self._table.column(self.image)
            images.validate(full=True)  # what is mapped is believed: no offset may lead out of the file
            self._contents = _child(images, "bytes")

    def column(self, name: str, child: str | None = None) -> Any:
        """See the base class."""
        return _joined(self._table.column(name), child)

    def contents(self) -> Iterator[Any]:
        """See the base class."""
        yield from self._contents.chunks

    def content(self, row: int) -> bytes | None:
        """See the base class."""
        value: bytes | None = self._contents[row].as_py()
        return value


class ParquetFile(TableFile):
    """A parquet file. Threads of pyarrow are not used: loaders have processes."""

    def __init__(self, file: str) -> None:
        with reading(file):
            import pyarrow.parquet as pq

            self._file = pq.ParquetFile(file, memory_map=True)
            super().__init__(file, self._file.schema_arrow)
            about = self._file.metadata
            groups = [about.row_group(number) for number in range(about.num_row_groups)]
            self._starts = np.cumsum([0, *(group.num_rows for group in groups)])
        # Not of the column alone: pyarrow ends the process where a damaged file misstates a column of a group.
        largest = max((group.total_byte_size for group in groups), default=0)
        if largest >= _MOST_IN_GROUP:
            raise DataError(
                f"{printable(file)} has row groups of {largest / 2**30:.1f} GiB, and each image would read one; write "
                "it with a row_group_size of about 100."
            )

    def column(self, name: str, child: str | None = None) -> Any:
        """See the base class."""
        wanted = name if child is None else f"{name}.{child}"
        column = self._file.read(columns=[wanted], use_threads=False).column(name)
        return _joined(self._whole(column, int(self._starts[-1])), child)

    def contents(self) -> Iterator[Any]:
        """See the base class."""
        yield from map(self._group, range(len(self._starts) - 1))

    def content(self, row: int) -> bytes | None:
        """See the base class."""
        number = int(np.searchsorted(self._starts, row, side="right")) - 1
        key = self.file, number
        if key in _groups:
            _groups.move_to_end(key)
        else:
            group = self._group(number)
            _hold(key, group, group.nbytes)
        value: bytes | None = _groups[key][0][row - int(self._starts[number])].as_py()
        return value

    def _group(self, number: int) -> Any:
        table = self._file.read_row_group(number, columns=[f"{self.image}.bytes"], use_threads=False)
        images = self._whole(table.column(self.image), int(self._starts[number + 1] - self._starts[number]))
        return _child(images, "bytes").combine_chunks()

    def _whole(self, column: Any, rows: int) -> Any:
        """A column with as many rows as the file's end says."""
        if len(column) != rows:
            raise DataError(
                f"{printable(self.file)} cannot be read ({len(column)} of {rows} rows are there); copy it again."
            )
        return column


def _hold(key: tuple[str, int], group: Any, size: int) -> None:
    """Hold a row group, and give up those that were not used for longest."""
    room = _BYTES_HELD - size
    held = sum(other for _, other in _groups.values())
    while _groups and held > room:
        held -= _groups.popitem(last=False)[1][1]
    _groups[key] = group, size


def opened(file: str) -> TableFile:
    """A file, opened once in every process, as long as others do not take its place.

    Raises:
        DataError: it cannot be read, or has no column with images, or more than one.
        ConfigError: the package pyarrow is not installed.
    """
    return _opened(file, os.getpid())


@lru_cache(maxsize=_FILES_OPEN)
def _opened(file: str, process: int) -> TableFile:
    return (ParquetFile if file.endswith(PARQUET) else ArrowFile)(file)


@contextmanager
def reading(file: str) -> Iterator[ModuleType]:
    """The package pyarrow, whose errors become sentences about a file."""
    try:
        import pyarrow as pa
    except ModuleNotFoundError as error:
        raise ConfigError(
            f"{printable(file)} is a table of a Hugging Face data set, and the package that reads it is not installed; "
            "run `pip install 'mmssl-dynamic[parquet]'`."
        ) from error
    try:
        yield pa
    except (pa.ArrowException, OSError, UnicodeError) as error:  # names of columns, too, may be broken
        raise DataError(f"{printable(file)} cannot be read ({first_line(error)}); copy it again.") from error


def _child(column: Any, child: str) -> Any:
    """A child of a column of structs, without a copy."""
    import pyarrow.compute as pc

    return pc.struct_field(column, child)


def _joined(column: Any, child: str | None) -> Any:
    """A column in one array, whose values are what they say they are."""
    import pyarrow as pa

    values = column if child is None else _child(column, child)
    values.validate(full=True)
    text = pa.types.is_string(values.type)
    return (values.cast(pa.large_string()) if text else values).combine_chunks()  # of 64-bit offsets


def _features(schema: Any) -> dict[str, Any]:
    """What Hugging Face's package has written about the columns, by name; empty where it has not."""
    try:
        features = json.loads((schema.metadata or {})[b"huggingface"])["info"]["features"]
        return {name: about for name, about in features.items() if isinstance(about, dict)}
    except (AttributeError, KeyError, RecursionError, TypeError, ValueError):
        return {}


def _image_column(file: str, schema: Any, features: dict[str, Any]) -> str:
    """The column named ``image``, or the only one with images; sound is kept in the same way, and told apart."""
    import pyarrow as pa

    found = []
    for field in schema:
        if not pa.types.is_struct(field.type) or features.get(field.name, {}).get("_type", "Image") != "Image":
            continue
        fields = map(field.type.field, range(field.type.num_fields))
        children = {child.name: child.type for child in fields}
        content, path = children.get("bytes"), children.get("path")
        if content in (pa.binary(), pa.large_binary()) and path in (pa.string(), pa.large_string()):
            found.append(field.name)
    if "image" in found or len(found) == 1:
        return "image" if "image" in found else found[0]
    if found:
        raise DataError(
            f"{printable(file)} has several columns of images ({', '.join(map(printable, found))}); name the one to "
            "take image."
        )
    names = ", ".join(map(printable, schema.names)) or "none"
    raise DataError(
        f"{printable(file)} has no column of images, structs of bytes and path (its columns: {names}); cast one to "
        "datasets.Image, or correct data_root."
    )


def _class_names(schema: Any, features: dict[str, Any]) -> list[str] | None:
    import pyarrow as pa

    names = features.get(LABEL, {}).get("names")  # without them, numbers are of no folder
    if not isinstance(names, list) or LABEL not in schema.names or not pa.types.is_integer(schema.field(LABEL).type):
        return None
    return [str(name) for name in names]
