"""Nearest neighbours on frozen features of one network after the other (DSPNet Sec. 0.A.2)."""

from __future__ import annotations

import warnings
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from mmengine.config import Config
from tqdm import tqdm

from mmssl_dynamic.apis.loading import find_config, load_config
from mmssl_dynamic.apis.probing import LINEAR
from mmssl_dynamic.errors import DataError
from mmssl_dynamic.evaluation.knn import KNNProtocol, knn_accuracy
from mmssl_dynamic.evaluation.linear_probe import set_image_size
from mmssl_dynamic.evaluation.networks import Network
from mmssl_dynamic.evaluation.pooling import pooled_features
from mmssl_dynamic.routing.task import Task

#: DSPNet Table 1a: "the most frequent label of its K-nearest neighbors (K = 20)".
KNN = KNNProtocol(k=20, vote="majority")


def evaluation_pipeline(config: Config, image_size: int | None) -> list[dict]:
    """The config's own evaluation pipeline; the usual one where it has none, or for another image size."""
    if image_size is None and config.get("eval_pipeline") is not None:
        return config.eval_pipeline
    usual = load_config(find_config(LINEAR))
    set_image_size(usual, image_size if image_size is not None else usual.image_size)
    return usual.test_pipeline


class NearestNeighbours:
    """Classifies the test images by their nearest neighbours among the training images.

    Args:
        protocol: How to vote.
        task: Labelled images.
        pipelines: What its data sets do to an image, for results.
        preprocessor: ``data_preprocessor`` of the pre-training.
        batch_size: Images per batch, 64 when left out.
        num_workers: Loader processes, 2 when left out.
        device: Of the networks.
        progress: Show bars with the time left.
    """

    def __init__(
        self,
        protocol: KNNProtocol,
        task: Task,
        pipelines: dict[str, Any],
        preprocessor: dict | None,
        batch_size: int | None,
        num_workers: int | None,
        device: torch.device,
        progress: bool,
    ) -> None:
        self.protocol, self.device, self.progress = protocol, device, progress
        self.pipelines = pipelines
        workers = 2 if num_workers is None else num_workers
        self.splits = task.splits(preprocessor, batch_size or 64, workers, device)
        height, width = task.datasets["test"][0]["inputs"].shape[-2:]
        self.size = (int(height), int(width))
        self._cut = min(protocol.k, len(task.datasets["train"]))
        if self._cut < protocol.k:
            warnings.warn(f"k={protocol.k} is cut to {self._cut}, the number of training images.", stacklevel=3)

    def record(self) -> dict[str, Any]:
        """The protocol, for results."""
        sizes = {"k_used": self._cut, "image_size": list(self.size)}
        return {"kind": "knn", **self.protocol.record(), **sizes, "pipelines": self.pipelines}

    def __call__(self, network: Network, folder: Path, label: str) -> tuple[float, None]:
        """Accuracy of one network."""
        bank, bank_labels = pooled_features(network.backbone, self._bar(self.splits.train, f"{label} train"))
        queries, labels = pooled_features(network.backbone, self._bar(self.splits.test, f"{label} test"))
        assert bank_labels is not None
        assert labels is not None
        protocol = replace(self.protocol, k=self._cut)
        try:
            return knn_accuracy(bank, bank_labels, queries, labels, protocol, self.device), None
        except DataError as error:
            raise DataError(f"network '{network.name}': {error}") from error

    def _bar(self, batches: Any, label: str) -> Iterable[Any]:
        return tqdm(batches, desc=label, unit="batch", disable=not self.progress, leave=False)
