"""Paths of several widths each: a network for a task and a budget."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

from mmssl_dynamic.errors import ConfigError, SubnetError
from mmssl_dynamic.subnets.names import AT, FULL, path_name, split_width, width_name
from mmssl_dynamic.subnets.paths import PathSpace
from mmssl_dynamic.subnets.slimmable import SlimmableSpace


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
        narrow = {f"{path}{AT}{width_name(w)}": (path, w) for w in self.widths[:-1] for path in paths}
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
        if mark in ("", f"{AT}{width_name(1)}"):
            if not self.num_paths and path == self._only:
                return FULL
            if path != FULL or not mark:
                return super().check(path)
        first, last = (self.paths[0], self.paths[-1]) if self.paths else (self._only, self._only)
        narrowest, *_ = widths = [width_name(width) for width in self.widths]
        raise SubnetError(
            f"unknown sub-network '{name}': there are the paths '{first}' to '{last}', each at the widths "
            f"{', '.join(widths)} ('{first}{AT}{narrowest}'), and 'full', which has one; choose one of these or use "
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
        return self.check(f"{path}{AT}{width}")

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
