"""The networks of one checkpoint: what tells them apart, what they cost, and how many fit into memory."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import nn

from mmssl_dynamic.evaluation.complexity import complexity
from mmssl_dynamic.features.networks import Network, single_network
from mmssl_dynamic.models.backbones import SuperNetwork
from mmssl_dynamic.subnets import FULL

_OPEN = 256  # networks whose features are written at the same time, each to a file: many systems allow 1,024 open ones


class CheckpointNetworks:
    """The networks to evaluate, built one by one when they are needed.

    Args:
        net: A super-network or any other backbone.
        options: The config that built it.
        names: Of its networks.
        image_size: To count multiply-accumulates at.

    Attributes:
        names: Of the networks.
        inputs: What results of each depend on beside weights, see :meth:`Network.inputs`.
        costs: Parameters and multiply-accumulates of each.

    Raises:
        MissingStatisticsError: a sub-network has no BatchNorm statistics.
    """

    def __init__(self, net: nn.Module, options: Any, names: Sequence[str], image_size: int) -> None:
        self.net, self.options, self.names = net, options, names
        self.device = next(net.parameters()).device
        self.inputs: dict[str, dict[str, str]] = {}
        self.costs: dict[str, dict[str, int]] = {}
        known: dict[tuple, dict[str, int]] = {}  # networks of one shape, such as SDR's paths, cost the same
        for name in names:
            network = self(name)
            self.inputs[name] = network.inputs()
            if network.shape not in known:
                cost = complexity(network.backbone, None, image_size)
                known[network.shape] = {"params": cost.params, "macs": cost.macs}
            self.costs[name] = known[network.shape]

    def __call__(self, name: str) -> Network:
        """One of them, ready to be evaluated."""
        return single_network(self.net, name, self.options)

    @property
    def full(self) -> str | None:
        """The full network, if it is among the names."""
        if not isinstance(self.net, SuperNetwork):
            return None
        return next((name for name in self.names if self.net.space.check(name) == FULL), None)

    def groups(self, names: Sequence[str], memory_gib: float) -> list[Sequence[str]]:
        """Networks whose weights fit into memory together, at least one, and at most as many as files may be open."""
        if not names:
            return []
        largest = 4 * max(self.costs[name]["params"] for name in names)
        size = min(max(1, int(memory_gib * 2**30 / largest)), _OPEN)
        return [names[i : i + size] for i in range(0, len(names), size)]
