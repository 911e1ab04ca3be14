"""Outputs are tried before anything is computed: hours of work must not end at a folder that may not be written to.

What is a folder for one command and a file for another is refused if it is of the wrong kind.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from mmssl_dynamic.errors import ConfigError, OutputError

PathLike = str | os.PathLike[str]


# What files of results end in; a folder of such a name is a file that was meant for another command.
_ENDINGS = {
    *(".csv", ".html", ".json", ".npy", ".npz", ".onnx", ".pkl", ".png", ".pth", ".safetensors", ".svg", ".tflite"),
    *(".txt", ".xml"),
}


def beside(out: PathLike | None, checkpoint: PathLike, name: str) -> Path:
    """A folder for results: the one that was given, else ``name`` in the folder of the checkpoint."""
    return Path(checkpoint).parent / name if out is None else Path(out)


def check_output_file(path: PathLike, option: str = "--out", endings: Sequence[str] = ()) -> None:
    """Refuse a file that cannot be written, without leaving anything behind.

    Args:
        path: The file; folders above it may be missing.
        option: What named it, for the message.
        endings: What its name may end in; anything when left out.

    Raises:
        OutputError: it is a folder, lies below a file, or may not be written.
        ConfigError: it ends in something else.
    """
    if os.path.isdir(path) or str(path).endswith(("/", os.sep)):
        raise OutputError(f"{option} {path} is a folder; give the name of the file to write.")
    if endings and Path(path).suffix not in endings:
        raise ConfigError(f"{option} {path} must end in {' or '.join(endings)}.")
    _try_to_write(Path(path), Path(path).absolute().parent, option)


def check_output_folder(path: PathLike, option: str = "--out") -> None:
    """Refuse a folder that no file can be written into, without making it.

    Args:
        path: The folder; it and folders above it may be missing.
        option: What named it, for the message.

    Raises:
        OutputError: it is a file, or has the name of one, lies below one, or may not be written into.
    """
    folder = Path(path)
    if folder.suffix.lower() in _ENDINGS and not folder.is_dir():
        raise OutputError(
            f"{option} {folder} has the name of a file; give the name of a folder, such as {folder.with_suffix('')}."
        )
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
