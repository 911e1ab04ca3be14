"""What every super-network can do: activate, copy out and calibrate its sub-networks."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from inspect import signature
from math import prod
from typing import Any

import torch
from mmpretrain.registry import MODELS as MMPRETRAIN_MODELS
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from mmssl_dynamic.errors import ArtifactError, ConfigError, MissingStatisticsError
from mmssl_dynamic.models.backbones.graphs import Graphs
from mmssl_dynamic.models.backbones.static_network import Origin, StaticNetwork
from mmssl_dynamic.models.backbones.trunk import Trunk
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


class SuperNetwork(Trunk):
    """Base of backbones that hold many sub-networks.

    Built with ``subnet``, a subclass gives that sub-network alone instead: a :class:`StaticNetwork`, which is no
    super-network.

    A subclass sets ``space`` and ``_active`` before its layers are made, shares ``_active`` among its
    :class:`Channels`, and implements :meth:`selections`, :meth:`plain_twin` and :meth:`shape`. Its ``__init__`` names
    all options that decide about the shape of the super-network, ``norm_cfg`` and ``subnet``; those of its trunk are
    in ``kwargs``.

    Attributes:
        space: The sub-networks.
        graphs: What :meth:`compile` made; ``None`` for a network that is not compiled.
    """

    space: SubnetSpace
    graphs: Graphs | None = None
    _active: ActiveSubnet

    def __new__(cls, *args: Any, subnet: str | None = None, **options: Any) -> Any:
        """The super-network, or the sub-network of this name alone."""
        refuse_old_words(cls.__name__, options)
        if subnet is None:
            return super().__new__(cls)
        given = signature(cls.__init__).bind(None, *args, **options).arguments
        own = {key: given.pop(key) for key in ("norm_cfg", "kwargs") if key in given}
        with torch.device("meta"):  # its shapes are wanted, not its weights
            net = cls(**{key: value for key, value in given.items() if key != "self"})
        return net.alone(subnet, norm_cfg=own.get("norm_cfg"), **own.get("kwargs", {}))

    def selections(self, name: str) -> list[tuple[Channels, Selection | None]]:
        """What each activation (and stage) keeps in a sub-network; ``None`` keeps everything.

        Raises:
            SubnetError: there is no such sub-network.
        """
        raise NotImplementedError

    def own_names(self, state: dict[str, Tensor]) -> dict[str, Tensor]:
        """Weights of a stock backbone under this one's names, without a classifier's; of its own names as they are."""
        return state

    def plain_twin(self, name: str, **options: Any) -> StaticNetwork:
        """A network of plain modules with the shape of a sub-network, and random weights.

        Args:
            name: Name of the sub-network.
            options: ``norm_cfg`` and those of the trunk, such as ``out_indices``.

        Raises:
            SubnetError: there is no such sub-network.
        """
        raise NotImplementedError

    def shape(self) -> dict[str, Any]:
        """The options that decide about the shape of the super-network, as plain data."""
        raise NotImplementedError

    def config(self, subnet: str | None = None) -> dict[str, Any]:
        """Config that builds this super-network, or one of its sub-networks alone, without weights.

        Args:
            subnet: Name of the sub-network.
        """
        config = {"type": f"mmssl_dynamic.{type(self).__name__}", **self.shape()}
        return config if subnet is None else {**config, "subnet": subnet}

    def alone(self, name: str, **options: Any) -> StaticNetwork:
        """:meth:`plain_twin` that knows where it comes from."""
        twin = self.plain_twin(name, **options)
        twin.origin = Origin(self.config(), self.space.canonical(name))
        return twin

    @property
    def feature_channels(self) -> Channels:
        """The channels of the last returned feature map, for a projector that reads them."""
        return self.output_widths[self.out_indices[-1]]

    @property
    def subnets(self) -> tuple[str, ...]:
        """Names of all sub-networks, in the order of the space."""
        return self.space.names

    @property
    def active(self) -> str:
        """Name of the sub-network that is active now; the full network is ``'full'``."""
        return self._active.name

    @contextmanager
    def subnet(self, name: str, track_statistics: bool = True) -> Iterator[None]:
        """Activate a sub-network inside the block.

        Args:
            name: One of :attr:`subnets`, or ``'full'``.
            track_statistics: Whether training mode updates running BatchNorm statistics, where the sub-network has any.

        Raises:
            SubnetError: there is no such sub-network.
            ConfigError: the elastic BatchNorm layers have been replaced.
        """
        self._need_elastic_norms()
        with select(self._active, self.space.check(name), self.selections(name), track_statistics):
            yield

    def static(self, name: str) -> Any:
        """A twin of plain modules with the sub-network's weights, and its BatchNorm statistics if it has any."""
        with torch.device("meta"):  # initialising weights that are overwritten would cost time and random numbers
            twin = self.alone(name, out_indices=self.out_indices, norm_eval=self.norm_eval, with_cp=self.with_cp)
        state: dict[str, Tensor] = {}
        with torch.no_grad(), self.subnet(name):
            for layer_name, layer in active_modules(self):
                if isinstance(layer, ElasticLayer):
                    own = layer.active_state().items()
                    state.update({f"{layer_name}.{key}": value.detach().clone() for key, value in own})
        twin.load_state_dict(state, strict=True, assign=True)  # with their types, memory formats and devices
        return twin.train(self.training)

    def batch_norms(self, name: str = FULL) -> dict[str, ElasticBatchNorm]:
        """The BatchNorm layers of a sub-network by their names, in the order of the forward pass."""
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

    def forward(self, x: Tensor):  # type: ignore[no-untyped-def]
        """Images (N, 3, H, W) -> one (N, C, H / stride, W / stride) for each of ``out_indices``, as a tuple."""
        return self._run(Trunk.forward, x)

    def _run(self, function: Callable, x: Tensor, parts: slice = slice(None)) -> Any:
        """``function(self, x)``, which runs these of the children; by a compiled graph while training."""
        if self.graphs is None or not self.training:
            return function(self, x)
        children = list(self.children())[: self.stem_parts + self.out_indices[-1] + 1]
        return self.graphs.run(function, self, x, self.active, children[parts])

    def shapes_of(self, names: Iterable[str]) -> set[tuple[int, ...]]:
        """The different shapes of some sub-networks: channels of every activation, and blocks of every stage."""
        selections = [self.selections(name) for name in names]
        return {tuple(c.total if s is None else s.size for c, s in selected) for selected in selections}

    def compile(self, **options: Any) -> None:
        """Train by compiled graphs, one for all sub-networks of the same shapes; evaluation stays as it is.

        Results are those of the uncompiled network up to rounding. :attr:`graphs` counts what was compiled.

        Args:
            options: Of ``torch.compile``, such as ``backend`` and ``mode``.

        Raises:
            ConfigError: the network has a part that cannot be compiled; in the first training step: nothing can here.
        """
        self._check_compilable()
        self.graphs = Graphs(len(self.shapes_of({*self.subnets, FULL})), options)

    def _check_compilable(self) -> None:
        kind = type(self).__name__
        if getattr(self.space, "any_width", False):
            raise ConfigError(
                f"{kind} with any_width=True draws a new width in every step, and each would be compiled, for a "
                "minute; leave out any_width or --compile (compile in the config)."
            )
        if self.with_cp:
            raise ConfigError(
                f"{kind} with with_cp=True computes activations again, which a compiled graph decides by itself; leave "
                "out with_cp or --compile (compile in the config)."
            )

    def num_parameters(self, name: str = FULL) -> int:
        """Number of weights of a sub-network (no classifier, no running statistics)."""
        with self.subnet(name):
            return sum(
                prod(n if s is None else s.size for n, s in zip(p.shape, region)) * p.shape[len(region) :].numel()
                for _, layer in active_modules(self)
                if isinstance(layer, ElasticLayer)
                for p, region in layer.parameter_regions()
            )

    def _need_elastic_norms(self) -> None:
        """Refuse a network whose BatchNorm layers mmengine's ``sync_bn`` has replaced by ordinary ones.

        It replaces all of them, so that the first one tells.
        """
        found = next((m for m in self.modules() if isinstance(m, _BatchNorm) or "BatchNorm" in type(m).__name__), None)
        if found is not None and not isinstance(found, ElasticBatchNorm):
            raise ConfigError(
                f"the elastic BatchNorm layers of {type(self).__name__} have been replaced by {type(found).__name__}, "
                "as sync_bn does, and with them the sub-networks' channels and statistics: leave sync_bn out of the "
                "config and give the backbone norm_cfg=dict(type='SyncBN')."
            )

    def __prepare_scriptable__(self) -> Any:
        """Called by ``torch.jit.script``, which would freeze one sub-network into the code.

        Raises:
            ConfigError: always.
        """
        raise ConfigError(
            f"{type(self).__name__} computes with whichever sub-network is active, which TorchScript cannot express; "
            "script one of them: torch.jit.script(net.static(NAME))."
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


def build_super_network(backbone: dict | nn.Module, reader: str, example: str = "SlimmableMobileNetV3") -> SuperNetwork:
    """The super-network of an algorithm or a classifier.

    Args:
        backbone: Its config, or itself.
        reader: Class that it is for, for messages.
        example: A class that would do, for messages.

    Raises:
        ConfigError: it is another backbone, or a single sub-network.
    """
    network = backbone if isinstance(backbone, nn.Module) else MMPRETRAIN_MODELS.build(backbone)
    if not isinstance(network, SuperNetwork):
        raise ConfigError(
            f"{reader} needs a super-network such as mmssl_dynamic.{example} without subnet=, not "
            f"{type(network).__name__}."
        )
    return network
