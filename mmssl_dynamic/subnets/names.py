"""How sub-networks are called: paths, widths, depths, and paths at a width."""

from __future__ import annotations

import re
from collections.abc import Sequence

from mmssl_dynamic.errors import SubnetError

FULL = "full"
AT = "@"

Path = tuple[int, ...]


def path_name(path: Sequence[int]) -> str:
    """``(0, 3, 1, 2) -> '0-3-1-2'``."""
    return "-".join(str(index) for index in path)


def parse_path(name: str) -> Path:
    """``'0-3-1-2' -> (0, 3, 1, 2)``.

    Raises:
        SubnetError: ``name`` does not have this form.
    """
    if not isinstance(name, str) or not re.fullmatch(r"\d+(-\d+)*", name):
        raise SubnetError(f"'{name}' is not the name of a path; use one group index per stage, such as '0-3-1-2'.")
    return tuple(int(index) for index in name.split("-"))


def split_width(name: str) -> tuple[str, str]:
    """What names a path, or a part of one, and what names its width: ``'0-3@w0.5' -> ('0-3', '@w0.5')``.

    At its whole width a path has no such mark: ``'0-3' -> ('0-3', '')``.
    """
    path, at, width = name.partition(AT)
    return path, at + width


def width_name(width: float) -> str:
    """``0.75 -> 'w0.75'``, ``1 -> 'w1.0'``."""
    return f"w{float(width):.6g}" if float(width) % 1 else f"w{float(width):.1f}"


def parse_width(name: str) -> float:
    """``'w0.75' -> 0.75``.

    Raises:
        SubnetError: ``name`` does not have this form.
    """
    if not isinstance(name, str) or not re.fullmatch(r"w\d+(\.\d+)?", name):
        raise SubnetError(f"'{name}' is not the name of a width; use one such as 'w0.75'.")
    return float(name[1:])


def depth_name(blocks: Sequence[int]) -> str:
    """``(3, 4, 6, 3) -> 'd3463'``; numbers of two digits are set apart, ``'d3-4-23-3'``."""
    return "d" + ("" if max(blocks) < 10 else "-").join(str(count) for count in blocks)
