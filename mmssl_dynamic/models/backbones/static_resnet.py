"""A plain ResNet of any stage widths: what a sub-network becomes when it leaves the super-network."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from mmssl_dynamic.errors import ConfigError
from mmssl_dynamic.models.backbones.layers import PlainLayers
from mmssl_dynamic.models.backbones.resnet_trunk import BLOCKS, ResNetTrunk, architecture
from mmssl_dynamic.models.backbones.static_network import StaticNetwork
from mmssl_dynamic.registry import MODELS


@MODELS.register_module()
class StaticResNet(ResNetTrunk, StaticNetwork):
    """ResNet of plain modules with torchvision's and mmpretrain's key names.

    Args:
        depth: 18, 34, 50 or 101; ``None`` with ``block`` and ``blocks``.
        stage_channels: Mid channels of every stage; a stage puts out ``expansion`` (1 or 4) times as many.
        stem_channels: Channels of the stem.
        in_channels: Channels of the images.
        norm_cfg: OpenMMLab's norm config.
        block: ``'basic'`` or ``'bottleneck'``; that of ``depth`` when left out.
        blocks: Blocks of every stage; those of ``depth`` when left out.
        kwargs: ``out_indices``, ``frozen_stages``, ``norm_eval``, ``with_cp``, ``zero_init_residual`` and ``init_cfg``
            of :class:`ResNetTrunk`.
    """

    def __init__(
        self,
        depth: int | None = None,
        stage_channels: Sequence[int] = (64, 128, 256, 512),
        stem_channels: int = 64,
        in_channels: int = 3,
        norm_cfg: dict | None = None,
        block: str | None = None,
        blocks: Sequence[int] | None = None,
        **kwargs: Any,
    ) -> None:
        kind, counts = (BLOCKS["basic"], (2, 2, 2, 2)) if depth is None else architecture(depth)
        if depth is None and (block is None or blocks is None):
            raise ConfigError("a ResNet needs its depth, or block ('basic' or 'bottleneck') and blocks per stage.")
        if block is not None and block not in BLOCKS:
            raise ConfigError(f"block='{block}' is not available; choose one of {sorted(BLOCKS)}.")
        kind = kind if block is None else BLOCKS[block]
        counts = counts if blocks is None else tuple(blocks)  # type: ignore[assignment]
        if len(counts) != 4 or min(counts) < 1:
            raise ConfigError(f"blocks={counts} must be four positive numbers, one per stage.")
        if len(stage_channels) != 4 or min(stage_channels) < 1:
            raise ConfigError(f"stage_channels={tuple(stage_channels)} must be four positive numbers.")
        self.depth = depth
        self.stage_channels, self.stem_channels = tuple(stage_channels), stem_channels
        self.in_channels = in_channels
        stages = [(mid, mid * kind.expansion) for mid in self.stage_channels]
        super().__init__(PlainLayers(norm_cfg), kind, counts, in_channels, stem_channels, stages, **kwargs)
