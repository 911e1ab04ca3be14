"""Joining a layer to the channels that a super-network puts out."""

from __future__ import annotations

from mmssl_dynamic.errors import ConfigError
from mmssl_dynamic.models.elastic.channels import Channels
from mmssl_dynamic.models.elastic.layers import ElasticLinear


def connect_linear(layer: ElasticLinear, channels: Channels, reader: str, option: str) -> None:
    """Let a layer read ``channels``, and with them whatever sub-network is active.

    Args:
        layer: The first layer of what stands behind a backbone; all of its outputs stay.
        channels: Those of the backbone.
        reader: What the layer belongs to, for messages, such as ``'projector'``.
        option: Config option that says how many channels it reads.

    Raises:
        ConfigError: the layer was built for another number of channels.
    """
    if channels.total != layer.in_features:
        raise ConfigError(
            f"the {reader} reads {layer.in_features} channels but the backbone puts out {channels.total}; correct or "
            f"leave out {option}."
        )
    layer.inputs = channels
    layer.outputs = Channels(layer.out_features, channels.subnet)
