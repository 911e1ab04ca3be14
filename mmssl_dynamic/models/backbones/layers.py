"""Factories of layers: a super-network and its static twins run the same blocks over elastic or plain layers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

from mmcv.cnn import build_norm_layer
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from mmssl_dynamic.errors import ConfigError
from mmssl_dynamic.models.elastic import Channels, ElasticBatchNorm, ElasticConv2d, ElasticSequential, SyncBN

_SYNC = ("SyncBN", "MMSyncBN")
_BATCH_NORMS = ("BN", "BN1d", "BN2d", *_SYNC)

Width = TypeVar("Width", int, Channels)


class PlainLayers:
    """Makes ``nn.Conv2d`` and the norm layer that ``norm_cfg`` names; widths are numbers.

    Args:
        norm_cfg: OpenMMLab's norm config.
        defaults: Options of BatchNorm layers whose config does not name them, such as ``eps``.
    """

    def __init__(self, norm_cfg: dict | None, **defaults: float) -> None:
        norm_cfg = norm_cfg or dict(type="BN")
        self.norm_cfg = {**(defaults if _norm_kind(norm_cfg) in _BATCH_NORMS else {}), **norm_cfg}

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

    def residual(self, inputs: int, outputs: int) -> nn.Module | None:
        """Adds a shortcut to what a block puts out, if the two are of one width; ``None`` if they are not."""
        return Residual() if inputs == outputs else None


class ElasticLayers:
    """Makes elastic layers; widths are :class:`Channels`.

    Args:
        norm_cfg: OpenMMLab's norm config.
        eps: Constant of BatchNorm, that of the stock networks which a sub-network is exported to.
        momentum: Of BatchNorm, if ``norm_cfg`` names none.
        switches: Sub-networks with BatchNorm statistics of their own while training, see :class:`ElasticBatchNorm`.
        switch_affine: Whether they have affine parameters of their own, too.

    Raises:
        ConfigError: ``norm_cfg`` names anything but BN or SyncBN, or options that an export could not keep.
    """

    def __init__(
        self,
        norm_cfg: dict | None,
        eps: float = 1e-5,
        momentum: float = 0.1,
        switches: Sequence[str] = (),
        switch_affine: bool = False,
    ) -> None:
        options = dict(norm_cfg or dict(type="BN"))
        kind = _norm_kind(options)
        options.pop("type", None)
        self.requires_grad = options.pop("requires_grad", True)
        if kind not in _BATCH_NORMS:
            raise ConfigError(f"norm_cfg type '{kind}' is not supported by elastic layers; use 'BN' or 'SyncBN'.")
        if options.get("eps", eps) != eps or not options.get("affine", True):
            raise ConfigError(
                f"norm_cfg={norm_cfg} of elastic layers must keep eps={eps:g} and affine=True, those of the stock "
                "network that a sub-network is exported to."
            )
        self.options = {
            "momentum": momentum,
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

    def residual(self, inputs: Channels, outputs: Channels) -> nn.Module | None:
        """Adds a shortcut to what a block puts out, in sub-networks where the two are of one width."""
        return ElasticResidual(inputs, outputs)


class Residual(nn.Module):
    """The sum of a shortcut and what a block puts out."""

    def forward(self, shortcut: Tensor, out: Tensor) -> Tensor:
        """(N, C, H, W) each -> the same shape."""
        return shortcut + out


class ElasticResidual(nn.Module):
    """A :class:`Residual` in sub-networks in which both sides have equally many channels.

    Rounding makes 40 and 48 channels equal at width 0.5 of MobileNetV3, and then there is a shortcut.

    Args:
        inputs: Channels of the shortcut.
        outputs: Channels of what the block puts out.
    """

    def __init__(self, inputs: Channels, outputs: Channels) -> None:
        super().__init__()
        self.inputs, self.outputs = inputs, outputs

    def activations(self) -> tuple[Channels, ...]:
        """The channels of both sides."""
        return self.inputs, self.outputs

    def forward(self, shortcut: Tensor, out: Tensor) -> Tensor:
        """(N, C_in, H, W), (N, C_out, H, W) -> (N, C_out, H, W)."""
        return shortcut + out if self.inputs.size == self.outputs.size else out


Layers = PlainLayers | ElasticLayers


def _norm_kind(norm_cfg: Mapping[str, Any]) -> str:
    """OpenMMLab's name of a norm layer without its scope, also where the config holds the class itself."""
    kind = norm_cfg.get("type", "BN")
    if not isinstance(kind, type):
        return str(kind).rpartition(".")[2]
    if issubclass(kind, nn.SyncBatchNorm | SyncBN):
        return "SyncBN"
    return "BN" if issubclass(kind, _BatchNorm) else kind.__name__


def on_one_device(norm_cfg: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """The norm config with plain BatchNorm in place of any that synchronises processes; it has the same parameters."""
    if norm_cfg is None or _norm_kind(norm_cfg) not in _SYNC:
        return None if norm_cfg is None else dict(norm_cfg)
    return {**norm_cfg, "type": "BN"}


def total(width: int | Channels) -> int:
    """Channels of the full network."""
    return width if isinstance(width, int) else width.total


def active(width: int | Channels) -> int:
    """Channels that take part now."""
    return width if isinstance(width, int) else width.size
