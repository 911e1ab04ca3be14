"""Which kind of packed images a folder is: tar shards, an LMDB, a Hugging Face data set, or none but files."""

from __future__ import annotations

import os
import warnings
from collections.abc import Sequence
from contextlib import suppress

from mmssl_dynamic.datasets.image_listing import IMAGE_EXTENSIONS, list_images, walk_files
from mmssl_dynamic.datasets.lmdb_images import LmdbImages, is_lmdb
from mmssl_dynamic.datasets.load_image import printable
from mmssl_dynamic.datasets.packed_images import PackedImages
from mmssl_dynamic.datasets.shards import ShardIndex, shard_files
from mmssl_dynamic.datasets.table_images import TableImages, is_table
from mmssl_dynamic.errors import DataError, UserNotice
from mmssl_dynamic.fingerprints import content_fingerprint, file_fingerprint, sha256


def open_packed(root: str | os.PathLike[str], extensions: Sequence[str] = IMAGE_EXTENSIONS) -> PackedImages | None:
    """The images that are packed in a folder; ``None`` for a folder of files.

    Of one that holds both, such as photographs and a tar file that they came in, it is said that files are left out.

    Args:
        root: The folder.
        extensions: Endings of files that are images; of tables every row is one.

    Raises:
        DataError: as of :class:`ShardIndex`, :class:`LmdbImages` and :class:`TableImages`.
        ArtifactError: as of :class:`ShardIndex`.
        ConfigError: the package that reads it is not installed.
    """
    try:
        packed = _opened(root, extensions)
    except DataError as error:
        file = _image_file(root, extensions)
        if file is None:
            raise
        # Such as labels in a table beside photographs.
        reason = str(error).removesuffix(".")
        raise DataError(
            f"{reason}; or move what is no image elsewhere, and files such as {printable(file)} are used."
        ) from error
    file = None if packed is None else _image_file(root, extensions)
    if packed is not None and file is not None:
        others = " and others" if len(packed.files) > 1 else ""
        warnings.warn(
            f"of {printable(root)} only the {len(packed):,} images that are packed in {packed.files[0]}{others} are "
            f"used, and no files such as {printable(file)}; keep packed images in a folder of their own.",
            UserNotice,
            stacklevel=2,
        )
    return packed


def _opened(root: str | os.PathLike[str], extensions: Sequence[str]) -> PackedImages | None:
    if shard_files(root):
        return ShardIndex.open(root, extensions)
    if is_lmdb(root):
        return LmdbImages(root, extensions)
    if is_table(root):
        return TableImages(root)
    return None


def _image_file(root: str | os.PathLike[str], extensions: Sequence[str]) -> str | None:
    """An image of a folder that is a file, if there is one."""
    endings = tuple(ending.lower() for ending in extensions)
    with suppress(DataError):  # a folder inside cannot be read, and need not be
        return next((path for path in walk_files(root) if path.lower().endswith(endings)), None)
    return None


def images_fingerprint(root: str | os.PathLike[str]) -> str | None:
    """Fingerprint of what a folder of images holds; ``None`` if there is nothing.

    Of a folder of files everything counts; of a packed one the files that hold images, and not what is made of them,
    such as an index.

    Raises:
        UserError: as of :func:`open_packed`.
    """
    packed = open_packed(root)
    if packed is None:
        return content_fingerprint(root)
    return sha256("\n".join(f"{file}\0{file_fingerprint(packed.root / file)}" for file in packed.files))


def count_images(root: str | os.PathLike[str]) -> int:
    """Images of a folder, in files or packed.

    Raises:
        DataError: there is none.
        ArtifactError, ConfigError: as of :func:`open_packed`.
    """
    packed = open_packed(root)
    return len(list_images(root) if packed is None else packed)
