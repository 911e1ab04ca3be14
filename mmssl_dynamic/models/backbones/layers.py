"""Factories of layers: a super-network and its static twins run the same blocks over elastic or plain layers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

from mmcv.cnn import build_norm_layer
from torch import nn

from mmssl_dynamic.errors import ConfigError
from mmssl_dynamic.models.elastic import Channels, ElasticBatchNorm, ElasticConv2d, ElasticSequential

_SYNC = ("SyncBN", "MMSyncBN", "mmssl_dynamic.SyncBN")

Width = TypeVar("Width", int, Channels)


class PlainLayers:
    """Makes ``nn.Conv2d`` and the norm layer that ``norm_cfg`` names; widths are numbers.

    Args:
        norm_cfg: OpenMMLab's norm config.
        eps: Of norm layers whose config names none.
    """

    def __init__(self, norm_cfg: dict, eps: float = 1e-5) -> None:
        self.norm_cfg = {"eps": eps, **norm_cfg}

    def conv(
        self, inputs: int, outputs: int, kernel_size: int, stride: int = 1, depthwise: bool = False, bias: bool = False
    ) -> nn.Module:
        """A convolution that keeps the size at stride 1."""
        groups = outputs if depthwise else 1
        return nn.Conv2d(inputs, outputs, kernel_size, stride, kernel_size // 2, groups=groups, bias=bias)

    def norm(self, channels: int) -> nn.Module:
        """A norm layer."""
        return build_norm_layer(self.norm_cfg, channels)[1]

    def stage(self, blocks: Sequence[nn.Module], depth: Channels | None) -> nn.Sequential:
        """Blocks one after another."""
        return nn.Sequential(*blocks)


class ElasticLayers:
    """Makes elastic layers; widths are :class:`Channels`.

    Args:
        norm_cfg: OpenMMLab's norm config.
        eps: Of norm layers, that of the stock networks which a sub-network is exported to.
        switches: Sub-networks with BatchNorm statistics of their own while training, see :class:`ElasticBatchNorm`.
        switch_affine: Whether they have affine parameters of their own, too.

    Raises:
        ConfigError: ``norm_cfg`` names anything but BN or SyncBN, or options that an export could not keep.
    """

    def __init__(
        self, norm_cfg: dict, eps: float = 1e-5, switches: Sequence[str] = (), switch_affine: bool = False
    ) -> None:
        options = dict(norm_cfg)
        kind = options.pop("type", "BN")
        self.requires_grad = options.pop("requires_grad", True)
        if kind not in ("BN", "BN1d", "BN2d", *_SYNC):
            raise ConfigError(f"norm_cfg type '{kind}' is not supported by elastic layers; use 'BN' or 'SyncBN'.")
        if options.get("eps", eps) != eps or not options.get("affine", True):
            raise ConfigError(
                f"norm_cfg={norm_cfg} of elastic layers must keep eps={eps:g} and affine=True, those of the stock "
                "network that a sub-network is exported to."
            )
        self.options = {
            **options,
            "eps": eps,
            "sync": kind in _SYNC,
            "switches": switches,
            "switch_affine": switch_affine,
        }

    def conv(
        self,
        inputs: Channels,
        outputs: Channels,
        kernel_size: int,
        stride: int = 1,
        depthwise: bool = False,
        bias: bool = False,
    ) -> nn.Module:
        """A convolution that keeps the size at stride 1."""
        groups, padding = outputs.total if depthwise else 1, kernel_size // 2
        return ElasticConv2d(inputs, outputs, kernel_size, stride=stride, padding=padding, groups=groups, bias=bias)

    def norm(self, channels: Channels) -> nn.Module:
        """A BatchNorm layer."""
        layer = ElasticBatchNorm(channels, **self.options)
        for parameter in layer.parameters():
            parameter.requires_grad = self.requires_grad
        return layer

    def stage(self, blocks: Sequence[nn.Module], depth: Channels | None) -> nn.Sequential:
        """Blocks one after another; with ``depth`` only the active ones."""
        return nn.Sequential(*blocks) if depth is None else ElasticSequential(*blocks, depth=depth)


Layers = PlainLayers | ElasticLayers


def total(width: int | Channels) -> int:
    """Channels of the full network."""
    return width if isinstance(width, int) else width.total


def active(width: int | Channels) -> int:
    """Channels that take part now."""
    return width if isinstance(width, int) else width.size
