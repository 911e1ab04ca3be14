"""Which files of a folder are images, which are left out, and which are not there at all: one rule for every reader."""

from __future__ import annotations

import os
import warnings
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from mmengine.dist import is_main_process

from mmssl_dynamic.datasets.load_image import printable
from mmssl_dynamic.errors import DataError, UserNotice

#: Endings of files that count as images, compared without regard to case.
IMAGE_EXTENSIONS = (
    *(".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".bmp", ".webp", ".gif", ".tif", ".tiff"),
    *(".ppm", ".pgm", ".pbm", ".pnm", ".jp2", ".avif"),
)
# What systems and disk stations put beside a person's files, in lower case; names that begin with a dot are so, too.
_NOT_CONTENT = frozenset(
    {
        *("__macosx", "thumbs.db", "ehthumbs.db", "desktop.ini", "$recycle.bin", "system volume information"),
        *("@eadir", "@recycle", "@recently-snapshot", "#recycle", "lost+found", "__pycache__"),
    }
)
# Of what images are packed in, see mmssl_dynamic.datasets.packed_folders.
_PACKED = (".tar", ".mdb", ".parquet", ".arrow")
_SHOWN = 6  # kinds of files in a sentence


def is_hidden(name: str) -> bool:
    """Whether a file or folder of this name is no content: ``.DS_Store``, ``.ipynb_checkpoints``, ``@eaDir``, ..."""
    return name.startswith(".") or name.lower() in _NOT_CONTENT


@dataclass(frozen=True)
class Listing:
    """What a folder holds.

    Attributes:
        images: Relative paths with forward slashes, sorted.
        left_out: Number of other files by ending, in lower case; hidden ones are not among them.
    """

    images: list[str]
    left_out: Counter[str]

    def left_out_text(self) -> str:
        """Such as ``'12 .heic, 3 .txt'``; empty if nothing is left out."""
        return by_ending(self.left_out)


def by_ending(counts: Counter[str]) -> str:
    """Numbers of files by their endings in words: ``'12 .heic, 3 .txt, 1 without an ending'``."""
    kinds = [f"{count} {printable(ending) or 'without an ending'}" for ending, count in counts.most_common()]
    rest = sum(count for _, count in counts.most_common()[_SHOWN:])
    return ", ".join([*kinds[:_SHOWN], *([f"{rest} of other kinds"] if rest else [])])


def find_images(root: str | os.PathLike[str], extensions: Sequence[str] = IMAGE_EXTENSIONS) -> Listing:
    """All images below ``root``, and what else there is.

    Links are followed (a link to a folder above itself is not). Hidden files and folders, see :func:`is_hidden`, are
    not looked at.

    Raises:
        DataError: ``root`` is missing, is not a folder, cannot be read or holds no image, or a file name cannot be
            stored as a line of text.
    """
    folder, shown = os.fspath(root), printable(root)
    if not os.path.exists(folder):
        raise DataError(f"image folder {shown} does not exist; correct the path.")
    if not os.path.isdir(folder):
        raise DataError(f"image folder {shown} is a file; give the folder that holds the images.")
    endings = tuple(ending.lower() for ending in extensions)
    listing, packed = Listing([], Counter()), None
    for path in walk_files(folder):
        if path.lower().endswith(endings):
            listing.images.append(path)
        else:
            listing.left_out[os.path.splitext(path)[1].lower()] += 1
            packed = packed or (path if path.endswith(_PACKED) else None)
    if not listing.images:
        found = f", only other files ({listing.left_out_text()})" if listing.left_out else ""
        remedy = f"give a folder with files such as {', '.join(endings[:5])}"
        if packed is not None:
            inside = os.path.dirname(packed)
            own = f"give {printable(os.path.join(folder, inside))}" if inside else "unpack it: files are needed here"
            remedy = f"if images are packed in {printable(packed)}, {own}"
        raise DataError(f"image folder {shown} holds no image{found}; {remedy}.")
    for path in listing.images:
        if not is_text_line(path):
            raise DataError(
                f"file name {ascii(path)} in {shown} cannot be stored as a line of UTF-8 text; rename the file."
            )
    listing.images.sort()
    return listing


def list_images(root: str | os.PathLike[str], extensions: Sequence[str] = IMAGE_EXTENSIONS) -> list[str]:
    """The images of :func:`find_images`; a notice says what is left out.

    Raises:
        DataError: as :func:`find_images`.
    """
    listing = find_images(root, extensions)
    if listing.left_out and is_main_process():
        warnings.warn(
            UserNotice(
                f"{printable(root)}: {len(listing.images)} images; other files are left out: {listing.left_out_text()}"
            ),
            stacklevel=2,
        )
    return listing.images


def visible_entries(folder: str | os.PathLike[str]) -> list[os.DirEntry[str]]:
    """Files and folders in a folder that are not hidden, sorted by name.

    Raises:
        DataError: the folder cannot be read.
    """
    try:
        with os.scandir(folder) as entries:
            return sorted((entry for entry in entries if not is_hidden(entry.name)), key=lambda entry: entry.name)
    except OSError as error:
        raise DataError(
            f"folder {printable(folder)} cannot be read ({error.strerror}); check its permissions."
        ) from error


def class_folders(folder: str | os.PathLike[str]) -> list[Path]:
    """Folders in a folder that are not hidden, sorted by name.

    Raises:
        DataError: the folder cannot be read.
    """
    return [Path(entry.path) for entry in visible_entries(folder) if _is_folder(entry)]


def walk_files(root: str | os.PathLike[str]) -> Iterator[str]:
    """Relative paths of all files below ``root``, images or not, in any order; see :func:`find_images`.

    Raises:
        DataError: a folder cannot be read.
    """
    folder = os.fspath(root)
    return _walk(folder, "", (os.path.realpath(folder),))


def _walk(folder: str, prefix: str, chain: tuple[str, ...]) -> Iterator[str]:
    """Files below ``folder`` as ``prefix`` + name.

    ``chain`` holds the real paths of the folders from the root down to this one, so that a link back up is noticed.
    """
    for entry in visible_entries(folder):
        if not _is_folder(entry):
            yield prefix + entry.name
            continue
        real = os.path.realpath(entry.path) if entry.is_symlink() else os.path.join(chain[-1], entry.name)
        if real not in chain:
            yield from _walk(entry.path, f"{prefix}{entry.name}/", (*chain, real))


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link that leads nowhere or to itself, which reading it will tell
        return False


def is_text_line(name: str) -> bool:
    """Whether clusters and feature files, which keep one name per line, can hold this name."""
    try:
        name.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return len(name.splitlines()) == 1
