"""Hugging Face's data sets: a folder of parquet files, or what ``save_to_disk`` has written, with an image a row.

Names are those of the folder that a data set was made of. Hugging Face's package keeps of a path only its end and has
the folder as a label, so a name is the class, a slash and the path; a path with folders in it is the name as it stands.
Where there is no path, or rows have the same one, names are made of the file and the number of the row.

N images.
"""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mmssl_dynamic.datasets.image_listing import is_hidden, is_text_line
from mmssl_dynamic.datasets.load_image import printable
from mmssl_dynamic.datasets.packed_images import PackedImages
from mmssl_dynamic.datasets.table_files import ARROW, LABEL, PARQUET, TableFile, opened, reading
from mmssl_dynamic.errors import DataError
from mmssl_dynamic.fileio import read_json
from mmssl_dynamic.image_names import ImageNames

PathLike = str | os.PathLike[str]

_STATE, _SPLITS = "state.json", "dataset_dict.json"  # of save_to_disk: of a data set, and of several
_BESIDE_IMAGES = "metadata.parquet"  # tells of images that are files
_SPLIT = re.compile(r"(.+)-\d{5}-of-\d{5}|(train|validation|val|test)\.")
_LINE_BREAKS = "[\\n\\r\\v\\f\\x1c-\\x1e\\x{85}\\x{2028}\\x{2029}]"  # those of str.splitlines
_DIGITS = 8


def is_table(root: PathLike) -> bool:
    """Whether a folder is a data set of Hugging Face's."""
    try:
        names = os.listdir(root)
    except OSError:
        return False
    return _SPLITS in names or any(map(_is_part, names))


def _is_part(name: str) -> bool:
    return name.endswith((ARROW, PARQUET)) and not is_hidden(name) and name != _BESIDE_IMAGES


@dataclass(frozen=True)
class RowPlace:
    """Where an image is.

    Attributes:
        file: The file of the table.
        row: In the file.
    """

    file: str
    row: int

    @property
    def where(self) -> str:
        """What holds it."""
        return f"row {self.row} of {self.file}"

    @property
    def size(self) -> int:
        """In bytes."""
        return int(opened(self.file).sizes[self.row])

    def read(self) -> bytes:
        """Its bytes.

        Raises:
            DataError: the file cannot be read, or the row has no image in it.
        """
        return opened(self.file).read(self.row)


class TableImages(PackedImages):
    """The images of a Hugging Face data set.

    Args:
        root: Its folder.

    Raises:
        ConfigError: the package pyarrow is not installed.
        DataError: a file cannot be read, is missing, or has no column of images; there is no row; or the folder holds
            several splits.
    """

    def __init__(self, root: PathLike) -> None:
        self.root = Path(root)
        self.files = _parts(self.root)
        listing = _Listing([opened(str(self.root / file)) for file in self.files])
        if not len(listing.rows):
            raise DataError(f"the tables in {printable(root)} hold no row; correct data_root.")
        self._names, order = _sorted(self.root, listing)
        self._rows, self._parts_of, self._codes = (
            values[order] for values in (listing.rows, listing.parts, listing.codes)
        )
        self._classes = listing.classes

    @property
    def image_names(self) -> ImageNames:
        """See the module."""
        return self._names

    @cached_property
    def folders(self) -> tuple[list[str], NDArray[np.int32]]:
        """Classes of the column ``label`` that have images, sorted, and each image's; else see the base class."""
        if not self._classes:
            return super().folders
        used = sorted((self._classes[code], code) for code in np.unique(self._codes).tolist() if code >= 0)
        rank = np.full(len(self._classes) + 1, -1, dtype=np.int32)  # code -1, no label, is the last one
        rank[[code for _, code in used]] = np.arange(len(used))
        return [name for name, _ in used], rank[self._codes]

    def as_stored(self) -> NDArray[np.int64]:
        """See the base class."""
        return np.lexsort((self._rows, self._parts_of))

    def place(self, position: int) -> RowPlace:
        """Where an image is."""
        return RowPlace(str(self.root / self.files[self._parts_of[position]]), int(self._rows[position]))


class _Listing:
    """Rows of all files, one file behind the other.

    Args:
        tables: The files.

    Attributes:
        classes: Names of the classes by their code; none where no file has labels with names.
        codes: (N,) int32 class of every row, -1 without one.
        parts, rows: (N,) file of every row, and the row in it.
        paths, made: (N,) names by path, null where there is none; and by file and row. Arrays of pyarrow.
    """

    def __init__(self, tables: Sequence[TableFile]) -> None:
        import pyarrow as pa

        known: dict[str, int] = {}
        codes, parts, rows, paths, made = [], [], [], [], []
        for number, table in enumerate(tables):
            with reading(table.file):
                path = table.column(table.image, "path")
                codes.append(_codes(table, known, len(path)))
                parts.append(np.full(len(path), number, dtype=np.int32))
                rows.append(np.arange(len(path), dtype=np.int64))
                classes = pa.array([name.strip("/") or "_" for name in known], pa.large_string())
                of_row = classes.take(pa.array(codes[-1], mask=codes[-1] < 0))
                paths.append(_with_class(path, of_row))
                made.append(_of_rows(table.file, rows[-1], of_row))
        self.classes = list(known)
        self.codes, self.parts, self.rows = (np.concatenate(values) for values in (codes, parts, rows))
        self.paths, self.made = pa.concat_arrays(paths), pa.concat_arrays(made)


