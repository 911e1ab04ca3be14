"""Accuracy of every sub-network in one validation."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from mmengine.evaluator import BaseMetric

from mmssl_dynamic.errors import ConfigError
from mmssl_dynamic.registry import METRICS


@METRICS.register_module()
class SubnetAccuracy(BaseMetric):
    """Top-k accuracy in percent of every network that a sample has predictions of: ``w0.5/top1``, ``w0.75/top1``, ...

    K classes.

    Args:
        topk: The k.
        kwargs: Those of mmengine's ``BaseMetric``.

    Raises:
        ConfigError: a k below 1.
    """

    default_prefix = None

    def __init__(self, topk: int | Sequence[int] = (1,), **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.topk = (topk,) if isinstance(topk, int) else tuple(topk)
        if not self.topk or min(self.topk) < 1:
            raise ConfigError(f"SubnetAccuracy needs positive numbers in topk, not topk={topk}.")

    def process(self, data_batch: Any, data_samples: Sequence[dict]) -> None:
        """Note for every sample whether its label is among the first k of each network.

        Args:
            data_batch: Not used.
            data_samples: With ``gt_label`` and ``subnet_scores``, probabilities (K,) by the network's name.

        Raises:
            ConfigError: the model does not predict with several networks, a label is missing, or a k exceeds K.
        """
        for sample in data_samples:
            scores, label = sample.get("subnet_scores"), sample.get("gt_label")
            if scores is None or label is None:
                lacking, remedy = ("labels", "use data with classes")
                if scores is None:
                    lacking = "predictions of sub-networks"
                    remedy = "evaluate a mmssl_dynamic.SlimmableImageClassifier, or use type='Accuracy'"
                raise ConfigError(f"SubnetAccuracy finds no {lacking}; {remedy}.")
            self.results.append({name: self._hits(values, int(label)) for name, values in scores.items()})

    def _hits(self, scores: torch.Tensor, label: int) -> list[bool]:
        most = max(self.topk)
        if most > len(scores):
            raise ConfigError(f"SubnetAccuracy cannot take the first {most} of {len(scores)} classes; lower topk.")
        ranking = scores.topk(most).indices.tolist()
        return [label in ranking[:k] for k in self.topk]

    def compute_metrics(self, results: list[dict[str, list[bool]]]) -> dict[str, float]:
        """Mean over all samples, by network and k."""
        return {
            f"{name}/top{k}": 100.0 * sum(result[name][i] for result in results) / len(results)
            for name in results[0]
            for i, k in enumerate(self.topk)
        }
