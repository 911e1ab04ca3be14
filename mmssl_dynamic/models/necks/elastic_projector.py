"""Projector whose first layer reads the active channels of the backbone (SDR Sec. 4.2, DSPNet Sec. 4.1)."""

from __future__ import annotations

from typing import Any

from mmpretrain.models.necks import NonLinearNeck
from torch import nn

from mmssl_dynamic.models.elastic import Channels, ElasticLinear, connect_linear
from mmssl_dynamic.registry import MODELS, mmpretrain_scope


@MODELS.register_module()
class ElasticProjector(NonLinearNeck):
    """mmpretrain's :class:`NonLinearNeck` with an elastic first layer; parameter names are the same.

    Hidden and last layers are shared by all sub-networks. Before use the projector is connected to the channels it
    reads, which the algorithm does.

    Args:
        in_channels: Channels of the full backbone's features.
        args: As of :class:`mmpretrain.models.necks.NonLinearNeck`.
        kwargs: The same. ``norm_cfg=None`` leaves the norm layers out, which MoCo-v2's projector does not have.
    """

    @mmpretrain_scope()
    def __init__(self, in_channels: int, *args: Any, **kwargs: Any) -> None:
        if "norm_cfg" in kwargs and kwargs["norm_cfg"] is None:
            kwargs["norm_cfg"] = dict(type=nn.Identity)
        super().__init__(in_channels, *args, **kwargs)
        plain = self._modules["fc0"]
        assert isinstance(plain, nn.Linear)
        self.fc0: ElasticLinear = ElasticLinear(
            Channels(in_channels), Channels(plain.out_features), plain.bias is not None
        )
        self.fc0.load_state_dict(plain.state_dict())

    @property
    def out_channels(self) -> int:
        """D."""
        return getattr(self, self.fc_names[-1]).out_features

    def connect(self, channels: Channels) -> None:
        """Read ``channels``, and with them whatever sub-network is active.

        Raises:
            ConfigError: the projector was built for another number of channels.
        """
        connect_linear(self.fc0, channels, "projector", "neck.in_channels")
