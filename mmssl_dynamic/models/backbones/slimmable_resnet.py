"""SlimmableResNet: a ResNet whose sub-networks are channel prefixes and block prefixes (DSPNet Sec. 4.1)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from mmssl_dynamic.errors import ConfigError
from mmssl_dynamic.models.backbones.layers import ElasticLayers
from mmssl_dynamic.models.backbones.resnet_trunk import BLOCKS, ResNetTrunk
from mmssl_dynamic.models.backbones.slimmable import (
    check_any_width,
    check_switchable,
    make_divisible,
    prefix,
    remember_networks,
    switches_of,
)
from mmssl_dynamic.models.backbones.static_resnet import StaticResNet
from mmssl_dynamic.models.backbones.super_network import SuperNetwork
from mmssl_dynamic.models.elastic import ActiveSubnet, Channels, Selection
from mmssl_dynamic.registry import MODELS
from mmssl_dynamic.subnets import SlimmableSpace

_BASE = (64, 128, 256, 512)


@MODELS.register_module()
class SlimmableResNet(SuperNetwork, ResNetTrunk):
    """Super-network of ResNets of several widths and depths.

    With ``subnet`` it is one of them alone, a :class:`StaticResNet`.

    The stem is as wide as the first stage's blocks inside, so a network of width 1.0 is a stock ResNet. The desired
    networks are all pairs of a width and a list of blocks, named like ``'w1.25-d3463'``.

    Args:
        channels: Widths, ascending: multipliers of (64, 128, 256, 512), or lists of four stage widths, each at least
            as wide as in the list before.
        blocks: Lists of blocks per stage, from shallow to deep.
        block: ``'basic'`` (ResNet-18 and 34) or ``'bottleneck'`` (ResNet-50 and 101).
        switchable_bn: ``None``: BatchNorm statistics of sub-networks are calibrated after training (BN bank).
            ``'statistics'``: each keeps running statistics of its own while training. ``'all'``: affine parameters
            of its own, too (switchable BatchNorm).
        in_channels: Channels of the images.
        norm_cfg: ``dict(type='BN')`` or ``dict(type='SyncBN')``; any norm of OpenMMLab with ``subnet``.
        subnet: Build only this network (such as ``'w1.0-d2222'``), out of plain modules, as detectors want it.
        any_width: Whether every multiplier between the first and the last of ``channels`` is a width, too, named like
            ``'w0.613-d2222'`` (US3L). Not with ``switchable_bn``.
        kwargs: ``out_indices``, ``frozen_stages``, ``norm_eval``, ``with_cp``, ``zero_init_residual`` and ``init_cfg``
            of :class:`~mmssl_dynamic.models.backbones.resnet_trunk.ResNetTrunk`.

    Raises:
        ConfigError: widths or depths that are not nested in one another.
        SubnetError: ``subnet`` is not one of the networks.

    Example:
        >>> net = SlimmableResNet(channels=(1.0, 1.25), blocks=((2, 2, 2, 2), (3, 4, 6, 3)))
        >>> with net.subnet('w1.0-d2222'):  # a ResNet-18
        ...     (features,) = net(images)
    """

    space: SlimmableSpace

    def __init__(
        self,
        channels: Sequence[float | Sequence[int]] = (1.0, 1.25),
        blocks: Sequence[Sequence[int]] = ((2, 2, 2, 2), (3, 3, 4, 3), (3, 4, 6, 3)),
        block: str = "basic",
        switchable_bn: str | None = None,
        in_channels: int = 3,
        norm_cfg: dict | None = None,
        *,
        subnet: None = None,
        any_width: bool = False,
        **kwargs: Any,
    ) -> None:
        if block not in BLOCKS:
            raise ConfigError(f"block='{block}' is not available; choose one of {sorted(BLOCKS)}.")
        self.channels = tuple(channels)
        stages = [_stage_channels(entry) for entry in self.channels]
        widths = tuple(_width(entry) for entry in self.channels)
        if any_width and not all(isinstance(entry, int | float) for entry in self.channels):
            raise ConfigError("any_width=True needs channels as multipliers, such as (0.25, 1.0), not lists.")
        any_width = check_any_width(any_width, switchable_bn)
        self.space = SlimmableSpace(widths, tuple(tuple(b) for b in blocks), any_width)
        self._check_nesting(stages)
        self._stage_widths = dict(zip(self.space.widths, stages))
        self.in_channels = in_channels
        self.switchable_bn = check_switchable(switchable_bn)
        kind = BLOCKS[block]
        self.block_name, self.expansion = block, kind.expansion
        mids, counts = self._shape(self.space.largest)
        self._active = ActiveSubnet()
        self._stem = Channels(mids[0], self._active)
        self._stages = [(Channels(mid, self._active), Channels(mid * kind.expansion, self._active)) for mid in mids]
        self._depths = [Channels(count, self._active) for count in counts]
        layers = ElasticLayers(
            norm_cfg, switches=switches_of(self.space, switchable_bn), switch_affine=switchable_bn == "all"
        )
        images = Channels(in_channels, self._active)
        super().__init__(layers, kind, counts, images, self._stem, self._stages, depths=self._depths, **kwargs)
        remember_networks(self, self.space)

    def _check_nesting(self, stages: Sequence[tuple[int, ...]]) -> None:
        for narrow, wide in zip(stages, stages[1:]):
            if narrow == wide or any(a > b for a, b in zip(narrow, wide)):
                raise ConfigError(
                    f"channels={list(map(list, stages))} must differ and ascend in every stage, which {list(wide)} "
                    f"after {list(narrow)} does not."
                )
        if any(len(blocks) != 4 for blocks in self.space.blocks or ()):
            raise ConfigError("blocks must hold four numbers per list, one for each stage of a ResNet.")

    def _shape(self, name: str) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """Mid channels and blocks of every stage of a network."""
        width, blocks = self.space.member(name)
        assert blocks is not None
        return self._stage_widths.get(width) or _stage_channels(width), blocks

    def selections(self, name: str) -> list[tuple[Channels, Selection | None]]:
        """Prefixes of channels and of blocks."""
        mids, counts = self._shape(name)
        wanted = [(self._stem, mids[0]), *zip(self._depths, counts)]
        for (mid, out), size in zip(self._stages, mids):
            wanted += [(mid, size), (out, size * self.expansion)]
        return [(channels, prefix(channels, size)) for channels, size in wanted]

    def plain_twin(self, name: str, **options: Any) -> StaticResNet:
        """A :class:`StaticResNet` of the network's widths and blocks."""
        mids, counts = self._shape(name)
        return StaticResNet(None, mids, mids[0], self.in_channels, block=self.block_name, blocks=counts, **options)

    def shape(self) -> dict[str, Any]:
        """Widths, depths and the kind of blocks."""
        switchable = {} if self.switchable_bn is None else {"switchable_bn": self.switchable_bn}
        return {
            "channels": [list(entry) if isinstance(entry, list | tuple) else entry for entry in self.channels],
            "blocks": [list(blocks) for blocks in self.space.blocks or ()],
            "block": self.block_name,
            "in_channels": self.in_channels,
            **switchable,
            **({"any_width": True} if self.space.any_width else {}),
        }


def _width(entry: float | Sequence[int]) -> float:
    """The multiplier that names a width; of stage widths their sum's, which may be any number."""
    return entry if isinstance(entry, int | float) else round(sum(entry) / sum(_BASE), 6)


def _stage_channels(entry: float | Sequence[int]) -> tuple[int, ...]:
    """Stage widths of a multiplier, or as given."""
    if isinstance(entry, int | float):
        if isinstance(entry, bool) or entry <= 0:
            raise ConfigError(f"channels must be positive multipliers or lists of stage widths, not {entry}.")
        return tuple(make_divisible(base * entry) for base in _BASE)
    widths = tuple(entry)
    if len(widths) != 4 or any(not isinstance(w, int) or w < 1 for w in widths):
        raise ConfigError(f"channels={list(widths)} must be four positive stage widths, or a multiplier.")
    return widths
