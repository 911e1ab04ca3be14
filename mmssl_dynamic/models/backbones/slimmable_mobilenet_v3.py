"""SlimmableMobileNetV3: MobileNetV3s of several widths as channel prefixes of the widest (DSPNet Sec. 4.1)."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

from torch import Tensor

from mmssl_dynamic.errors import ConfigError
from mmssl_dynamic.models.backbones.layers import ElasticLayers
from mmssl_dynamic.models.backbones.mobilenet_v3_keys import own_names
from mmssl_dynamic.models.backbones.mobilenet_v3_trunk import BN_EPS, BN_MOMENTUM, MobileNetV3Trunk, mobilenet_widths
from mmssl_dynamic.models.backbones.slimmable import (
    check_any_width,
    check_switchable,
    prefix,
    remember_networks,
    switches_of,
)
from mmssl_dynamic.models.backbones.static_mobilenet_v3 import StaticMobileNetV3
from mmssl_dynamic.models.backbones.super_network import SuperNetwork
from mmssl_dynamic.models.elastic import ActiveSubnet, Channels, Selection
from mmssl_dynamic.registry import MODELS
from mmssl_dynamic.subnets import SlimmableSpace


@MODELS.register_module()
class SlimmableMobileNetV3(SuperNetwork, MobileNetV3Trunk):
    """Super-network of MobileNetV3s.

    With ``subnet`` it is one of them alone, a :class:`StaticMobileNetV3`.

    A narrower network's channels are the first ones of a wider one's, squeeze-and-excitation and depthwise layers
    included. Networks are named like ``'w0.75'``; ``'full'`` is the widest. The network of width w has the shapes of
    ``torchvision.models.mobilenet_v3_large(width_mult=w)`` and mmpretrain's key names.

    Args:
        arch: ``'large'`` or ``'small'``.
        widths: Multipliers of the channels, ascending.
        switchable_bn: ``None``: BatchNorm statistics of sub-networks are calibrated after training (BN bank).
            ``'statistics'``: each keeps running statistics of its own while training. ``'all'``: affine parameters
            of its own, too (switchable BatchNorm).
        in_channels: Channels of the images.
        norm_cfg: ``dict(type='BN')`` or ``dict(type='SyncBN')``; any norm of OpenMMLab with ``subnet``. ``eps`` is
            0.001 and ``momentum`` 0.01 unless it says otherwise, as in every MobileNetV3.
        subnet: Build only this network (such as ``'w0.75'``), out of plain modules, as detectors want it.
        any_width: Whether every width between the first and the last is a network, too, named like ``'w0.613'`` (US3L).
            Not with ``switchable_bn``.
        kwargs: ``out_indices``, ``frozen_stages``, ``norm_eval``, ``with_cp`` and ``init_cfg`` of
            :class:`~mmssl_dynamic.models.backbones.mobilenet_v3_trunk.MobileNetV3Trunk`.

    Raises:
        ConfigError: widths that are not ascending, too small, or so close that their networks are the same.
        SubnetError: ``subnet`` is not one of the networks.

    Example:
        >>> net = SlimmableMobileNetV3()
        >>> with net.subnet('w0.75'):
        ...     (features,) = net(images)
        >>> backbone = SlimmableMobileNetV3(subnet='w0.75', out_indices=(3, 6, 12, 16))
    """

    space: SlimmableSpace

    def __init__(
        self,
        arch: str = "large",
        widths: Sequence[float] = (0.5, 0.75, 1.0, 1.25, 1.5),
        switchable_bn: str | None = None,
        in_channels: int = 3,
        norm_cfg: dict | None = None,
        *,
        subnet: None = None,
        any_width: bool = False,
        **kwargs: Any,
    ) -> None:
        self.space = SlimmableSpace(tuple(widths), any_width=check_any_width(any_width, switchable_bn))
        self._widths = {w: mobilenet_widths(arch, w) for w in self.space.widths}
        for (narrow, a), (wide, b) in pairwise(self._widths.items()):
            if a == b:
                raise ConfigError(f"widths {narrow} and {wide} of MobileNetV3-{arch} have the same channels; drop one.")
        self.in_channels = in_channels
        self.switchable_bn = check_switchable(switchable_bn)
        shape = self._widths[self.space.widths[-1]]
        self._active = ActiveSubnet()
        self._stem = Channels(shape.stem, self._active)
        self._blocks = [
            (Channels(b.expanded, self._active), Channels(b.squeezed, self._active), Channels(b.out, self._active))
            for b in shape.blocks
        ]
        self._head = Channels(shape.head, self._active)
        switches = switches_of(self.space, switchable_bn)
        elastic = ElasticLayers(norm_cfg, BN_EPS, BN_MOMENTUM, switches, switch_affine=switchable_bn == "all")
        images = Channels(in_channels, self._active)
        super().__init__(elastic, arch, images, self._stem, self._blocks, self._head, **kwargs)
        remember_networks(self, self.space)

    def selections(self, name: str) -> list[tuple[Channels, Selection | None]]:
        """Prefixes of all channels."""
        width, _ = self.space.member(name)
        shape = self._widths.get(width) or mobilenet_widths(self.arch, width)
        wanted = [(self._stem, shape.stem), (self._head, shape.head)]
        for channels, sizes in zip(self._blocks, shape.blocks):
            wanted += zip(channels, sizes)
        return [(channels, prefix(channels, size)) for channels, size in wanted if size]

    def own_names(self, state: dict[str, Tensor]) -> dict[str, Tensor]:
        """Of torchvision's and timm's MobileNetV3, too."""
        return own_names(state, self.arch)

    def plain_twin(self, name: str, **options: Any) -> StaticMobileNetV3:
        """A :class:`StaticMobileNetV3` of the network's width."""
        width, _ = self.space.member(name)
        return StaticMobileNetV3(self.arch, width, self.in_channels, **options)

    def shape(self) -> dict[str, Any]:
        """Architecture and widths."""
        switchable = {} if self.switchable_bn is None else {"switchable_bn": self.switchable_bn}
        widths = list(self.space.widths)
        return {
            "arch": self.arch,
            "widths": widths,
            "in_channels": self.in_channels,
            **switchable,
            **({"any_width": True} if self.space.any_width else {}),
        }
