"""Distillation from the full network W_0 to a sub-network W_i (SDR Sec. 4.2 and 5.3).

N batch, D dimension of projections and predictions.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch.nn.functional as F
from torch import Tensor, nn

from mmssl_dynamic.registry import MODELS


@MODELS.register_module()
class SiamKD(nn.Module):
    """Task-customized knowledge distillation (SDR Eq. 4).

    "Specifically, features provided by sub-nets are also applied to predict the features of the largest network."
    The predictor's output for the sub-network on one view predicts W_0's projection of the other view. Symmetrised
    like Eq. 1 (our reading; the equation shows one direction).

    Args:
        weight: Factor of the loss. Defaults to 1, as in Algorithm 1.
    """

    def __init__(self, weight: float = 1.0) -> None:
        super().__init__()
        self.weight = weight

    def forward(
        self, predictions: Sequence[Tensor], projections: Sequence[Tensor], teacher: Sequence[Tensor]
    ) -> Tensor:
        """Negative cosine similarity, from -1 to 1 times the weight.

        Args:
            predictions: h(f_Wi(x1)), h(f_Wi(x2)), each (N, D); the first alone of a method that predicts from one view.
            projections: f_Wi(x1), f_Wi(x2), each (N, D); not used.
            teacher: f_W0(x1), f_W0(x2), each (N, D); gradients stop here.
        """
        # SDR Eq. 4
        similarities = [
            F.cosine_similarity(prediction, target.detach(), dim=1).mean()
            for prediction, target in zip(predictions, reversed(teacher))
        ]
        loss = -sum(similarities[1:], similarities[0]) / len(similarities)
        return self.weight * loss


@MODELS.register_module()
class L2Distillation(nn.Module):
    """The ablation of Sec. 5.3: the plain L2 distance between features of the same view.

    Our reading: features are the projections, L2-normalised, since their last BatchNorm fixes their scale otherwise;
    the distance is the squared norm, averaged over images and views.

    Args:
        weight: Factor of the loss.
    """

    def __init__(self, weight: float = 1.0) -> None:
        super().__init__()
        self.weight = weight

    def forward(
        self, predictions: Sequence[Tensor], projections: Sequence[Tensor], teacher: Sequence[Tensor]
    ) -> Tensor:
        """Squared distance, from 0 to 4 times the weight; arguments as in :class:`SiamKD`."""
        distances = [
            (F.normalize(z, dim=1) - F.normalize(t.detach(), dim=1)).square().sum(dim=1).mean()
            for z, t in zip(projections, teacher)  # of the views that predict: the projections are theirs
        ]
        return self.weight * sum(distances[1:], distances[0]) / len(distances)
