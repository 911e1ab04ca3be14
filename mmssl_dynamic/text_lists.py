"""Lists of names in text files, as people have them: from Linux and Windows, from editors, spreadsheets and shells."""

from __future__ import annotations

import codecs
import os
from collections.abc import Iterator, Mapping

from mmssl_dynamic.errors import ArtifactError, UserError
from mmssl_dynamic.file_checks import existing_file

_MOST_BYTES = 2**30
# What marks the encoding at the beginning of a file, and its name; PowerShell's > writes UTF-16.
_MARKS = ((codecs.BOM_UTF8, "utf-8-sig"), (codecs.BOM_UTF16_LE, "utf-16"), (codecs.BOM_UTF16_BE, "utf-16"))


def read_lines(path: str | os.PathLike[str], what: str, error: type[UserError] = ArtifactError) -> list[str]:
    """Lines of a text file without the space around them; empty ones are left out.

    UTF-8 with or without a byte order mark and UTF-16 are understood, with any ends of lines.

    Args:
        path: The file.
        what: Its role in messages, such as 'label list'.
        error: Class of the error.

    Raises:
        UserError: of the class ``error``: the file is missing, empty or no text.
    """
    file = existing_file(path, what, error=error)
    if file.stat().st_size > _MOST_BYTES:
        raise error(f"{what} {file} has more than {_MOST_BYTES / 2**30:.0f} GiB; give a text file of names.")
    data = file.read_bytes()
    encoding = next((name for mark, name in _MARKS if data.startswith(mark)), "utf-8")
    if encoding == "utf-8" and b"\0" in data[:2]:  # UTF-16 without its mark: every second byte of Latin letters is 0
        encoding = "utf-16-be" if data[:1] == b"\0" else "utf-16-le"
    try:
        text = data.decode(encoding)
    except UnicodeDecodeError as problem:
        line = data[: problem.start].count(b"\n") + 1
        raise error(
            f"{what} {file} is no text in UTF-8 (line {line} holds the byte {data[problem.start]:#04x}); save it as "
            "UTF-8."
        ) from problem
    if "\0" in text:
        raise error(f"{what} {file} is no text; give a text file of names.")
    lines = [line for line in map(str.strip, text.splitlines()) if line]
    if not lines:
        raise error(f"{what} {file} is empty; give one name per line.")
    return lines


def find_name(line: str, known: Mapping[str, object]) -> str | None:
    """The name that a line means, among those that are known; ``None`` if there is none.

    Understood are backslashes, ``./`` in front, quotes, full paths that end in a name, and a column behind the name
    (a label, separated by a semicolon, comma, tab or space).

    Args:
        line: Of :func:`read_lines`.
        known: Names with forward slashes.
    """
    for text in _readings(line):
        if text in known:
            return text
        path = text.replace("\\", "/")
        while path:
            if path in known:
                return path
            _, slash, path = path.partition("/")
            if not slash:
                break
    return None


def find_names(line: str, known: Mapping[str, object]) -> list[str]:
    """The names that a line means: one, see :func:`find_name`, or several with semicolons between; none if unknown."""
    parts = [find_name(part.strip(), known) for part in line.split(";") if part.strip()]
    several = [name for name in parts if name is not None]
    if len(several) == len(parts):
        return several
    name = find_name(line, known)
    return [] if name is None else [name]


def _readings(line: str) -> Iterator[str]:
    """The line itself, and what is left of it without a further column and quotes; names may hold any of these."""
    columns = [line]
    for mark in (";", "\t", ","):
        columns += [line.rsplit(mark, 1)[0], line.split(mark, 1)[0]] if mark in line else []
    columns += [line.rsplit(None, 1)[0]] if len(line.split()) > 1 else []
    for column in columns:
        yield column
        bare = column.strip().strip("\"'")
        if bare != column:
            yield bare
