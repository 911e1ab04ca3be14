"""Which channels of a plain network matter most, so that a narrower network can begin as the best part of it.

Once-for-all (Cai et al. 2020, Sec. 3.3) sorts the channels of a trained network by the L1 norm of the weights that read
them before it shrinks widths, so that a prefix keeps the most important ones. There the residual stream keeps its
width; here it is narrowed too, and one order has to hold for all blocks that add to it.

C channels.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

import torch
from torch import Tensor, nn

from mmssl_dynamic.models.backbones import SuperNetwork
from mmssl_dynamic.models.elastic import Channels, ElasticConv2d, ElasticLinear
from mmssl_dynamic.models.elastic.spread import Sources


def importance_order(
    net: SuperNetwork, plain: Mapping[str, Tensor], *readers: tuple[nn.Module, Mapping[str, Tensor]]
) -> Sources:
    """The channels of a plain network in descending order of importance, for every activation that is narrowed.

    Args:
        net: Super-network whose full network has the shape of the plain one.
        plain: ``state_dict`` of the plain network, under the names of ``net``.
        readers: Modules that read its features, such as a projector, with their ``state_dict``.

    Returns:
        By activation, the plain channel at each position, (C,).
    """
    narrowed = {
        channels for name in net.space.names for channels, selection in net.selections(name) if selection is not None
    }
    read: dict[Channels, Tensor] = {}
    written: dict[Channels, Tensor] = {}
    pairs: list[tuple[nn.Module, Mapping[str, Tensor]]] = [(net, plain), *readers]
    for module, state in pairs:
        for layer, weight in _weights(module, state):
            dense = not (isinstance(layer, ElasticConv2d) and layer.groups > 1)
            size = weight.abs().flatten(2).sum(2) if weight.ndim > 2 else weight.abs()  # (C_out, C_in)
            if dense:
                read[layer.inputs] = read.get(layer.inputs, 0) + size.sum(0)
            written[layer.outputs] = written.get(layer.outputs, 0) + size.sum(1)
    order: dict[Channels, Tensor] = {}
    for stream in _streams(net, list(written)):
        if not narrowed.issuperset(stream):
            continue
        # Channels that nothing reads, such as the last ones of a backbone alone, go by the weights that write them.
        found = [read[c] for c in stream if c in read] or [written[c] for c in stream]
        best = torch.argsort(torch.stack(found).sum(0), descending=True, stable=True)
        order.update(dict.fromkeys(stream, best))
    return order


def _weights(module: nn.Module, state: Mapping[str, Tensor]) -> Iterator[tuple[ElasticConv2d | ElasticLinear, Tensor]]:
    for name, layer in module.named_modules():
        key = f"{name}.weight" if name else "weight"
        if isinstance(layer, ElasticConv2d | ElasticLinear) and key in state:
            yield layer, state[key].float()


def _streams(net: SuperNetwork, activations: list[Channels]) -> list[list[Channels]]:
    """Activations in groups: those that a shortcut or a depthwise convolution ties must be in the same order."""
    group = {channels: [channels] for channels in activations}
    for block in net.modules():
        tied: Callable[[], list[tuple[Channels, Channels]]] | None = getattr(block, "tied_channels", None)
        for one, other in () if tied is None else tied():
            if group[one] is not group[other]:
                joined = group[one] + group[other]
                group.update(dict.fromkeys(joined, joined))
    return list({id(members): members for members in group.values()}.values())
