"""What quantisation costs: features, accuracy by nearest neighbours, latency and size of a graph before and after.

N images, D feature dimension.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, replace
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import cosine_similarity

from mmssl_dynamic.datasets.batches import Batch
from mmssl_dynamic.datasets.normalisation import Normalisation
from mmssl_dynamic.downstream.task import Task
from mmssl_dynamic.evaluation.knn import KNNProtocol, knn_accuracy, protocol_text
from mmssl_dynamic.evaluation.latency import device_name, timed
from mmssl_dynamic.export.graph_format import Run
from mmssl_dynamic.features.pooling import pool, pooled_features

_REPEATS, _WARM_UP = 50, 10  # passes, as of the verb latency
_BATCH = 32  # images a pass where features are computed


@dataclass(frozen=True)
class BeforeAfter:
    """A figure of the graph in float32, and of the one in INT8."""

    before: float
    after: float


@dataclass(frozen=True)
class Similarity:
    """Cosines between the pooled features of images by two graphs: 1 where kNN sees no difference.

    Attributes:
        mean: Over the images.
        least: Of the image that differs most.
        images: How many.
    """

    mean: float
    least: float
    images: int

    @classmethod
    def of(cls, graphs: tuple[Run, Run], batches: Iterable[Batch], batch_size: int | None) -> Similarity:
        """Compare two graphs.

        Args:
            graphs: That in float32 and that in INT8.
            batches: The images, normalised; one that fills up the last batch counts once.
            batch_size: That the graphs are fixed to, if they are.
        """
        one, other = (_Graph(run, batch_size) for run in graphs)
        found: dict[int, float] = {}
        for batch in batches:
            cosines = cosine_similarity(pool(one(batch.images)), pool(other(batch.images)))  # (N,)
            found.update(zip(batch.indices, cosines.tolist()))
        return cls(sum(found.values()) / len(found), min(found.values()), len(found))


@dataclass(frozen=True)
class Comparison:
    """Two graphs of one network.

    Attributes:
        features: Of the calibration images.
        latency_ms: Medians, in milliseconds.
        latency_conditions: How they were measured.
        size_bytes: Of the files.
        accuracy: In percent; ``None`` without a task.
        task: Name and images of the task.
        protocol: How its test images were classified.
    """

    features: Similarity
    latency_ms: BeforeAfter
    latency_conditions: dict[str, Any]
    size_bytes: BeforeAfter
    accuracy: BeforeAfter | None = None
    task: Mapping[str, Any] | None = None
    protocol: Mapping[str, Any] | None = None

    @classmethod
    def of(
        cls,
        graphs: tuple[Run, Run],
        features: Similarity,
        sizes: tuple[int, int],
        shape: tuple[int, int, int, int],
    ) -> Comparison:
        """Measure latency.

        Args:
            graphs: That in float32 and that in INT8, of one thread each.
            features: How near those of the two are.
            sizes: Of their files, in bytes.
            shape: (N, C, H, W) of the images of a timed pass.
        """
        noise = np.random.default_rng(0).standard_normal(shape).astype(np.float32)
        before, after = (timed(partial(run, noise), _REPEATS, _WARM_UP)[0] for run in graphs)
        conditions = {
            "device": device_name(torch.device("cpu")),
            "threads": 1,
            "shape": list(shape),
            "repeats": _REPEATS,
            "warm_up": _WARM_UP,
        }
        return cls(features, BeforeAfter(before, after), conditions, BeforeAfter(*map(float, sizes)))

    def on(
        self, task: Task, graphs: tuple[Run, Run], normalisation: Normalisation, batch_size: int | None
    ) -> Comparison:
        """The same with the accuracies on a task.

        Args:
            task: Labelled images.
            graphs: That in float32 and that in INT8.
            normalisation: Of the images.
            batch_size: That the graphs are fixed to, if they are.

        Raises:
            DataError: the features cannot be compared.
        """
        protocol, scores = KNNProtocol(), []
        for run in graphs:
            network, splits = _Graph(run, batch_size), task.splits(normalisation, batch_size or _BATCH)
            assert splits.test is not None
            train, test = (pooled_features(network, part)[0] for part in (splits.train, splits.test))
            scores.append(knn_accuracy(train, task.labels("train"), test, task.labels("test"), protocol))
        return replace(
            self, accuracy=BeforeAfter(*scores), task=task.record(), protocol={"kind": "knn", **protocol.record()}
        )

    def record(self) -> dict[str, Any]:
        """For the sidecar."""
        return asdict(self)

    def text(self) -> list[str]:
        """A sentence for each figure."""
        found = []
        if self.accuracy is not None and self.task is not None and self.protocol is not None:
            name, before, after = self.task["name"], self.accuracy.before, self.accuracy.after
            how = protocol_text(self.protocol)
            found.append(f"accuracy on {name}: {before:.2f} % in float32, {after:.2f} % in INT8 ({how}).")
        shape = " x ".join(map(str, self.latency_conditions["shape"]))
        near = self.features
        return [
            f"pooled features of {near.images} calibration images: cosine {near.mean:.4f} with those in float32, "
            f"{near.least:.4f} at least.",
            *found,
            f"latency here: {self.latency_ms.before:.2f} ms in float32, {self.latency_ms.after:.2f} ms in INT8 (median "
            f"of {_REPEATS} passes, {shape}, one thread).",
            f"size: {self.size_bytes.before / 2**20:.2f} MiB in float32, {self.size_bytes.after / 2**20:.2f} MiB in "
            "INT8.",
        ]


class _Graph(nn.Module):
    """A graph as a network of PyTorch; the last batch is filled up to the size that the graph may be fixed to."""

    def __init__(self, run: Run, batch_size: int | None) -> None:
        super().__init__()
        self.run, self.batch_size = run, batch_size

    def forward(self, images: Tensor) -> Tensor:
        """Images (N, C, H, W) to the last feature map."""
        count = len(images)
        given = np.zeros((self.batch_size or count, *images.shape[1:]), np.float32)
        given[:count] = images.numpy()
        return torch.from_numpy(self.run(given)[-1][:count])
