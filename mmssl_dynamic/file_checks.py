"""What is checked in a file before its contents are allocated or parsed.

A few bytes can claim terabytes: a zip entry that unpacks to a thousand times its size, a header with a shape that no
machine holds. What the file system and the directory of an archive say is compared first.
"""

from __future__ import annotations

import os
import pickletools
import re
import stat
import zipfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import IO

from mmssl_dynamic.errors import ArtifactError, UserError

#: What compressed entries may unpack to, in bytes, however small the file.
UNPACKED_FREELY = 64 * 2**20
#: Beyond it: how many times the file's size. Names and cluster numbers pack to a tenth; zeros to a thousandth.
MOST_UNPACKED = 50

# Plain data: what torch rebuilds tensors with, and containers.
_PLAIN = re.compile(r"torch[\w.]*|collections\.OrderedDict|builtins\.(dict|list|tuple|set|int|float|str|bytearray)")


def existing_file(
    path: str | os.PathLike[str],
    what: str,
    remedy: str = "check the path",
    error: type[UserError] = ArtifactError,
) -> Path:
    """The path of a regular file that may be read.

    Devices and pipes are refused, which have no size and no end.

    Args:
        path: The file.
        what: Its role in messages, such as 'clusters file'.
        remedy: What to do where it is missing.
        error: Class of the error.

    Raises:
        UserError: of the class ``error``: it is missing, a folder, a device, or may not be read.
    """
    file = Path(path)
    try:
        mode = file.stat().st_mode
    except (FileNotFoundError, NotADirectoryError) as problem:
        raise error(f"{what} {file} does not exist; {remedy}.") from problem
    except (OSError, ValueError) as problem:  # too long a name, a folder without permission, a loop of links
        reason = getattr(problem, "strerror", None) or problem
        raise error(f"{what} {file} cannot be opened ({reason}); {remedy}.") from problem
    if stat.S_ISDIR(mode):
        raise error(f"{what} {file} is a folder; give the file itself.")
    if not stat.S_ISREG(mode):
        raise error(f"{what} {file} is a device or a pipe; give a file.")
    if not os.access(file, os.R_OK):
        raise error(f"{what} {file} may not be read; change its permissions.")
    return file


def check_archive(archive: zipfile.ZipFile, packed: bool) -> None:
    """Refuse a zip archive that would unpack to far more than it is.

    Args:
        archive: Opened for reading; only its directory is looked at.
        packed: Whether entries may be compressed. Those of PyTorch's files never are.

    Raises:
        ValueError: an entry is encrypted or compressed where it must not be, the entries claim to be larger than the
            file, or unpack to more than :data:`MOST_UNPACKED` times its size.
    """
    entries = archive.infolist()
    size = os.fstat(_stream(archive).fileno()).st_size
    if sum(entry.compress_size for entry in entries) > size:
        raise ValueError("its entries claim to be larger than the file")
    for entry in entries:
        stored = entry.compress_type == zipfile.ZIP_STORED
        if entry.flag_bits & 1:
            raise ValueError(f"entry {entry.filename!r} is encrypted")
        if not packed and (not stored or entry.file_size != entry.compress_size):
            raise ValueError(f"entry {entry.filename!r} is compressed, which PyTorch never does")
    unpacked = sum(entry.file_size for entry in entries)
    if unpacked > max(UNPACKED_FREELY, MOST_UNPACKED * size):
        raise ValueError(f"its {size:,} bytes unpack to {unpacked:,}, more than {MOST_UNPACKED} times as many")


def _stream(archive: zipfile.ZipFile) -> IO[bytes]:
    assert archive.fp is not None
    return archive.fp


def check_torch_archive(path: Path) -> None:
    """Refuse a PyTorch file in zip form that is more than it seems; other forms are left to what reads them.

    Raises:
        ValueError: see :func:`check_archive`.
        zipfile.BadZipFile: its directory is damaged.
    """
    if not is_torch_archive(path):
        return
    with zipfile.ZipFile(path) as archive:
        check_archive(archive, packed=False)


def is_torch_archive(path: Path) -> bool:
    """Whether torch reads a file as a zip archive, and not in the form that it wrote before 1.6."""
    with path.open("rb") as file:
        return file.read(4) == b"PK\x03\x04"


def foreign_object(path: Path) -> str | None:
    """The first object other than tensors and containers that a pickle names, such as ``'posix.system'``.

    Nothing is unpickled: the names are read off the instructions.

    Args:
        path: A pickle, or a PyTorch file in zip or older form, which holds some.

    Returns:
        Module and name; ``None`` if there is none, or the file is damaged before it.
    """
    try:
        if zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as archive:
                for entry in archive.infolist():
                    if entry.filename.endswith(".pkl"):
                        with archive.open(entry) as stream:
                            return _first_foreign(_names_in(stream))
            return None
        with path.open("rb") as stream:
            for _ in range(8):  # older files of PyTorch are a handful of pickles, one behind the other
                found = _first_foreign(_names_in(stream))
                if found is not None:
                    return found
    except Exception:  # damaged instructions make pickletools raise nearly anything, and there is no name to tell then
        return None
    return None


def _first_foreign(names: Iterable[str]) -> str | None:
    return next((name for name in names if not _PLAIN.fullmatch(name)), None)


def _names_in(stream: IO[bytes]) -> Iterator[str]:
    """What one pickle imports, in order."""
    texts: list[str] = []  # pushed so far; STACK_GLOBAL takes the last two
    memo: dict[int, str | None] = {}
    pushed: str | None = None  # by the instruction before, if it was a text
    for opcode, argument, _ in pickletools.genops(stream):
        if opcode.name in ("GLOBAL", "INST"):
            yield str(argument).replace(" ", ".")
        elif opcode.name == "STACK_GLOBAL" and len(texts) > 1:
            yield ".".join(texts[-2:])
        elif opcode.name == "MEMOIZE":
            memo[len(memo)] = pushed
        elif opcode.name in ("BINPUT", "LONG_BINPUT", "PUT"):
            memo[int(str(argument))] = pushed
        is_text = "UNICODE" in opcode.name
        pushed = str(argument) if is_text else None
        if opcode.name in ("BINGET", "LONG_BINGET", "GET"):
            pushed = memo.get(int(str(argument)))
        if pushed is not None:
            texts.append(pushed)
