"""Data sets in tar files, webdataset's layout, read at random by an index of where every image begins.

An index is a folder ``index/`` beside the shards with one array a file: all names in one, sorted, then where each ends,
and of every image its shard, offset and size. Arrays are mapped from disk, so that neither opening an index nor keeping
it open takes memory that grows with N.

N images.
"""

from __future__ import annotations

import io
import os
import tarfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mmssl_dynamic.arrays import ArrayKind, map_array
from mmssl_dynamic.datasets.image_listing import IMAGE_EXTENSIONS, is_hidden, is_text_line, list_images
from mmssl_dynamic.datasets.load_image import printable
from mmssl_dynamic.datasets.packed_images import PackedImages
from mmssl_dynamic.errors import ArtifactError, DataError, OutputError, first_line
from mmssl_dynamic.fileio import read_json
from mmssl_dynamic.image_names import ImageNames
from mmssl_dynamic.writing import atomic_path, write_json

PathLike = str | os.PathLike[str]

INDEX = "index"
_ABOUT = "index.json"
_SCHEMA_VERSION = 1
_MEGABYTE = 10**6
_ARRAYS = {
    "names": ArrayKind("u", 1),  # UTF-8, one behind the other
    "ends": ArrayKind("u", 1),  # (N,) of the names
    "shards": ArrayKind("u", 1),  # (N,) positions in the list of shards
    "offsets": ArrayKind("u", 1),  # (N,) in the shard
    "sizes": ArrayKind("u", 1),  # (N,) in bytes
}
_PART = ".part"  # behind the name of a shard while others are missing
_TYPES = {"names": np.uint8, "ends": np.uint64, "shards": np.uint32, "offsets": np.uint64, "sizes": np.uint32}


@dataclass(frozen=True)
class ShardPlace:
    """Where an image is.

    Attributes:
        file: Its shard.
        offset: Of its first byte.
        size: In bytes.
    """

    file: str
    offset: int
    size: int

    @property
    def where(self) -> str:
        """What holds it."""
        return self.file

    def read(self) -> bytes:
        """Its bytes.

        Raises:
            DataError: the shard cannot be read, or ends before.
        """
        try:
            with open(self.file, "rb") as stream:
                data = os.pread(stream.fileno(), self.size, self.offset)
        except OSError as error:
            raise DataError(f"shard {printable(self.file)} cannot be read ({error.strerror}); put it back.") from error
        if len(data) != self.size:
            raise DataError(f"shard {printable(self.file)} is cut off; copy it again, and remove {INDEX}/ beside it.")
        return data


def shard_files(root: PathLike) -> list[str]:
    """Names of the tar files in a folder, sorted; none if it is no folder of shards."""
    try:
        return sorted(name for name in os.listdir(root) if name.endswith(".tar") and not is_hidden(name))
    except OSError:
        return []


class ShardIndex(PackedImages):
    """Where the images of a folder of shards are, by their position in the order of their names.

    Args:
        root: The folder.
        files: Its shards.
        arrays: See the module.
    """

    def __init__(self, root: Path, files: Sequence[str], arrays: dict[str, NDArray]) -> None:
        self.root, self.files = root, list(files)
        self.names, self.ends = arrays["names"], arrays["ends"]
        self.shards, self.offsets, self.sizes = arrays["shards"], arrays["offsets"], arrays["sizes"]

    @classmethod
    def open(cls, root: PathLike, extensions: Sequence[str] = IMAGE_EXTENSIONS) -> ShardIndex:
        """The index of a folder; made, and written beside the shards, where there is none of these shards.

        Args:
            root: The folder.
            extensions: Endings of files that are images, for an index that has to be made.

        Raises:
            DataError: a shard cannot be read or is not finished, or there is no image in them.
            ArtifactError: the index is damaged.
        """
        folder, files = Path(root), shard_files(root)
        if (unfinished := _unfinished(folder)) is not None:
            raise DataError(
                f"{printable(root)} holds shards that are not finished ({unfinished.name}), so images would be "
                "missing; remove them all, and make them anew."
            )
        record, about = _record(folder, extensions), folder / INDEX / _ABOUT
        if about.is_file() and read_json(about, "index of shards") == record:
            try:
                arrays = {name: map_array(folder / INDEX / f"{name}.npy", kind) for name, kind in _ARRAYS.items()}
            except (OSError, ValueError) as error:
                raise ArtifactError(
                    f"the index {folder / INDEX} is damaged ({first_line(error)}); remove it, and it is made anew."
                ) from error
            return cls(folder, files, arrays)
        arrays = _scan(folder, files, tuple(ending.lower() for ending in extensions))
        with suppress(OutputError):  # a data set that others own is scanned again the next time
            cls.save(folder, arrays, extensions)
        return cls(folder, files, arrays)

    @staticmethod
    def save(root: PathLike, arrays: Mapping[str, NDArray], extensions: Sequence[str] = IMAGE_EXTENSIONS) -> None:
        """Write the index of the shards that a folder has now.

        Args:
            root: The folder.
            arrays: See the module.
            extensions: Endings of files that are images.

        Raises:
            OutputError: nothing can be written there, or there is no room.
        """
        folder = Path(root)
        for name, values in arrays.items():
            file = folder / INDEX / f"{name}.npy"
            with atomic_path(file, values.nbytes) as temporary, temporary.open("wb") as stream:
                np.save(stream, np.asarray(values, dtype=_TYPES[name]), allow_pickle=False)
        write_json(folder / INDEX / _ABOUT, _record(folder, extensions))  # the last one: nothing is believed before

    def __len__(self) -> int:
        return len(self.ends)

    @cached_property
    def image_names(self) -> ImageNames:
        """Paths of all images inside of their shards, which are all different."""
        return ImageNames(self.names, self.ends, differ=True)

    def as_stored(self) -> NDArray[np.int64]:
        """See the base class."""
        return np.lexsort((self.offsets, self.shards))

    def place(self, position: int) -> ShardPlace:
        """Where an image is."""
        file = self.root / self.files[int(self.shards[position])]
        return ShardPlace(str(file), int(self.offsets[position]), int(self.sizes[position]))


