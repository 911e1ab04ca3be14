"""Several projection heads in place of one (POA, arXiv 2408.01031): their losses are averaged.

Projections of all heads lie side by side in one tensor, so that every method and target network takes them as they are.
N batch, D dimensions of all heads together.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from mmengine.model import BaseModule
from mmpretrain.registry import MODELS as MMPRETRAIN_MODELS
from torch import Tensor, nn

from mmssl_dynamic.errors import ConfigError
from mmssl_dynamic.models.elastic import Channels
from mmssl_dynamic.models.necks.elastic_projector import ElasticProjector
from mmssl_dynamic.registry import MODELS, mmpretrain_scope


@MODELS.register_module()
class SeveralProjectors(BaseModule):
    """Projectors that read the same features.

    Args:
        in_channels: Channels of the full backbone's features.
        projectors: Options of :class:`ElasticProjector`, without ``in_channels``, of each.

    Raises:
        ConfigError: there is none.
    """

    def __init__(self, in_channels: int, projectors: Sequence[dict[str, Any]]) -> None:
        super().__init__()
        if not projectors:
            raise ConfigError("SeveralProjectors needs the options of one projector at least.")
        self.projectors = nn.ModuleList(ElasticProjector(in_channels, **options) for options in projectors)

    @property
    def out_channels(self) -> int:
        """D."""
        return sum(projector.out_channels for projector in self.projectors)  # type: ignore[misc]

    def connect(self, channels: Channels) -> None:
        """As of :class:`ElasticProjector`."""
        for projector in self.projectors:
            projector.connect(channels)  # type: ignore[operator]

    def forward(self, features: tuple[Tensor, ...]) -> tuple[Tensor]:
        """(N, C, H, W) -> (N, D), the projections of all heads side by side."""
        return (torch.cat([projector(features)[0] for projector in self.projectors], 1),)


@MODELS.register_module()
class SeveralPredictors(BaseModule):
    """A predictor for each head.

    Args:
        predictors: Configs, each with ``in_channels`` of its head's projections.
    """

    @mmpretrain_scope()
    def __init__(self, predictors: Sequence[dict[str, Any]]) -> None:
        super().__init__()
        self.predictors = nn.ModuleList(MMPRETRAIN_MODELS.build(dict(options)) for options in predictors)
        self.sizes = [int(options["in_channels"]) for options in predictors]

    def forward(self, projections: Sequence[Tensor]) -> tuple[Tensor]:
        """(N, D) -> (N, D'), side by side again."""
        parts = projections[0].split(self.sizes, 1)
        return (torch.cat([predict([part])[0] for predict, part in zip(self.predictors, parts)], 1),)


@MODELS.register_module()
class CosineOfHeads(nn.Module):
    """mmpretrain's ``CosineSimilarityLoss`` of each head, averaged.

    Args:
        sizes: Dimension of each head's predictions.
        kwargs: As of mmpretrain's.
    """

    def __init__(self, sizes: Sequence[int], **kwargs: Any) -> None:
        super().__init__()
        self.sizes = list(sizes)
        self.loss = MMPRETRAIN_MODELS.build(dict(type="mmpretrain.CosineSimilarityLoss", **kwargs))

    def forward(self, predictions: Tensor, targets: Tensor) -> Tensor:
        """Both (N, D)."""
        pairs = zip(predictions.split(self.sizes, 1), targets.split(self.sizes, 1))
        return torch.stack([self.loss(prediction, target) for prediction, target in pairs]).mean()
