"""Pooled features of any backbone, in memory: what kNN compares.

N images, C channels of the last feature map = D feature dim, H W height and width.
"""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import nullcontext
from typing import Any

import torch
from torch import Tensor, nn

from mmssl_dynamic.errors import DataError
from mmssl_dynamic.models.eval_mode import eval_mode


def pool(feature_map: Tensor) -> Tensor:
    """Global average pooling, (N, C, H, W) -> (N, C); features that are pooled already stay as they are."""
    return feature_map.flatten(2).mean(2) if feature_map.ndim > 2 else feature_map


def pooled_features(
    backbone: nn.Module, batches: Iterable[Any], name: str | None = None
) -> tuple[Tensor, Tensor | None]:
    """Features of all images and their labels.

    Args:
        backbone: Anything that returns feature maps: a plain ResNet, a static twin, or a super-network.
        batches: Batches of :class:`~mmssl_dynamic.datasets.batches.ImageBatches`.
        name: Sub-network to activate, for a super-network; ``'full'`` when left out.

    Returns:
        Features (N, D), float32 on the CPU, and labels (N,), or ``None`` if the data set has none.

    Raises:
        DataError: there are no images.
        MissingStatisticsError: the sub-network has no BatchNorm statistics.
    """
    features: list[Tensor] = []
    labels: list[Tensor | None] = []
    active = nullcontext() if name is None else backbone.subnet(name)  # type: ignore[operator]
    with eval_mode(backbone), active:
        for batch in batches:
            outputs = backbone(batch.images)
            last = outputs[-1] if isinstance(outputs, (tuple, list)) else outputs
            features.append(pool(last).float().cpu())
            labels.append(batch.labels)
    if not features:
        raise DataError("there are no images to compute features of.")
    known = [label.cpu() for label in labels if label is not None]
    return torch.cat(features), torch.cat(known) if len(known) == len(labels) else None
