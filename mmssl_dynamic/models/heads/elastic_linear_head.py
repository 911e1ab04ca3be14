"""Linear classifier that reads the active channels of a super-network (DSPNet Sec. 0.B)."""

from __future__ import annotations

from typing import Any

from mmpretrain.models.heads import LinearClsHead
from torch import Tensor

from mmssl_dynamic.models.elastic import Channels, ElasticLinear, connect_linear
from mmssl_dynamic.registry import MODELS, mmpretrain_scope


@MODELS.register_module()
class ElasticLinearHead(LinearClsHead):
    """mmpretrain's ``LinearClsHead`` with an elastic layer; parameter names are the same.

    All sub-networks share the weights of the channels that they have in common, and the bias. Before use the head is
    connected to the channels it reads, which the classifier does. N images, D active features, K classes.

    Args:
        num_classes: K.
        in_channels: Features of the full network.
        kwargs: Arguments of ``LinearClsHead``, such as ``loss`` and ``init_cfg``.
    """

    @mmpretrain_scope()
    def __init__(self, num_classes: int, in_channels: int, **kwargs: Any) -> None:
        super().__init__(num_classes, in_channels, **kwargs)
        self.fc: ElasticLinear = ElasticLinear(Channels(in_channels), Channels(num_classes))

    def connect(self, channels: Channels) -> None:
        """Read ``channels``, and with them whatever sub-network is active.

        Raises:
            ConfigError: the head was built for another number of channels.
        """
        connect_linear(self.fc, channels, "head", "head.in_channels")

    def label_loss(self, scores: Tensor, data_samples: Any) -> dict[str, Tensor]:
        """The loss of scores (N, K) before the softmax, and with ``cal_acc`` their accuracy."""
        return self._get_loss(scores, data_samples)

    def predictions(self, scores: Tensor, data_samples: Any = None) -> list[Any]:
        """Data samples with the label and the probabilities of scores (N, K)."""
        return self._get_predictions(scores, data_samples)
