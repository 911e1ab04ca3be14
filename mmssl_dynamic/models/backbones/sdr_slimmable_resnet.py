"""SDRSlimmableResNet: SDR's paths, each at several widths. A path is chosen by the task, its width by the budget.

A narrower network of a path takes a prefix of the shared channels and a prefix of the path's individual group, in
every stage, and a prefix of the stem. At width 1.0 it is SDR's path; with one path, DSPNet's slimmable ResNet.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

from mmssl_dynamic.errors import ConfigError
from mmssl_dynamic.models.backbones.sdr_resnet import SDRResNet
from mmssl_dynamic.models.backbones.slimmable import make_divisible, prefix, remember_networks
from mmssl_dynamic.models.backbones.static_resnet import StaticResNet
from mmssl_dynamic.models.elastic import Channels, Selection
from mmssl_dynamic.registry import MODELS
from mmssl_dynamic.subnets import FULL, PathWidthSpace, SlimmableSpace, parse_path

_WHOLE = 1.0


@MODELS.register_module()
class SDRSlimmableResNet(SDRResNet):
    """Super-network of paths and widths.

    With ``subnet`` it is one of its sub-networks alone, a :class:`StaticResNet`. No paper has it; what both leave open
    are options.

    Args:
        depth: As of :class:`SDRResNet`, like the next six.
        stage_channels: Width of every stage.
        stage_groups: Individual groups of every stage. Without any, there is one path, which is the full network.
        shared_ratio: Share of a split stage's channels that all paths use.
        stem_channels: Channels of the stem.
        in_channels: Channels of the images.
        norm_cfg: ``dict(type='BN')`` or ``dict(type='SyncBN')``; any norm of OpenMMLab with ``subnet``.
        widths: Multipliers of a path's channels, ascending; the last one is 1.0. Four are our reading. The shared and
            the individual part of a stage, and the stem, have the nearest whole number of channels each (our reading:
            they are too narrow for multiples of 8), and at least 90 % of what the width asks for.
        slim_stem: Whether narrower networks have a narrower stem, as in DSPNet (our reading), or all have SDR's, which
            costs a quarter-wide ResNet-18 more multiply-accumulates than all of its stages.
        subnet: Build only this sub-network (``'0-3-1-2@w0.5'``, ``'0-3-1-2'`` or ``'full'``), out of plain modules.
        kwargs: ``out_indices``, ``frozen_stages``, ``norm_eval``, ``with_cp``, ``zero_init_residual`` and ``init_cfg``
            of :class:`~mmssl_dynamic.models.backbones.resnet_trunk.ResNetTrunk`.

    Raises:
        ConfigError: widths that cannot be split into the groups, or that give two networks of the same shape.
        SubnetError: ``subnet`` is none of this network.

    Example:
        >>> net = SDRSlimmableResNet(depth=18, stage_groups=(1, 1, 4, 4))
        >>> with net.subnet('0-0-1-2@w0.5'):
        ...     (features,) = net(images)
        >>> twin = net.static('0-0-1-2@w0.5')
    """

    space: PathWidthSpace

    def __init__(
        self,
        depth: int,
        stage_channels: Sequence[int] | None = None,
        stage_groups: Sequence[int] = (4, 4, 4, 4),
        shared_ratio: float = 0.5,
        stem_channels: int = 64,
        in_channels: int = 3,
        norm_cfg: dict | None = None,
        widths: Sequence[float] = (0.25, 0.5, 0.75, 1.0),
        slim_stem: bool = True,
        *,
        subnet: None = None,
        **kwargs: Any,
    ) -> None:
        self.widths, self.slim_stem = tuple(widths), slim_stem
        super().__init__(
            depth, stage_channels, stage_groups, shared_ratio, stem_channels, in_channels, norm_cfg, **kwargs
        )
        self._check_widths()
        remember_networks(self, SlimmableSpace(self.space.widths))

    def _space(self, stage_groups: tuple[int, ...]) -> PathWidthSpace:
        return PathWidthSpace(stage_groups, self.widths)

    def _check_widths(self) -> None:
        """Refuse widths of equal networks, and those whose first block has a projection where the full one has none."""
        names = self.space.widths_of(next(iter(self.space.paths), FULL))
        shapes = {name: (self._stem_size(name), self._mids(name)) for name in names}
        for (narrow, one), (wide, other) in pairwise(shapes.items()):
            if one == other:
                raise ConfigError(
                    f"'{narrow}' and '{wide}' have the same channels, {list(one[1])}; keep widths={self.widths} "
                    "further apart, or choose larger stage_channels."
                )
        project = self.stem_channels != self.stage_channels[0] * self.expansion
        for name, (stem, mids) in shapes.items():
            if (stem != mids[0] * self.expansion) != project:
                raise ConfigError(
                    f"'{name}' has a stem of {stem} channels and a first stage of {mids[0] * self.expansion}, the full "
                    f"network {self.stem_channels} and {self.stage_channels[0] * self.expansion}: equal in one of them "
                    "and not in the other; change stem_channels, stage_channels[0], widths or slim_stem."
                )

    def _narrowed(self, channels: int, width: float) -> int:
        """How many of some channels a network of this width has."""
        return channels if width == _WHOLE else min(channels, make_divisible(channels * width, 1))

    def _stage_selections(self, name: str) -> list[Selection | None]:
        """Prefixes of the shared channels and of the individual group."""
        path, width = self.space.member(name)
        if width == _WHOLE:
            return super()._stage_selections(path)
        selections: list[Selection | None] = []
        for stage, (index, channels) in enumerate(zip(parse_path(path), self.stage_channels)):
            ends = [(start, start + self._narrowed(stop - start, width)) for start, stop in self._parts(stage, index)]
            kept = Selection(channels, tuple(ends))
            selections.append(None if kept.size == channels else kept)
        return selections

    def _mids(self, name: str) -> tuple[int, ...]:
        """Mid channels of every stage of a network."""
        selected = zip(self.stage_channels, self._stage_selections(name))
        return tuple(channels if kept is None else kept.size for channels, kept in selected)

    def _stem_size(self, name: str) -> int:
        """Channels of the stem of a network."""
        return self._narrowed(self.stem_channels, self.space.member(name)[1]) if self.slim_stem else self.stem_channels

    def selections(self, name: str) -> list[tuple[Channels, Selection | None]]:
        """Channels of the stem, and mid and output channels of every stage."""
        return [(self._stem, prefix(self._stem, self._stem_size(name))), *super().selections(name)]

    def plain_twin(self, name: str, **options: Any) -> StaticResNet:
        """A :class:`StaticResNet` of the sub-network's widths."""
        return StaticResNet(self.depth, self._mids(name), self._stem_size(name), self.in_channels, **options)

    def shape(self) -> dict[str, Any]:
        """Depth, widths and groups."""
        own = {"widths": list(self.space.widths), "slim_stem": self.slim_stem}
        return {**super().shape(), **own}
