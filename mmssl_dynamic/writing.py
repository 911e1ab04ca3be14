"""Writing files so that whatever has its final name is whole: under a temporary name, flushed to disk, then renamed.

A run that is killed leaves a temporary file at most, which the next run that writes into the folder removes. A disk
that is full is told in one sentence, and leaves what was there before.
"""

from __future__ import annotations

import errno
import fcntl
import io
import json
import math
import os
import re
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import torch
from safetensors.torch import save as to_safetensors
from torch import Tensor

from mmssl_dynamic.errors import OutputError

PathLike = str | os.PathLike[str]

# No room on the disk, none left of a quota, larger than a file may be.
_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
# What libraries say that do not pass the number on: safetensors, NumPy, torch.
_FULL_TEXT = re.compile(
    rf"os error ({'|'.join(map(str, _FULL))})\b|\d+ requested and \d+ written|"
    r"PytorchStreamWriter failed writing|unexpected pos \d"
)
_TEMPORARY = re.compile(r"\..+\.[a-z0-9_]{8}\.partial(\.\w+)?")
# Folders that this process has looked through for what a killed run left.
_tidied: set[Path] = set()


@contextmanager
def atomic_path(path: PathLike, size: int | None = None) -> Iterator[Path]:
    """Yield a temporary path beside ``path``; flush and rename it on success, delete it on any error.

    The temporary name keeps the suffix, since many writers choose their format by it. They must write into the file
    that is there, and not put another one in its place: a lock on it tells other processes that it is not abandoned.

    Args:
        path: The file to write.
        size: Bytes it will have, if that is known, for messages.

    Raises:
        OutputError: there is no room for the file, or it cannot be made.
    """
    target = Path(path)
    with making(target):
        target.parent.mkdir(parents=True, exist_ok=True)
        remove_abandoned(target.parent)
        handle, temporary = _locked_file(target)
    try:
        with _telling_of_room(target, temporary, size):
            yield temporary
            flush(temporary)
        with making(target):
            umask = os.umask(0)
            os.umask(umask)
            temporary.chmod(0o666 & ~umask)  # mkstemp makes files that only their owner can read
            temporary.replace(target)
            flush(target.parent)
    finally:
        temporary.unlink(missing_ok=True)
        os.close(handle)  # and with it the lock


@contextmanager
def atomic_folder(path: PathLike) -> Iterator[Path]:
    """Yield a temporary folder beside ``path``; on success it takes the place of ``path``, with all that it holds.

    Raises:
        OutputError: there is no room for the folder, or it cannot be made.
    """
    target = Path(path)
    with making(target):
        target.parent.mkdir(parents=True, exist_ok=True)
        remove_abandoned(target.parent)
        temporary = Path(tempfile.mkdtemp(prefix=f".{target.name}.", suffix=".partial", dir=target.parent))
        handle = os.open(temporary, os.O_RDONLY)
    try:
        _lock(handle)
        new = temporary / "new"
        with _telling_of_room(target, temporary, None):
            new.mkdir()
            yield new
            for folder, _, files in os.walk(new):
                for file in files:
                    flush(Path(folder, file))
                flush(Path(folder))
        with making(target):
            if target.exists():
                target.rename(temporary / "old")  # to be deleted along with the temporary folder
            new.rename(target)
            flush(target.parent)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
        os.close(handle)


def write_bytes(path: PathLike, data: bytes | memoryview) -> None:
    """Write a file, atomically.

    Raises:
        OutputError: there is no room for it, or it cannot be made.
    """
    with atomic_path(path, len(data)) as temporary:
        temporary.write_bytes(data)


def write_text(path: PathLike, text: str) -> None:
    """Write a text file in UTF-8, atomically; raises as :func:`write_bytes`."""
    write_bytes(path, text.encode("utf-8"))


def write_json(path: PathLike, data: Any) -> None:
    """Write ``data`` as indented JSON, atomically; raises as :func:`write_bytes`."""
    write_text(path, to_json(data, indent=2) + "\n")


def to_json(data: Any, indent: int | None = None) -> str:
    """``data`` as JSON, which has no word for NaN and infinity: they become ``null``."""
    return json.dumps(_finite(data), indent=indent, allow_nan=False)


def write_stream(path: PathLike, save: Callable[[BinaryIO], object]) -> None:
    """Write what a function writes into a binary stream, atomically; raises as :func:`write_bytes`."""
    stream = io.BytesIO()
    save(stream)
    write_bytes(path, stream.getbuffer())


def save_torch(data: Any, path: PathLike) -> None:
    """What ``torch.save`` does, atomically; raises as :func:`write_bytes`."""
    write_stream(path, lambda stream: torch.save(data, stream))


def save_safetensors(tensors: Mapping[str, Tensor], path: PathLike, metadata: Mapping[str, str] | None = None) -> None:
    """Write tensors as ``.safetensors``, atomically; raises as :func:`write_bytes`."""
    write_bytes(path, to_safetensors(dict(tensors), None if metadata is None else dict(metadata)))


