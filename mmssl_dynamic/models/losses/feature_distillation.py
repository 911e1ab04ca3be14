"""Distillation from a frozen teacher's features, with what leads from a network's features to them.

N batch, C channels of a network's last feature map, D dimension of the teacher's features.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch.nn.functional as F
from torch import Tensor, nn

from mmssl_dynamic.errors import ConfigError
from mmssl_dynamic.models.backbones import SuperNetwork
from mmssl_dynamic.models.elastic import PerNetworkLinear
from mmssl_dynamic.models.necks import ElasticProjector
from mmssl_dynamic.registry import MODELS

HEADS, VIEWS = ("shared", "per_network"), ("same", "other")


@MODELS.register_module()
class FeatureDistillation(nn.Module):
    """Draws what a head makes of a network's features to the features of a frozen teacher: 1 - cos, averaged.

    Args:
        student: The super-network.
        out_channels: D.
        head: ``'shared'``: a projector of two layers, whose first reads the active channels and whose rest all networks
            share. ``'per_network'``: a linear layer for each.
        hid_channels: Of the shared projector.
        view: ``'same'``: features of a view are compared with the teacher's of the same view. ``'other'``: with those
            of the other view, as in SiamKD (SDR Eq. 4).
        weight: Factor of the loss.
        norm_cfg: Of the shared projector.

    Raises:
        ConfigError: an option that there is not.
    """

    def __init__(
        self,
        student: SuperNetwork,
        out_channels: int,
        head: str = "shared",
        hid_channels: int = 2048,
        view: str = "same",
        weight: float = 1.0,
        norm_cfg: dict[str, Any] | None = None,
    ) -> None:
        super().__init__()
        if head not in HEADS:
            raise ConfigError(f"distillation.head='{head}' must be one of {', '.join(HEADS)}.")
        if view not in VIEWS:
            raise ConfigError(f"distillation.view='{view}' must be one of {', '.join(VIEWS)}.")
        self.out_channels, self.view, self.weight = out_channels, view, weight
        channels = student.feature_channels
        self.head: nn.Module
        if head == "per_network":
            if getattr(student.space, "any_width", False):
                raise ConfigError(
                    "distillation.head='per_network' has a layer for each listed network, which any_width=True has "
                    "not; use head='shared'."
                )
            self.head = PerNetworkLinear(channels, out_channels, student.space.keys)
        else:
            self.head = ElasticProjector(
                channels.total,
                hid_channels,
                out_channels,
                with_bias=True,
                with_last_bn=False,
                with_last_bias=True,
                norm_cfg=norm_cfg or dict(type="BN1d"),
            )
            self.head.connect(channels)

    def predictions(self, features: Sequence[Tensor]) -> tuple[Tensor, ...]:
        """What the head makes of the active network's features of some views, each (N, C, H, W) -> (N, D)."""
        if isinstance(self.head, PerNetworkLinear):
            return tuple(self.head(feature.flatten(2).mean(2)) for feature in features)
        return tuple(self.head((feature,))[0] for feature in features)

    def teachers_views(self, views: Sequence[Tensor]) -> tuple[Tensor, ...]:
        """The views whose features :meth:`forward` compares with the predictions of these, one by one."""
        return tuple(views) if self.view == "same" else tuple(reversed(views))

    def forward(self, predictions: Sequence[Tensor], taught: Sequence[Tensor]) -> Tensor:
        """From 0 to 2 times the weight.

        Args:
            predictions: Of the views that the network went through, each (N, D).
            taught: The teacher's features of :meth:`teachers_views`, each (N, D); gradients stop here.
        """
        losses = [
            1 - F.cosine_similarity(prediction.float(), feature.detach().float(), dim=1).mean()
            for prediction, feature in zip(predictions, taught)
        ]
        return self.weight * sum(losses[1:], losses[0]) / len(losses)


@contextmanager
def recorded_features(backbone: nn.Module) -> Iterator[list[Tensor]]:
    """The last feature maps of all passes through a backbone inside of the block, in their order."""
    features: list[Tensor] = []
    handle = backbone.register_forward_hook(lambda module, inputs, outputs: features.append(outputs[-1]))
    try:
        yield features
    finally:
        handle.remove()
