"""Nearest neighbours on frozen features of one network after the other (DSPNet Sec. 0.A.2)."""

from __future__ import annotations

import shutil
import warnings
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from mmengine.config import Config
from tqdm import tqdm

from mmssl_dynamic.datasets.kept_images import ImageKeeper
from mmssl_dynamic.datasets.normalisation import Normalisation
from mmssl_dynamic.downstream.task import Task
from mmssl_dynamic.errors import DataError
from mmssl_dynamic.evaluation.knn import Array, KNNProtocol, knn_accuracy
from mmssl_dynamic.evaluation.linear_probe import set_image_size
from mmssl_dynamic.evaluation.probing import LINEAR
from mmssl_dynamic.execution import Execution
from mmssl_dynamic.features.extract import write_features
from mmssl_dynamic.features.networks import Network
from mmssl_dynamic.features.pooling import pooled_features
from mmssl_dynamic.loading import find_config, load_config
from mmssl_dynamic.processes import Processes


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
        normalisation: That of the pre-training.
        execution: Images per batch, 64 when left out, workers, 2 when left out, and whether to show bars.
        device: Of the networks.
        processes: Those that share the images out.
        kept: Where decoded images wait for the next network.
    """

    def __init__(
        self,
        protocol: KNNProtocol,
        task: Task,
        normalisation: Normalisation,
        execution: Execution,
        device: torch.device,
        processes: Processes | None = None,
        kept: ImageKeeper | None = None,
    ) -> None:
        self.protocol, self.task, self.normalisation, self.device = protocol, task, normalisation, device
        self.execution = Execution.of(execution, launcher=True, workers=2)
        self.processes, self.kept = processes or Processes(), kept
        self.splits = task.splits(normalisation, *self.execution.loading, device, kept)
        height, width = task.datasets["test"][0]["inputs"].shape[-2:]
        self.size = (int(height), int(width))
        self._cut = min(protocol.k, len(task.datasets["train"]))
        if self._cut < protocol.k:
            warnings.warn(f"k={protocol.k} is cut to {self._cut}, the number of training images.", stacklevel=3)

    def record(self) -> dict[str, Any]:
        """The protocol, for results."""
        sizes = {"k_used": self._cut, "image_size": list(self.size)}
        images = {"normalisation": self.normalisation.record(), "pipelines": self.task.pipelines()}
        return {"kind": "knn", **self.protocol.record(), **sizes, **images}

    def __call__(self, network: Network, folder: Path, label: str) -> tuple[float, None]:
        """Accuracy of one network; ``folder`` holds features that do not fit into memory, and is gone afterwards."""
        images = sum(len(self.task.datasets[part]) for part in ("train", "test"))
        memory = self.protocol.memory_gib
        # A quarter holds the features, a second one their concatenation, and then half of it their comparison.
        fits = 4 * images * network.feature_dim <= memory / 4 * 2**30
        protocol = replace(self.protocol, k=self._cut, memory_gib=memory / 2 if fits else memory)
        features = self._in_memory if fits else self._on_disk
        try:
            bank, queries = (features(network, part, folder, label) for part in ("train", "test"))
            accuracy = knn_accuracy(*bank, *queries, protocol, self.device, self.processes)
        except DataError as error:
            raise DataError(f"network '{network.name}': {error}") from error
        if not fits and self.processes.first:
            shutil.rmtree(folder)
        return accuracy, None

    def _in_memory(self, network: Network, part: str, folder: Path, label: str) -> tuple[Array, Array]:
        """Features and labels of the images of a part."""
        bar = partial(tqdm, desc=f"{label} {part}", unit="batch", disable=not self.execution.progress, leave=False)
        found, labels = pooled_features(
            network.backbone, getattr(self.splits, part), processes=self.processes, shown=bar
        )
        assert labels is not None
        return found, labels

    def _on_disk(self, network: Network, part: str, folder: Path, label: str) -> tuple[Array, Array]:
        """Memory-mapped features and labels of the images of a part."""
        dataset = self.task.datasets[part]
        found = write_features(
            network.backbone,
            dataset,
            self.normalisation,
            folder / f"{part}.npy",
            execution=self.execution,
            processes=self.processes,
            kept=self.kept,
        )
        return found.rows, self.task.labels(part)
