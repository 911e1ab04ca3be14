"""A linear layer for each sub-network, in one parameter.

S sub-networks, C channels, D outputs.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor, nn

from mmssl_dynamic.models.elastic.channels import Channels, Region, Selection
from mmssl_dynamic.models.elastic.layers import ElasticLayer


class PerNetworkLinear(ElasticLayer):
    """Reads the active channels with weights that the active sub-network shares with no other.

    Args:
        channels: What it reads.
        out_features: D.
        networks: Keys of the sub-networks.
    """

    def __init__(self, channels: Channels, out_features: int, networks: Sequence[str]) -> None:
        super().__init__()
        self.inputs, self.out_features = channels, out_features
        self._rows = {key: row for row, key in enumerate(networks)}
        self.weight = nn.Parameter(torch.empty(len(networks), out_features, channels.total))
        self.bias = nn.Parameter(torch.empty(len(networks), out_features))
        bound = 1 / math.sqrt(channels.total)  # torch's own, of a linear layer
        for parameter in (self.weight, self.bias):
            nn.init.uniform_(parameter, -bound, bound)

    def parameter_regions(self) -> Iterator[tuple[Tensor, Region]]:
        """The row of the active sub-network, and of the weight the active channels."""
        row = self._rows[self.inputs.subnet.name]
        selection = Selection(len(self._rows), ((row, row + 1),))
        yield self.weight, (selection, None, self.inputs.active)
        yield self.bias, (selection,)

    def activations(self) -> tuple[Channels, ...]:
        """The channels that it reads."""
        return (self.inputs,)

    def operands(self) -> tuple[Tensor, Tensor]:
        """Weight (D, C active) and bias (D,) of the active sub-network."""
        (_, weight_region), (_, bias_region) = self.parameter_regions()
        weight = self._active("weight", weight_region, self.inputs)
        bias = self._active("bias", bias_region, self.inputs)
        assert weight is not None
        assert bias is not None
        return weight.squeeze(0), bias.squeeze(0)

    def forward(self, x: Tensor) -> Tensor:
        """(N, C active) -> (N, D)."""
        weight, bias = self.bound or self.operands()
        return nn.functional.linear(x, weight, bias)