def remove_abandoned(folder: PathLike) -> None:
    """Remove the temporary files and folders that killed runs have left in a folder; once in a process.

    A process that is still writing holds a lock on its own.
    """
    place = Path(folder).absolute()
    if place in _tidied:
        return
    _tidied.add(place)
    entries: list[os.DirEntry[str]] = []
    with suppress(OSError):  # a folder that may be written to and not listed
        entries = list(os.scandir(place))
    for entry in entries:
        if _TEMPORARY.fullmatch(entry.name):
            with suppress(OSError):  # it is in use, or another process has been faster
                handle = os.open(entry.path, os.O_RDONLY)
                try:
                    fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    if entry.is_dir(follow_symlinks=False):
                        shutil.rmtree(entry.path, ignore_errors=True)
                    else:
                        os.unlink(entry.path)
                finally:
                    os.close(handle)


def _locked_file(target: Path) -> tuple[int, Path]:
    """A new temporary file for ``target``, locked: its descriptor and its path."""
    while True:
        handle, name = tempfile.mkstemp(prefix=f".{target.name}.", suffix=f".partial{target.suffix}", dir=target.parent)
        _lock(handle)
        if os.fstat(handle).st_nlink:
            return handle, Path(name)
        os.close(handle)  # another process took it for abandoned before it was locked


def _lock(handle: int) -> None:
    with suppress(OSError):  # a file system without locks, on which nothing is ever taken for abandoned
        fcntl.flock(handle, fcntl.LOCK_EX)


def flush(path: Path) -> None:
    """Bring a file, or the names in a folder, to the disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP):  # a file system that has no such thing
            raise
    finally:
        os.close(handle)


@contextmanager
def making(target: Path) -> Iterator[None]:
    """One sentence for a file or folder that cannot be made.

    Raises:
        OutputError: there is no room for it, or the system refuses it.
    """
    try:
        yield
    except OSError as error:
        if error.errno in _FULL:
            raise no_room(target, None, error) from error
        raise OutputError(
            f"{target} cannot be written ({error.strerror or error}); give another place, or correct this one."
        ) from error


@contextmanager
def _telling_of_room(target: Path, temporary: Path, size: int | None) -> Iterator[None]:
    """One sentence for a disk that runs full while ``temporary`` is written, from whatever library it comes."""
    try:
        yield
    except Exception as error:
        if is_full(error):
            raise no_room(target, size, error, temporary) from error
        raise


def is_full(error: BaseException | None) -> bool:
    """Whether an error, or one that it came of, says that there is no room for a file."""
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        if (isinstance(error, OSError) and error.errno in _FULL) or _FULL_TEXT.search(str(error)):
            return True
        error = error.__cause__ or error.__context__
    return False


def no_room(target: Path, size: int | None, error: BaseException, temporary: Path | None = None) -> OutputError:
    """The sentence for a disk that is full.

    Args:
        target: The file or folder that was to be written.
        size: Bytes it takes, where that is known.
        error: What :func:`is_full` found.
        temporary: What there is of it so far, and is going to be deleted.
    """
    written = 0 if temporary is None else _allocated(temporary)
    wanted = f"more than {human_size(written)}" if size is None else human_size(size)
    if isinstance(error, OSError) and error.errno == errno.EFBIG:
        return OutputError(
            f"no room for {target}: it takes {wanted}, more than a file may have here; raise the limit (ulimit -f) or "
            "choose another disk."
        )
    place = next(folder for folder in target.absolute().parents if folder.is_dir())
    left = shutil.disk_usage(place).free + written
    quota = " and a quota may allow less" if isinstance(error, OSError) and error.errno == errno.EDQUOT else ""
    return OutputError(
        f"no room for {target}: it takes {wanted}, and {human_size(left)} are left on its disk{quota}; free space or "
        "choose a place on another disk."
    )


def _allocated(path: Path) -> int:
    """Bytes of disk that a file, or all files of a folder, take."""
    files = [path, *path.rglob("*")] if path.is_dir() else [path]
    return sum(file.stat().st_blocks * 512 for file in files if file.exists())


def human_size(size: int) -> str:
    """``1536 -> '1.5 KiB'``."""
    power = min(int(math.log2(max(size, 1)) // 10), 4)
    return f"{size / 1024**power:.1f} {('B', 'KiB', 'MiB', 'GiB', 'TiB')[power]}" if power else f"{size} B"


def _finite(data: Any) -> Any:
    """Plain data with ``None`` for what JSON has no word for, and Python's numbers for NumPy's."""
    if isinstance(data, np.generic):
        data = data.item()
    if isinstance(data, float):
        return data if math.isfinite(data) else None
    if isinstance(data, Mapping):
        return {key: _finite(value) for key, value in data.items()}
    if isinstance(data, list | tuple):
        return [_finite(value) for value in data]
    return data
