"""Sub-networks as values: their names, their order, and the spaces they form.

A sub-network is named by a string, everywhere: in meta data of samples, in files and on command lines.

* ``'full'`` is the whole super-network, W_0 of SDR.
* ``'0-3-1-2'`` is a *path* of SDR: one individual channel group per stage (SDR Sec. 4.2).
* ``'w0.75'`` is a *width* of a slimmable network, ``'w1.25-d3463'`` a width and a depth (DSPNet Sec. 4.1).
* ``'0-3-1-2@w0.5'`` is a path at a width: a network for a task and a budget.

G below is the number of individual groups of a stage, K the number of paths (and of clusters).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from mmssl_dynamic.errors import ConfigError
from mmssl_dynamic.subnets.names import (
    FULL,
    Path,
    depth_name,
    parse_path,
    parse_width,
    path_name,
    split_width,
    width_name,
)
from mmssl_dynamic.subnets.path_widths import PathWidthSpace, WidthsOfPath
from mmssl_dynamic.subnets.paths import PathSpace
from mmssl_dynamic.subnets.slimmable import Blocks, SlimmableSpace

__all__ = [
    "Blocks",
    "FULL",
    "Path",
    "PathSpace",
    "PathWidthSpace",
    "SlimmableSpace",
    "SubnetSpace",
    "WidthsOfPath",
    "depth_name",
    "parse_path",
    "parse_width",
    "path_name",
    "space_from_record",
    "split_width",
    "width_name",
]


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
