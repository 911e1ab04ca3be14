"""What every super-network can do: activate, copy out and calibrate its sub-networks."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from math import prod
from typing import Any

import torch
from torch import Tensor, nn

from mmssl_dynamic.errors import ArtifactError, ConfigError, MissingStatisticsError, SubnetError
from mmssl_dynamic.models.elastic import (
    ActiveSubnet,
    Channels,
    ElasticBatchNorm,
    ElasticLayer,
    Selection,
    active_modules,
    select,
)
from mmssl_dynamic.subnets import FULL, SubnetSpace, width_name

BNStatistics = dict[str, tuple[Tensor, Tensor]]
"""Mean and variance (each (C,)) of every BatchNorm layer of a sub-network, by the layer's name."""


class SuperNetwork(nn.Module):
    """Base of backbones that hold many sub-networks, or, built with a name, one of them alone.

    A subclass sets ``space`` and ``fixed`` before its layers are made, shares ``_active`` among its
    :class:`Channels`, and implements :meth:`selections` and :meth:`plain_twin`.

    Attributes:
        space: The sub-networks.
        fixed: Name of the only sub-network that this backbone was built with, out of plain modules; ``None`` for a
            super-network.
    """

    space: SubnetSpace
    fixed: str | None = None
    _active: ActiveSubnet

    def selections(self, name: str) -> list[tuple[Channels, Selection | None]]:
        """What each activation (and stage) keeps in a sub-network; ``None`` keeps everything.

        Raises:
            SubnetError: there is no such sub-network.
        """
        raise NotImplementedError

    def own_names(self, state: dict[str, Tensor]) -> dict[str, Tensor]:
        """Weights of a stock backbone under this one's names, without a classifier's; of its own names as they are."""
        return state

    def plain_twin(self, name: str) -> nn.Module:
        """A network of plain modules with the shape of a sub-network; its weights are set by the caller."""
        raise NotImplementedError

    @property
    def feature_channels(self) -> Channels:
        """The channels of the last feature map, for a projector that reads them."""
        raise NotImplementedError

    @property
    def subnets(self) -> tuple[str, ...]:
        """Names of all sub-networks, in the order of the space."""
        return self.space.names if self.fixed is None else (self.fixed,)

    @property
    def active(self) -> str:
        """Name of the sub-network that is active now; the full network is ``'full'``."""
        return self._active.name if self.fixed is None else self.fixed

    @contextmanager
    def subnet(self, name: str, track_statistics: bool = True) -> Iterator[None]:
        """Activate a sub-network inside the block.

        Args:
            name: One of :attr:`subnets`, or ``'full'``.
            track_statistics: Whether training mode updates running BatchNorm statistics, where the sub-network has any.

        Raises:
            SubnetError: there is no such sub-network.
        """
        if self.fixed is not None:
            if self.space.check(name) != self.space.check(self.fixed):
                raise SubnetError(f"this backbone holds the sub-network '{self.fixed}' alone, not '{name}'.")
            yield
            return
        with select(self._active, self.space.check(name), self.selections(name), track_statistics):
            yield

    def static(self, name: str) -> Any:
        """A twin of plain modules with the sub-network's weights, and its BatchNorm statistics if it has any."""
        self._need_super_network("static()")
        with torch.device("meta"):  # initialising weights that are overwritten would cost time and random numbers
            twin = self.plain_twin(name)
        twin.to_empty(device=next(self.parameters()).device)
        state: dict[str, Tensor] = {}
        with torch.no_grad(), self.subnet(name):
            for layer_name, layer in active_modules(self):
                if isinstance(layer, ElasticLayer):
                    state.update({f"{layer_name}.{key}": value for key, value in layer.active_state().items()})
        twin.load_state_dict(state, strict=True)
        return twin.train(self.training)

    def batch_norms(self, name: str = FULL) -> dict[str, ElasticBatchNorm]:
        """The BatchNorm layers of a sub-network by their names, in the order of the forward pass."""
        self._need_super_network("BatchNorm statistics of sub-networks")
        with self.subnet(name):
            return {layer: module for layer, module in active_modules(self) if isinstance(module, ElasticBatchNorm)}

    def set_bn_statistics(self, name: str, statistics: BNStatistics) -> None:
        """Set the statistics with which a sub-network is evaluated; ``'full'`` keeps them in its running buffers.

        Raises:
            ArtifactError: layers are missing or have other sizes.
        """
        layers, key = self.batch_norms(name), self.space.check(name)
        if missing := [layer for layer in layers if layer not in statistics]:
            raise ArtifactError(
                f"the BatchNorm statistics of sub-network '{name}' lack layer '{missing[0]}'; calibrate it anew."
            )
        with self.subnet(name), torch.no_grad():
            for layer_name, layer in layers.items():
                mean, var = statistics[layer_name]
                layer.set_statistics(key, mean, var, layer.channels.size)

    def has_bn_statistics(self, name: str) -> bool:
        """Whether the sub-network can be evaluated."""
        key = self.space.check(name)
        return all(layer.statistics(key) is not None for layer in self.batch_norms(name).values())

    def bn_statistics(self, name: str) -> BNStatistics:
        """The statistics with which the sub-network is evaluated.

        Raises:
            MissingStatisticsError: it has none.
        """
        if not self.has_bn_statistics(name):
            raise MissingStatisticsError(
                f"sub-network '{name}' has no BatchNorm statistics; calibrate it (tools/calibrate_bn.py) and load "
                "the bank."
            )
        key = self.space.check(name)
        with self.subnet(name):
            found = {layer_name: layer.statistics(key) for layer_name, layer in self.batch_norms(name).items()}
            return {layer_name: (s[0].clone(), s[1].clone()) for layer_name, s in found.items() if s is not None}

    def num_parameters(self, name: str = FULL) -> int:
        """Number of weights of a sub-network (no classifier, no running statistics)."""
        if self.fixed is not None:
            return sum(p.numel() for p in self.parameters())
        with self.subnet(name):
            return sum(
                prod(n if s is None else s.size for n, s in zip(p.shape, region)) * p.shape[len(region) :].numel()
                for _, layer in active_modules(self)
                if isinstance(layer, ElasticLayer)
                for p, region in layer.parameter_regions()
            )

    def _need_super_network(self, what: str) -> None:
        if self.fixed is not None:
            raise SubnetError(
                f"{what} needs the super-network; build {type(self).__name__} without naming the sub-network "
                f"'{self.fixed}'."
            )


def refuse_old_words(network: str, options: Mapping[str, Any]) -> None:
    """Refuse other names of the option ``subnet``, with what to write instead.

    Raises:
        ConfigError: there is one.
    """
    for word in ("path", "width"):
        if word in options:
            value = options[word]
            name = width_name(value) if isinstance(value, int | float) else value
            raise ConfigError(
                f"{network} has no option {word}; a sub-network is named by subnet={name!r}, not {word}={value!r}."
            )


def is_super_network(module: nn.Module) -> bool:
    """Whether a backbone holds several sub-networks."""
    return isinstance(module, SuperNetwork) and module.fixed is None
