"""Pooled features of any backbone, in memory: what kNN compares.

N images, C channels of the last feature map = D feature dim, H W height and width.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import nullcontext
from typing import Any

import torch
from torch import Tensor, nn

from mmssl_dynamic.datasets.batches import share_of
from mmssl_dynamic.errors import DataError
from mmssl_dynamic.models.eval_mode import eval_mode
from mmssl_dynamic.processes import Processes


def pool(feature_map: Tensor) -> Tensor:
    """Global average pooling, (N, C, H, W) -> (N, C); features that are pooled already stay as they are."""
    return feature_map.flatten(2).mean(2) if feature_map.ndim > 2 else feature_map


def pooled_features(
    backbone: nn.Module,
    batches: Iterable[Any],
    name: str | None = None,
    processes: Processes | None = None,
    shown: Callable[[Iterable[Any]], Iterable[Any]] = iter,
) -> tuple[Tensor, Tensor | None]:
    """Features of all images and their labels.

    Args:
        backbone: Anything that returns feature maps: a plain ResNet, a static twin, or a super-network.
        batches: Batches of :class:`~mmssl_dynamic.datasets.batches.ImageBatches`.
        name: Sub-network to activate, for a super-network; ``'full'`` when left out.
        processes: Those that share the batches out; every one gets all features.
        shown: Goes through the batches of this process, with a bar perhaps.

    Returns:
        Features (N, D), float32 on the CPU, and labels (N,), or ``None`` if the data set has none.

    Raises:
        DataError: there are no images.
        MissingStatisticsError: the sub-network has no BatchNorm statistics.
    """
    processes = processes or Processes()
    features: list[Tensor] = []
    labels: list[Tensor | None] = []
    active = nullcontext() if name is None else backbone.subnet(name)  # type: ignore[operator]
    with eval_mode(backbone), active:
        for batch in shown(share_of(batches, processes)):
            outputs = backbone(batch.images)
            last = outputs[-1] if isinstance(outputs, (tuple, list)) else outputs
            features.append(pool(last).float().cpu())
            labels.append(None if batch.labels is None else batch.labels.cpu())
    if processes.count > 1:
        parts = processes.gathered(([rows.numpy() for rows in features], labels))
        features = [torch.from_numpy(rows) for part, _ in parts for rows in part]
        labels = [label for _, part in parts for label in part]
    if not features:
        raise DataError("there are no images to compute features of.")
    known = [label for label in labels if label is not None]
    return torch.cat(features), torch.cat(known) if len(known) == len(labels) else None
