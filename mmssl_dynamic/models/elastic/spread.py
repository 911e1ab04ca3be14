"""Weights of a plain layer, laid out over the channels of an elastic one.

C channels of the elastic layer, c of the plain one.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from mmssl_dynamic.models.elastic.channels import Channels
from mmssl_dynamic.models.elastic.layers import ElasticBatchNorm, ElasticConv2d, ElasticLayer, ElasticLinear

Sources = Mapping[Channels, Tensor]
"""For activations that the plain network has otherwise: the plain channel that each channel starts as, (C,)."""


def spread(layer: ElasticLayer, plain: Mapping[str, Tensor], sources: Sources, scaled: bool = False) -> None:
    """Set the weights and running statistics of an elastic layer from those of a plain one.

    Args:
        layer: The elastic layer.
        plain: ``state_dict`` of the plain layer.
        sources: Of the activations that the layer reads and writes; one that is not named is as in the plain network.
        scaled: Divide the weights of an input by the number of channels that start as it, so that all of them together
            give what the plain layer gives. Without it, one of each does.
    """
    state = dict(layer.state_dict())
    for name, dimensions in _dimensions(layer).items():
        if name not in plain:
            continue
        tensor = plain[name]
        for dimension, channels in enumerate(dimensions):
            if channels in sources:
                tensor = tensor.index_select(dimension, sources[channels].to(tensor.device))
        if scaled and len(dimensions) == 2 and dimensions[1] in sources:
            tensor = tensor / _copies(sources[dimensions[1]]).view(1, -1, *[1] * (tensor.ndim - 2))
        state[name] = tensor
        if f"switch_{name}" in state:  # switchable affine parameters start as the shared ones
            state[f"switch_{name}"] = tensor.expand_as(state[f"switch_{name}"])
    layer.load_state_dict(state, strict=True)


def _dimensions(layer: ElasticLayer) -> dict[str, tuple[Channels, ...]]:
    """The activations that the dimensions of each tensor run over: outputs, then inputs."""
    if isinstance(layer, ElasticBatchNorm):
        return dict.fromkeys(("weight", "bias", "running_mean", "running_var"), (layer.channels,))
    assert isinstance(layer, ElasticConv2d | ElasticLinear)
    depthwise = isinstance(layer, ElasticConv2d) and layer.groups > 1
    return {"weight": (layer.outputs,) if depthwise else (layer.outputs, layer.inputs), "bias": (layer.outputs,)}


def _copies(source: Tensor) -> Tensor:
    """How many channels start as the same one as this one, (C,)."""
    return torch.bincount(source)[source]