def _codes(table: TableFile, known: dict[str, int], count: int) -> NDArray[np.int32]:
    """Class of every row; ``known``, class names and their codes, grows by those of the file."""
    if table.classes is None:
        return np.full(count, -1, dtype=np.int32)
    odd = next((name for name in table.classes if not is_text_line(name)), None)
    if odd is not None:
        raise DataError(f"{printable(table.file)}: class {ascii(odd)} is no line of text; rename it.")
    labels = table.column(LABEL).fill_null(-1).to_numpy(zero_copy_only=False).astype(np.int64)
    if len(labels) and labels.max() >= len(table.classes):
        raise DataError(
            f"{printable(table.file)} has label {labels.max()}, and names of {len(table.classes)} classes; write it "
            "again with a name for each."
        )
    numbers = [known.setdefault(name, len(known)) for name in table.classes]
    return np.array([*numbers, -1], dtype=np.int32)[np.maximum(labels, -1)]


def _with_class(paths: Any, classes: Any) -> Any:
    """Paths, in the folder of their class where they are in none; of absolute ones the end alone."""
    import pyarrow as pa
    import pyarrow.compute as pc

    ends = pc.replace_substring_regex(paths, "^(\\./|/(.*/)?)", "")
    ends = pc.if_else(pc.equal(ends, ""), pa.scalar(None, pa.large_string()), ends)
    alone = pc.and_(pc.invert(pc.match_substring(ends, "/")), pc.is_valid(classes))
    return pc.if_else(alone, pc.binary_join_element_wise(classes, ends, pa.scalar("/", pa.large_string())), ends)


def _of_rows(file: str, rows: NDArray[np.int64], classes: Any) -> Any:
    """Names such as ``cat/train-00000-of-00002/00000012``."""
    import pyarrow as pa
    import pyarrow.compute as pc

    numbers = pc.utf8_lpad(pa.array(rows).cast(pa.large_string()), _DIGITS, "0")
    slash, stem = (pa.scalar(text, pa.large_string()) for text in ("/", Path(file).stem))
    return pc.binary_join_element_wise(classes, stem, numbers, slash, null_handling="skip")


def _sorted(root: Path, listing: _Listing) -> tuple[ImageNames, NDArray[np.int64]]:
    """Names of all rows, sorted and all different, and the rows in their order."""
    import pyarrow as pa
    import pyarrow.compute as pc

    with reading(str(root)):
        names = listing.paths
        order, twice = _order(names)
        if names.null_count or len(twice):
            unclear = names.is_null().to_numpy(zero_copy_only=False)
            unclear[twice] = True
            names = pc.if_else(pa.array(unclear), listing.made, names)
            order, twice = _order(names)
        broken = pc.match_substring_regex(names, _LINE_BREAKS).to_numpy(zero_copy_only=False)
        for faulty, what in ((np.flatnonzero(broken), "is no line of text"), (twice, "stands there twice")):
            if len(faulty):
                name = ascii(names[int(faulty[0])].as_py())
                raise DataError(f"tables in {printable(root)}: image name {name} {what}; rename it.")
        names = names.take(pa.array(order))
        _, ends, letters = names.buffers()
    last = np.frombuffer(ends, dtype=np.int64)[: len(names) + 1]
    return ImageNames(np.frombuffer(letters, dtype=np.uint8)[: last[-1]], last[1:].copy(), differ=True), order


def _order(names: Any) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Positions of names sorted by their bytes, nulls last; and positions of those that stand there more than once."""
    import pyarrow as pa
    import pyarrow.compute as pc

    order = pc.sort_indices(names).to_numpy().astype(np.int64)
    there = names.take(pa.array(order[: len(names) - names.null_count]))
    same = np.flatnonzero(pc.equal(there[1:], there[:-1]).to_numpy(zero_copy_only=False))
    return order, order[np.union1d(same, same + 1)]


def _parts(root: Path) -> list[str]:
    """Names of the files of a data set, in order.

    Raises:
        DataError: the folder holds several splits, or has lost a file.
    """
    if (root / _SPLITS).is_file():
        splits = [entry.name for entry in sorted(root.iterdir()) if entry.is_dir() and is_table(entry)]
        raise DataError(f"{printable(root)} holds the splits {', '.join(splits)}; give one of them as data_root.")
    if (root / _STATE).is_file():  # what else lies there is left of other runs
        state = read_json(root / _STATE, "state of a data set")
        try:
            files = [os.path.basename(entry["filename"]) for entry in state["_data_files"]]
        except (KeyError, TypeError) as error:
            raise DataError(f"{printable(root / _STATE)} names no files of the data set; copy it again.") from error
        lost = next((file for file in files if not (root / file).is_file()), None)
        if lost is not None:
            raise DataError(f"data set {printable(root)} has lost its file {printable(lost)}; copy it again.")
        return files
    found = sorted(filter(_is_part, os.listdir(root)))
    splits = sorted({match[1] or match[2] for match in map(_SPLIT.match, found) if match})
    if len(splits) > 1:
        raise DataError(
            f"{printable(root)} holds the splits {', '.join(map(printable, splits))}; move the files of each into a "
            "folder of its own, and give one as data_root."
        )
    return found
