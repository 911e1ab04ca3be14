"""A plain MobileNetV3 of any width: what a sub-network becomes when it leaves the super-network."""

from __future__ import annotations

from typing import Any

from mmssl_dynamic.models.backbones.layers import PlainLayers
from mmssl_dynamic.models.backbones.mobilenet_v3_trunk import BN_EPS, BN_MOMENTUM, MobileNetV3Trunk, mobilenet_widths
from mmssl_dynamic.models.backbones.static_network import StaticNetwork
from mmssl_dynamic.registry import MODELS


@MODELS.register_module()
class StaticMobileNetV3(MobileNetV3Trunk, StaticNetwork):
    """MobileNetV3 of plain modules with torchvision's shapes and mmpretrain's key names.

    Args:
        arch: ``'large'`` or ``'small'``.
        width: Multiplier of the channels.
        in_channels: Channels of the images.
        norm_cfg: OpenMMLab's norm config. Of BatchNorm, ``eps`` is 0.001 and ``momentum`` 0.01 unless it says
            otherwise, as in every MobileNetV3.
        kwargs: ``out_indices``, ``frozen_stages``, ``norm_eval``, ``with_cp`` and ``init_cfg`` of
            :class:`~mmssl_dynamic.models.backbones.mobilenet_v3_trunk.MobileNetV3Trunk`.

    Raises:
        ConfigError: unknown ``arch``, or a width that is too small.
    """

    def __init__(
        self,
        arch: str = "large",
        width: float = 1.0,
        in_channels: int = 3,
        norm_cfg: dict | None = None,
        **kwargs: Any,
    ) -> None:
        shape = mobilenet_widths(arch, width)
        self.width, self.in_channels = float(width), in_channels
        layers = PlainLayers(norm_cfg, eps=BN_EPS, momentum=BN_MOMENTUM)
        super().__init__(layers, arch, in_channels, shape.stem, shape.blocks, shape.head, **kwargs)