def _record(folder: Path, extensions: Sequence[str]) -> dict[str, object]:
    """What an index is of."""
    states = [(file, os.stat(folder / file)) for file in shard_files(folder)]
    shards = [[file, state.st_size, state.st_mtime_ns] for file, state in states]
    return {"schema_version": _SCHEMA_VERSION, "shards": shards, "extensions": list(extensions)}


def _scan(folder: Path, files: Sequence[str], extensions: tuple[str, ...]) -> dict[str, NDArray]:
    """The arrays, from the headers of all shards."""
    members: list[tuple[bytes, int, int, int]] = []
    for number, file in enumerate(files):
        try:
            with tarfile.open(folder / file, "r:") as archive:
                for member in archive:
                    name = member.name.removeprefix("./")
                    if member.isfile() and name.lower().endswith(extensions) and not _hidden(name):
                        if not is_text_line(name):
                            raise DataError(f"shard {folder / file}: name {ascii(name)} is no line of text; rename it.")
                        members.append((name.encode(), number, member.offset_data, member.size))
        except (tarfile.TarError, OSError) as error:
            raise DataError(f"shard {folder / file} cannot be read ({first_line(error)}); copy it again.") from error
    if not members:
        raise DataError(f"the {len(files)} shards in {printable(folder)} hold no image; correct data_root.")
    members.sort()
    twice = next((one for one, other in zip(members, members[1:]) if one[0] == other[0]), None)
    if twice is not None:
        raise DataError(f"the shards in {printable(folder)} hold the image {twice[0].decode()} twice; remove one.")
    columns = list(zip(*members))
    ends = np.cumsum([len(name) for name in columns[0]])
    values = {"names": np.frombuffer(b"".join(columns[0]), np.uint8), "ends": ends}
    values |= {"shards": columns[1], "offsets": columns[2], "sizes": columns[3]}  # type: ignore[dict-item]
    return {name: np.asarray(value, dtype=_TYPES[name]) for name, value in values.items()}


def _hidden(name: str) -> bool:
    return any(is_hidden(part) for part in name.split("/"))


def _unfinished(folder: Path) -> Path | None:
    """A shard of :func:`write_shards`, if it has not come to its end."""
    return next(folder.glob(f"*.tar{_PART}"), None)


def write_shards(root: PathLike, out: PathLike, megabytes: int = 1024) -> Iterator[int]:
    """Pack a folder of images into shards, in the order of their names.

    Args:
        root: The folder.
        out: Where the shards go, ``000000.tar`` and so on, and their index.
        megabytes: Size of a shard, about.

    Yields:
        One after each image.

    Raises:
        DataError: as :func:`~mmssl_dynamic.datasets.image_listing.find_images`.
        OutputError: there is no room for them, or ``out`` holds shards already.
    """
    there = shard_files(out)
    if there:  # those that are not written over would become part of the data set
        raise OutputError(f"--out {out} holds shards already ({there[0]}); give another folder, or remove them.")
    names, folder = list_images(root), Path(out)
    while (unfinished := _unfinished(folder)) is not None:  # of a run that was stopped
        unfinished.unlink()
    start = number = 0
    while start < len(names):
        with (
            atomic_path(folder / f"{number:06d}.tar{_PART}") as temporary,
            tarfile.open(temporary, "w:", format=tarfile.PAX_FORMAT) as archive,
        ):
            while start < len(names) and archive.offset < megabytes * _MEGABYTE:
                data = (Path(root) / names[start]).read_bytes()
                member = tarfile.TarInfo(names[start])
                member.size = len(data)
                archive.addfile(member, io.BytesIO(data))
                start += 1
                yield 1
        number += 1
    # All at once: some of the shards would be taken for a data set of fewer images.
    for index in range(number):
        (folder / f"{index:06d}.tar{_PART}").replace(folder / f"{index:06d}.tar")
    ShardIndex.open(folder)
