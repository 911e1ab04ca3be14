"""Channel selections: the one primitive of elastic layers.

A selection is a short list of ranges. SDR's sub-networks select two of them (the shared group and one individual
group), slimmable networks one prefix. Nothing outside this package slices a weight.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Protocol

from torch import Tensor, nn

from mmssl_dynamic.errors import ConfigError
from mmssl_dynamic.subnets import FULL

Range = tuple[int, int]


@dataclass(frozen=True)
class Selection:
    """A proper subset of ``total`` channels as sorted, disjoint, half-open ranges.

    Args:
        total: Number of channels to select from.
        ranges: The selected ranges; neighbours that touch are merged.

    Raises:
        ConfigError: ranges are empty, out of bounds, unsorted or overlapping.
    """

    total: int
    ranges: tuple[Range, ...]

    def __post_init__(self) -> None:
        merged: list[Range] = []
        end = 0
        for start, stop in self.ranges:
            if not end <= start < stop <= self.total:
                raise ConfigError(f"channel ranges {self.ranges} must be ascending and lie within 0..{self.total}.")
            if merged and merged[-1][1] == start:
                merged[-1] = (merged[-1][0], stop)
            else:
                merged.append((start, stop))
            end = stop
        if not merged:
            raise ConfigError("a channel selection must hold at least one channel.")
        object.__setattr__(self, "ranges", tuple(merged))

    @property
    def size(self) -> int:
        """Number of selected channels."""
        return sum(stop - start for start, stop in self.ranges)

    @property
    def complement(self) -> tuple[Range, ...]:
        """The ranges that are not selected."""
        edges = [0, *(edge for pair in self.ranges for edge in pair), self.total]
        return tuple((a, b) for a, b in zip(edges[::2], edges[1::2]) if a < b)

    def scaled(self, factor: int) -> Selection:
        """The selection of a tensor with ``factor`` channels for every one here (block outputs of a Bottleneck)."""
        return Selection(self.total * factor, tuple((a * factor, b * factor) for a, b in self.ranges))


class _Gathered(Protocol):
    def forget_gathered(self) -> None: ...


@dataclass
class ActiveSubnet:
    """Which sub-network is active now: shared by all :class:`Channels` of one super-network.

    Attributes:
        name: The active sub-network; ``'full'`` outside any scope.
        track_statistics: Whether the full network's BatchNorm layers update their running statistics.
        holders: Layers that hold gathered weights of this scope, to be forgotten when it ends.
    """

    name: str = FULL
    track_statistics: bool = True
    holders: list[_Gathered] = field(default_factory=list)


class Channels:
    """The channels of one activation: how many there are, and which of them take part now.

    Layers that produce an activation and layers that read it share one instance, so that choosing a sub-network means
    setting a few of these and not touching the layers.
    """

    def __init__(self, total: int, subnet: ActiveSubnet | None = None) -> None:
        self.total = total
        self.subnet = subnet or ActiveSubnet()
        self.active: Selection | None = None  # None: all of them

    @property
    def size(self) -> int:
        """Number of channels that take part now."""
        return self.total if self.active is None else self.active.size


@contextmanager
def select(
    subnet: ActiveSubnet,
    name: str,
    selections: Iterable[tuple[Channels, Selection | None]],
    track_statistics: bool = True,
) -> Iterator[None]:
    """Activate the sub-network ``name``; leaving the block restores whatever was active before.

    Weights gathered inside the block are kept for its length only, so two views cost one gather.

    Args:
        subnet: The state that all ``Channels`` of the super-network share.
        name: Name of the sub-network.
        selections: What each activation keeps; ``None`` keeps all channels.
        track_statistics: See :class:`ActiveSubnet`.
    """
    pairs = list(selections)
    before = [(channels, channels.active) for channels, _ in pairs]
    outer = (subnet.name, subnet.track_statistics, subnet.holders)
    try:
        subnet.name, subnet.track_statistics, subnet.holders = name, track_statistics, []
        for channels, selection in pairs:
            channels.active = selection
        yield
    finally:
        for layer in subnet.holders:
            layer.forget_gathered()
        subnet.name, subnet.track_statistics, subnet.holders = outer
        for channels, selection in before:
            channels.active = selection


Region = tuple["Selection | None", ...]


def active_regions(*modules: nn.Module) -> dict[Tensor, Region]:
    """The part of every elastic parameter that takes part now, one selection per dimension.

    Parameters that take part as a whole are left out.
    """
    regions: dict[Tensor, Region] = {}
    for root in modules:
        for module in root.modules():
            regions_of = getattr(module, "parameter_regions", None)
            if regions_of is not None:
                regions.update((p, r) for p, r in regions_of() if any(s is not None for s in r))
    return regions
