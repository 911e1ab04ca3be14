"""Outputs are tried before anything is computed: hours of work must not end at a folder that may not be written to."""

from __future__ import annotations

import os
import tempfile
from contextlib import suppress
from pathlib import Path

from mmssl_dynamic.errors import OutputError

PathLike = str | os.PathLike[str]


def check_output_file(path: PathLike, option: str = "--out") -> None:
    """Refuse a file that cannot be written, without leaving anything behind.

    Args:
        path: The file; folders above it may be missing.
        option: What named it, for the message.

    Raises:
        OutputError: it is a folder, lies below a file, or may not be written.
    """
    if os.path.isdir(path):
        raise OutputError(f"{option} {path} is a folder; give the name of the file to write.")
    _try_to_write(Path(path), Path(path).absolute().parent, option)


def check_output_folder(path: PathLike, option: str = "--out") -> None:
    """Refuse a folder that no file can be written into, without making it.

    Args:
        path: The folder; it and folders above it may be missing.
        option: What named it, for the message.

    Raises:
        OutputError: it is a file, lies below one, or may not be written into.
    """
    _try_to_write(Path(path), Path(path).absolute(), option)


def _try_to_write(target: Path, folder: Path, option: str) -> None:
    place = next((above for above in (folder, *folder.parents) if os.path.lexists(above)), folder)
    if not place.is_dir():
        kind = "a link that leads nowhere" if place.is_symlink() else "a file"
        which = "it" if place == target.absolute() else place
        raise OutputError(f"{option} {target} cannot be written: {which} is {kind}, not a folder; give another place.")
    try:
        with suppress(FileNotFoundError):
            os.lstat(target)  # finds a name that is too long
        handle, name = tempfile.mkstemp(prefix=".write-test.", suffix=".partial", dir=place)
        os.close(handle)
        os.unlink(name)
    except OSError as error:
        raise OutputError(
            f"{option} {target} cannot be written ({error.strerror or error}); give another place, or change the "
            f"permissions of {place}."
        ) from error
