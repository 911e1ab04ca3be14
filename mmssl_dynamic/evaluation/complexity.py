"""Parameters and multiply-accumulates of sub-networks and other backbones.

What papers on ResNets call FLOPs (4.1 G for ResNet-50) are multiply-accumulates, and so are the figures here.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from mmssl_dynamic.errors import ConfigError
from mmssl_dynamic.models.backbones import StaticNetwork, SuperNetwork
from mmssl_dynamic.models.eval_mode import eval_mode
from mmssl_dynamic.subnets import FULL


@dataclass(frozen=True)
class Complexity:
    """Cost of one image.

    Attributes:
        params: Learnable weights (BatchNorm's scale and shift included, running statistics not).
        macs: Multiply-accumulates of convolutions and linear layers; a FLOP count of twice as many is the same figure.
    """

    params: int
    macs: int

    def __str__(self) -> str:
        return f"{self.params / 1e6:.2f} M parameters, {self.macs / 1e9:.3f} GMACs"


def complexity(net: nn.Module, name: str | None = None, size: int | Sequence[int] = 224) -> Complexity:
    """Complexity of a backbone, or of one sub-network of a super-network, at an image size.

    Args:
        net: Any network that takes images (1, C, H, W); a super-network needs no BatchNorm statistics for this.
        name: Name of the sub-network, for a super-network only.
        size: Side of square images or (H, W), in pixels.

    Raises:
        ConfigError: impossible size, or ``name`` for a network without sub-networks.
        SubnetError: there is no such sub-network.
    """
    height, width = (size, size) if isinstance(size, int) else size
    if min(height, width) < 1:
        raise ConfigError(f"image size {size} must be positive.")
    if isinstance(net, SuperNetwork):
        net = net.static(name or FULL)
    elif name is not None and (not isinstance(net, StaticNetwork) or net.origin is None or name != net.origin.subnet):
        raise ConfigError(f"this network has no sub-networks, so none is named '{name}'.")
    parameters = {id(p): p for p in net.parameters()}.values()
    device = next(iter(parameters)).device
    with eval_mode(net), FlopCounterMode(display=False) as counter:
        net(torch.zeros(1, getattr(net, "in_channels", 3), height, width, device=device))
    return Complexity(sum(p.numel() for p in parameters), counter.get_total_flops() // 2)
