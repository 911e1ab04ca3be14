"""The widths and depths of a slimmable network (DSPNet)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from math import isfinite
from typing import Any

from mmssl_dynamic.errors import ConfigError, SubnetError
from mmssl_dynamic.subnets.names import FULL, depth_name, parse_width, width_name

Blocks = tuple[int, ...]


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
