"""Sub-networks as values: their names, their order, and the spaces they form.

A sub-network is named by a string, everywhere: in meta data of samples, in files and on command lines.

* ``'full'`` is the whole super-network, W_0 of SDR.
* ``'0-3-1-2'`` is a *path* of SDR: one individual channel group per stage (SDR Sec. 4.2).
* ``'w0.75'`` is a *width* of a slimmable network, ``'w1.25-d3463'`` a width and a depth (DSPNet Sec. 4.1).
* ``'0-3-1-2@w0.5'`` is a path at a width: a network for a task and a budget.

G below is the number of individual groups of a stage, K the number of paths (and of clusters).
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import product
from math import isfinite, prod
from typing import Any, Protocol

from mmssl_dynamic.errors import ConfigError, SubnetError

FULL = "full"


class SubnetSpace(Protocol):
    """The sub-networks that one super-network holds."""

    @property
    def names(self) -> tuple[str, ...]:
        """Every sub-network by its name."""
        ...

    @property
    def keys(self) -> tuple[str, ...]:
        """The keys of all of :attr:`names`, see :meth:`check`."""
        ...

    def check(self, name: str) -> str:
        """The key under which files and layers know a sub-network: its name, or ``'full'`` for the full network.

        Raises:
            SubnetError: the space does not hold it; the message says what it holds.
        """
        ...

    def canonical(self, name: str) -> str:
        """The one of its names under which files and configs know a sub-network.

        Raises:
            SubnetError: the space does not hold it.
        """
        ...

    def record(self) -> dict[str, Any]:
        """The space as plain data, for the headers of files."""
        ...


def space_from_record(record: Mapping[str, Any]) -> SubnetSpace:
    """The space that :meth:`SubnetSpace.record` wrote.

    Raises:
        ConfigError: it is no such record.
    """
    try:
        if record["kind"] == "path":
            return PathSpace(tuple(record["stage_groups"]))
        if record["kind"] == "path and width":
            return PathWidthSpace(tuple(record["stage_groups"]), tuple(record["widths"]))
        if record["kind"] == "slimmable":
            blocks = record.get("blocks")
            nested = None if blocks is None else tuple(map(tuple, blocks))
            return SlimmableSpace(tuple(record["widths"]), nested, bool(record.get("any_width", False)))
    except (KeyError, TypeError) as error:
        raise ConfigError(f"{record!r} does not describe a space of sub-networks.") from error
    raise ConfigError(f"unknown kind of sub-networks {record['kind']!r}; use a version that knows it.")


Path = tuple[int, ...]
_AT = "@"


def split_width(name: str) -> tuple[str, str]:
    """What names a path, or a part of one, and what names its width: ``'0-3@w0.5' -> ('0-3', '@w0.5')``.

    At its whole width a path has no such mark: ``'0-3' -> ('0-3', '')``.
    """
    path, at, width = name.partition(_AT)
    return path, at + width


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


@dataclass(frozen=True)
class PathSpace:
    """All paths through the individual groups of a super-network (SDR Sec. 4.2).

    Args:
        stage_groups: G of every stage, such as ``(4, 4, 4, 4)`` for 256 paths or ``(1, 1, 4, 4)`` for 16. A stage
            with one group is not split: every path has index 0 there.

    Raises:
        ConfigError: a stage has no group.
    """

    stage_groups: tuple[int, ...]

    def __post_init__(self) -> None:
        groups = tuple(self.stage_groups)
        if not groups or any(not isinstance(g, int) or g < 1 for g in groups):
            raise ConfigError(f"stage_groups={self.stage_groups} must hold one positive number of groups per stage.")
        object.__setattr__(self, "stage_groups", groups)

    @property
    def num_paths(self) -> int:
        """K; an unsplit network has none, only ``'full'``."""
        total = prod(self.stage_groups)
        return 0 if total == 1 else total

    @cached_property
    def paths(self) -> tuple[str, ...]:
        """Names of all paths in lexicographic order: the path of cluster ``i`` is ``paths[i]``."""
        if self.num_paths == 0:
            return ()
        return tuple(path_name(p) for p in product(*(range(g) for g in self.stage_groups)))

    @property
    def candidates(self) -> tuple[str, ...]:
        """Every sub-network but the full one: what routing chooses among."""
        return self.paths

    @property
    def names(self) -> tuple[str, ...]:
        """Every sub-network: :attr:`candidates` in their order, then ``'full'``."""
        return (*self.candidates, FULL)

    @property
    def keys(self) -> tuple[str, ...]:
        """The names, which are the keys."""
        return self.names

    def check(self, name: str) -> str:
        """Return ``name`` if the space holds it.

        Raises:
            SubnetError: it does not; the message says what it holds.
        """
        if name == FULL:
            return name
        path = parse_path(name)
        fits = len(path) == len(self.stage_groups) and all(i < g for i, g in zip(path, self.stage_groups))
        if not fits or self.num_paths == 0:
            known = f"'{self.paths[0]}' to '{self.paths[-1]}' and 'full'" if self.paths else "'full' only"
            raise SubnetError(
                f"unknown sub-network '{name}': with stage_groups={self.stage_groups} there are {known}; "
                "choose one of these or use the config the checkpoint was trained with."
            )
        return name

    def canonical(self, name: str) -> str:
        """The name that :meth:`check` returns: there are no others in files."""
        return self.check(name)

    def record(self) -> dict[str, Any]:
        """The space as plain data."""
        return {"kind": "path", "stage_groups": list(self.stage_groups)}

    @property
    def num_phases(self) -> int:
        """Phases of progressive training: one for W_0 alone and one for every split stage."""
        return 1 + sum(g > 1 for g in self.stage_groups)

    def phase(self, index: int) -> tuple[str, ...]:
        """The network space N of a phase (SDR Sec. 4.2, Algorithm 1): ``'full'`` first, then paths in order.

        Phase 0 holds W_0 alone. Phase p adds the paths that differ only in the last p split stages, the indices
        of all earlier stages fixed at 0: 4, 16, 64, 256 paths for ``(4, 4, 4, 4)``.
        """
        if not 0 <= index < self.num_phases:
            raise ConfigError(
                f"phase {index} does not exist: stage_groups={self.stage_groups} has {self.num_phases} phases."
            )
        split = [s for s, g in enumerate(self.stage_groups) if g > 1]
        open_stages = set(split[len(split) - index :])
        choices = [range(g) if s in open_stages else (0,) for s, g in enumerate(self.stage_groups)]
        return (FULL, *(path_name(p) for p in product(*choices))) if index else (FULL,)


Blocks = tuple[int, ...]


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


@dataclass(frozen=True)
class SlimmableSpace:
    """The desired networks of a slimmable super-network: widths, or widths x depths (DSPNet Sec. 4.1).

    Args:
        widths: Multipliers of the channels, ascending.
        blocks: Blocks per stage, from shallow to deep, none of a list smaller than in the one before; ``None`` for a
            network of fixed depth.
        any_width: Whether every width between the smallest and the largest is one, listed or not (US3L): ``'w0.613'``.

    Raises:
        ConfigError: widths that are not ascending, not distinct or not positive, or lists of blocks that do not nest.
    """

    widths: tuple[float, ...]
    blocks: tuple[Blocks, ...] | None = None
    any_width: bool = False

    def __post_init__(self) -> None:
        widths = tuple(self.widths)
        numbers = all(isinstance(w, int | float) and not isinstance(w, bool) and isfinite(w) and w > 0 for w in widths)
        if not widths or not numbers or list(widths) != sorted(set(widths)):
            raise ConfigError(
                f"widths={widths} must be positive, ascending and without duplicates, such as (0.5, 0.75, 1.0)."
            )
        object.__setattr__(self, "widths", tuple(float(w) for w in widths))
        if self.blocks is not None:
            object.__setattr__(self, "blocks", _checked_blocks(self.blocks))
        if len(self.names) != len(self.widths) * len(self.blocks or (None,)):
            raise ConfigError(f"widths={widths} differ by too little to have names of their own; keep them apart.")

    @cached_property
    def _members(self) -> dict[str, tuple[float, Blocks | None]]:
        if self.blocks is None:
            return {width_name(w): (w, None) for w in self.widths}
        return {f"{width_name(w)}-{depth_name(b)}": (w, b) for w in self.widths for b in self.blocks}

    @property
    def names(self) -> tuple[str, ...]:
        """All desired networks, narrow before wide and shallow before deep; the last one is the full network."""
        return tuple(self._members)

    @property
    def keys(self) -> tuple[str, ...]:
        """The names, with ``'full'`` in place of the last one."""
        return (*self.names[:-1], FULL)

    @property
    def smallest(self) -> str:
        """The narrowest and shallowest network."""
        return self.names[0]

    @property
    def largest(self) -> str:
        """The widest and deepest network, which is the full one."""
        return self.names[-1]

    def check(self, name: str) -> str:
        """The key of a network: its name, and ``'full'`` for the largest one under either name.

        Raises:
            SubnetError: the space does not hold it.
        """
        if name in (FULL, self.largest):
            return FULL
        if name in self._members:
            return name
        unlisted = self._unlisted(name) if self.any_width else None
        if unlisted is None:
            between = f", any width between {self.widths[0]} and {self.widths[-1]}" if self.any_width else ""
            raise SubnetError(
                f"unknown sub-network '{name}': this super-network was built for {', '.join(self.names)}{between} and "
                "'full'; choose one of these or use the config the checkpoint was trained with."
            )
        same = self.name_of(*unlisted)
        return FULL if same == self.largest else same

    def name_of(self, width: float, blocks: Blocks | None = None) -> str:
        """``(0.613, (2, 2, 2, 2)) -> 'w0.613-d2222'``."""
        return width_name(width) if blocks is None else f"{width_name(width)}-{depth_name(blocks)}"

    def _unlisted(self, name: str) -> tuple[float, Blocks | None] | None:
        """Width and blocks of a name that is on no list; ``None`` if it is out of range or no such name."""
        width, _, depth = name.partition("-")
        known = {"": None} if self.blocks is None else {depth_name(b): b for b in self.blocks}
        try:
            value = parse_width(width)
        except SubnetError:
            return None
        inside = self.widths[0] <= value <= self.widths[-1]
        return (value, known[depth]) if inside and depth in known else None

    def canonical(self, name: str) -> str:
        """The name among :attr:`names`: that of the largest network for ``'full'``, too.

        Raises:
            SubnetError: the space does not hold it.
        """
        key = self.check(name)
        return self.largest if key == FULL else key

    def member(self, name: str) -> tuple[float, Blocks | None]:
        """Width and blocks per stage of a network.

        Raises:
            SubnetError: the space does not hold it.
        """
        name = self.canonical(name)
        found = self._members.get(name) or self._unlisted(name)
        assert found is not None  # that canonical refused
        return found

    def record(self) -> dict[str, Any]:
        """The space as plain data."""
        blocks = None if self.blocks is None else [list(b) for b in self.blocks]
        open_range = {"any_width": True} if self.any_width else {}
        return {"kind": "slimmable", "widths": list(self.widths), "blocks": blocks, **open_range}


def _checked_blocks(lists: Sequence[Sequence[int]]) -> tuple[Blocks, ...]:
    checked = tuple(tuple(blocks) for blocks in lists)
    whole = all(type(count) is int and count > 0 for blocks in checked for count in blocks)
    if not checked or not checked[0] or len({len(blocks) for blocks in checked}) != 1 or not whole:
        raise ConfigError(
            f"blocks={lists} must be lists of equal length with positive numbers, such as [[2, 2, 2, 2], [3, 4, 6, 3]]."
        )
    for small, large in zip(checked, checked[1:]):
        if small == large or any(a > b for a, b in zip(small, large)):
            raise ConfigError(
                f"blocks={[list(b) for b in checked]} must go from shallow to deep, every stage at least as deep as "
                f"in the list before, which {list(large)} after {list(small)} is not."
            )
    return checked


@dataclass(frozen=True)
class PathWidthSpace(PathSpace):
    """Paths of several widths each: a network for every task and budget, in one super-network.

    ``'0-3-1-2@w0.5'`` is the path ``'0-3-1-2'`` at half of its width. At its whole width a path keeps the name that it
    has in SDR; ``'0-3-1-2@w1.0'`` is understood as well. The full network has one width (our reading): it is what the
    others are distilled from.

    Where no stage is split there is one path, which at its whole width is ``'full'``, and ``'0-0-0-0@w0.5'`` below it.

    Args:
        stage_groups: As of :class:`PathSpace`.
        widths: Multipliers of a path's channels, ascending; the last one is 1.

    Raises:
        ConfigError: as of :class:`PathSpace`, or widths that are not ascending, or do not end with 1.
    """

    widths: tuple[float, ...] = (1.0,)

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "widths", SlimmableSpace(tuple(self.widths)).widths)
        if self.widths[-1] != 1:
            raise ConfigError(
                f"widths={self.widths} of paths must end with 1.0, the whole path; stage_channels makes paths wider."
            )

    @property
    def _only(self) -> str:
        """The name that the only path would have."""
        return path_name([0] * len(self.stage_groups))

    @cached_property
    def _members(self) -> dict[str, tuple[str, float]]:
        paths = self.paths or (self._only,)
        narrow = {f"{path}{_AT}{width_name(w)}": (path, w) for w in self.widths[:-1] for path in paths}
        return {**narrow, **{path: (path, 1.0) for path in self.paths}}

    @property
    def candidates(self) -> tuple[str, ...]:
        """Every sub-network but the full one, narrow ones first, and those of a width in the order of their paths."""
        return tuple(self._members)

    def check(self, name: str) -> str:
        """The key of a network: its name, without the mark of the whole width.

        Raises:
            SubnetError: the space does not hold it; the message says what it holds.
        """
        if name in self._members:
            return name
        path, mark = split_width(name) if isinstance(name, str) else (name, "")
        if mark in ("", f"{_AT}{width_name(1)}"):
            if not self.num_paths and path == self._only:
                return FULL
            if path != FULL or not mark:
                return super().check(path)
        first, last = (self.paths[0], self.paths[-1]) if self.paths else (self._only, self._only)
        narrowest, *_ = widths = [width_name(width) for width in self.widths]
        raise SubnetError(
            f"unknown sub-network '{name}': there are the paths '{first}' to '{last}', each at the widths "
            f"{', '.join(widths)} ('{first}{_AT}{narrowest}'), and 'full', which has one; choose one of these or use "
            "the config the checkpoint was trained with."
        )

    def member(self, name: str) -> tuple[str, float]:
        """Path (or ``'full'``) and width of a network.

        Raises:
            SubnetError: the space does not hold it.
        """
        key = self.check(name)
        return (FULL, 1.0) if key == FULL else self._members[key]

    def widths_of(self, name: str) -> tuple[str, ...]:
        """The networks of a path, from the narrowest to the path itself; of the full network, itself.

        Where there is one path, which is the full network, its narrower networks are the full network's.

        Raises:
            SubnetError: the space does not hold it.
        """
        return self.of_path(name).names

    def of_path(self, name: str) -> WidthsOfPath:
        """The same as a space of their own, for what draws among widths.

        Raises:
            SubnetError: the space does not hold it.
        """
        path, _ = self.member(name)
        if path == FULL and self.num_paths:
            return WidthsOfPath((FULL,), (1.0,))
        return WidthsOfPath(tuple(self.at_width(path, width_name(width)) for width in self.widths), self.widths)

    def at_width(self, path: str, width: str) -> str:
        """The network of a path at a width: ``('0-3-1-2', 'w0.5') -> '0-3-1-2@w0.5'``; of one path, also of ``'full'``.

        Raises:
            SubnetError: the space does not hold it.
        """
        if path == FULL and not self.num_paths:
            path = self._only
        return self.check(f"{path}{_AT}{width}")

    def record(self) -> dict[str, Any]:
        """The space as plain data."""
        return {"kind": "path and width", "stage_groups": list(self.stage_groups), "widths": list(self.widths)}


@dataclass(frozen=True)
class WidthsOfPath:
    """The networks of one path, as :class:`SlimmableSpace` tells of its own.

    Attributes:
        names: From the narrowest to the path itself.
        widths: Theirs.
    """

    names: tuple[str, ...]
    widths: tuple[float, ...]

    @property
    def largest(self) -> str:
        """The path itself."""
        return self.names[-1]

    def canonical(self, name: str) -> str:
        """The name itself."""
        return name

    def member(self, name: str) -> tuple[float, None]:
        """Width of a network; all are of one depth."""
        return self.widths[self.names.index(name)], None
