"""How far the sub-networks of a super-network lie apart that started as copies of one another."""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor

from mmssl_dynamic.models.backbones import SDRResNet
from mmssl_dynamic.models.elastic import ElasticLayer, active_modules


@torch.no_grad()
def path_distance(net: SDRResNet) -> float:
    """Mean distance of the weights of neighbouring paths, relative to their norm: 0 for equal paths.

    Weights that all paths share count in the norm alone.

    Args:
        net: SDR's super-network, with two paths at least.
    """
    weights = [_weights(net, path) for path in net.space.paths]
    distances = [(one - other).norm() / one.norm() for one, other in pairwise(weights)]
    return float(torch.stack(distances).mean())


def _weights(net: SDRResNet, path: str) -> Tensor:
    """All convolution weights of a path, one after another."""
    with net.subnet(path):
        layers = [layer for _, layer in active_modules(net) if isinstance(layer, ElasticLayer)]
        blocks = [state["weight"] for layer in layers if (state := layer.active_state())["weight"].ndim > 1]
    return torch.cat([block.flatten() for block in blocks])
