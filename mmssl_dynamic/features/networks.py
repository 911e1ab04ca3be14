"""The networks that are evaluated: every sub-network as a plain twin, or the one network of an ordinary backbone."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from mmssl_dynamic.calibration.bn_bank import network_fingerprints
from mmssl_dynamic.errors import ConfigError
from mmssl_dynamic.features.pooling import pool
from mmssl_dynamic.fingerprints import architecture_fingerprint, running_statistics, statistics_fingerprint
from mmssl_dynamic.models.backbones import SuperNetwork
from mmssl_dynamic.models.backbones.layers import on_one_device
from mmssl_dynamic.models.eval_mode import eval_mode


@dataclass(frozen=True)
class Networks:
    """Which networks of a checkpoint, and with which BatchNorm statistics.

    Args:
        names: Sub-networks, such as ``['w0.5', 'w1.0']``; all when left out.
        bank: BN bank of the checkpoint, for sub-networks without statistics of their own; the one beside the checkpoint
            when left out.
        bn: Which statistics of the bank: ``'path'``, which is the default, or ``'prefix'``.
    """

    names: Sequence[str] | None = None
    bank: str | os.PathLike[str] | None = None
    bn: str | None = None


@dataclass(frozen=True)
class Network:
    """One network to evaluate.

    Attributes:
        name: Of the sub-network, or what an ordinary backbone is called in results.
        backbone: Plain modules with their BatchNorm statistics, in evaluation mode.
        config: Builds the backbone, without weights.
    """

    name: str
    backbone: nn.Module
    config: dict[str, Any]

    @property
    def feature_dim(self) -> int:
        """D of its pooled features."""
        weight = next(self.backbone.parameters())
        images = torch.zeros(1, image_channels(self.backbone), 64, 64, device=weight.device)
        with eval_mode(self.backbone):
            outputs = self.backbone(images)
        return pool(outputs[-1] if isinstance(outputs, (tuple, list)) else outputs).shape[1]

    def inputs(self) -> dict[str, str]:
        """What a result depends on beside weights, by the names of a :class:`~mmssl_dynamic.result_cache.Key`."""
        return {
            "BN statistics": statistics_fingerprint(running_statistics(self.backbone)),
            "architecture": architecture_fingerprint(self.backbone),
        }

    @property
    def shape(self) -> tuple:
        """Equal for networks that take equally long: all paths of SDR are of one shape."""
        state = self.backbone.state_dict()
        return type(self.backbone), tuple((key, tuple(tensor.shape)) for key, tensor in state.items())


def image_channels(backbone: nn.Module) -> int:
    """Channels of the images that a network of plain modules takes."""
    return next((module.in_channels for module in backbone.modules() if isinstance(module, nn.Conv2d)), 3)


def network_names(net: nn.Module, wanted: Sequence[str] | None, plain_name: str) -> list[str]:
    """Names of the networks of a backbone, under which results list them.

    Args:
        net: A super-network or any other backbone.
        wanted: Sub-networks, in any order; all when left out.
        plain_name: What a backbone without sub-networks is called.

    Raises:
        SubnetError: there is no such sub-network.
        ConfigError: no name is given, or names for a backbone that has no sub-networks.
    """
    if not isinstance(net, SuperNetwork):
        if wanted is not None:
            raise ConfigError(
                f"this config's backbone ({type(net).__name__}) is one network without sub-networks, so none can be "
                f"named {', '.join(wanted)}; leave --subnets out."
            )
        return [plain_name]
    if wanted is None:
        return list(net.space.names)
    if not wanted:
        raise ConfigError("there is no sub-network to evaluate; name at least one.")
    keys = {net.space.check(name) for name in wanted}
    return [name for name, key in zip(net.space.names, net.space.keys) if key in keys]


def statistics_of_networks(net: nn.Module, names: Sequence[str]) -> dict[str, str]:
    """Fingerprint of the BatchNorm statistics that each network is evaluated with, by name, for results.

    Args:
        net: A super-network or any other backbone.
        names: Some of :func:`network_names`.

    Raises:
        MissingStatisticsError: a sub-network has none.
    """
    if isinstance(net, SuperNetwork):
        return network_fingerprints(net, names)
    return dict.fromkeys(names, statistics_fingerprint(running_statistics(net)))


def single_network(net: nn.Module, name: str, options: Mapping[str, Any]) -> Network:
    """One network of a backbone, ready to be evaluated.

    Args:
        net: A super-network or any other backbone.
        name: One of :func:`network_names`.
        options: The config that built ``net``.

    Raises:
        MissingStatisticsError: the sub-network has no BatchNorm statistics.
    """
    config = {key: value for key, value in options.items() if key != "init_cfg"}
    if config.get("norm_cfg"):
        config["norm_cfg"] = on_one_device(config["norm_cfg"])
    if not isinstance(net, SuperNetwork):
        return Network(name, net, config)
    net.bn_statistics(name)  # refuses a sub-network without them
    config["subnet"] = name
    twin = net.static(name)
    twin.eval()
    return Network(name, twin, config)
