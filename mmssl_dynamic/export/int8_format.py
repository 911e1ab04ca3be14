"""The format ``onnx_int8``: an ONNX graph whose weights and feature maps have eight bits.

onnxruntime's static quantisation measures the ranges of all feature maps on images of yours (QDQ: the operators stay,
with a quantiser before and behind each, which runtimes fuse into integer kernels).
"""

from __future__ import annotations

import contextlib
import logging
import os
import tempfile
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from mmssl_dynamic.datasets.batches import ImageBatches, build_dataset
from mmssl_dynamic.downstream.task import Task
from mmssl_dynamic.errors import ConfigError
from mmssl_dynamic.export.base import Source
from mmssl_dynamic.export.graph_format import INPUT
from mmssl_dynamic.export.input_images import InputImages
from mmssl_dynamic.export.onnx_format import OnnxFormat
from mmssl_dynamic.export.quantised import Comparison, Similarity
from mmssl_dynamic.registry import FORMATS

PathLike = str | os.PathLike[str]
_BATCH = 8  # images a pass while ranges are measured
_RANGES = "mean over batches of the smallest and largest values"


@FORMATS.register_module("onnx_int8")
class OnnxInt8Format(OnnxFormat):
    """An ONNX graph in INT8.

    What it costs is measured and written into the sidecar: the largest difference of the outputs on calibration images
    and the cosine of their pooled features, kNN accuracy on a task before and after, latency before and after.

    Args:
        calibration_images: Folder of images like those that the network will see; labels are not needed.
        calibration_count: How many of them to use, evenly spaced.
        task: Labelled images for the accuracies: a folder with ``train/`` and ``test/`` (or ``val/``), or a config file
            with the data sets ``train`` and ``test``. No accuracies when left out.
        opset: As of :class:`OnnxFormat`.
        batch_size: Likewise.
        image_size: Likewise.
    """

    precision = "INT8"
    agreement = "are near those of"
    # Nothing but zeros deviates by 1, other features by more. How good a graph is, the accuracy says.
    tolerance = 0.8
    remedy = (
        "Eight bits are too coarse for this network, or --calibration-images are unlike those that it was trained on: "
        "give others, or keep float32."
    )

    def __init__(
        self,
        calibration_images: PathLike | None = None,
        calibration_count: int = 200,
        task: PathLike | None = None,
        opset: int | None = None,
        batch_size: int | None = None,
        image_size: int | None = None,
    ) -> None:
        super().__init__(opset, batch_size, image_size)
        self.folder, self.count, self.task = calibration_images, calibration_count, task
        self._comparison: Comparison | None = None

    def ready(self) -> None:
        """Refuse to go without images to calibrate with."""
        super().ready()
        if self.folder is None:
            raise ConfigError(
                "the export format 'onnx_int8' measures ranges on images; run `mmssl-dynamic export` with "
                "--calibration-images DIR."
            )
        if self.count < 1:
            raise ConfigError(f"--calibration-count {self.count} must be at least 1.")

    def write(self, source: Source, path: Path) -> None:
        """Write the graph in float32 elsewhere, quantise it, and compare the two."""
        batches, task = self._calibration(source.images), None
        if self.task is not None:
            task = Task.given(self.task, source.images.eval_pipeline, ("train", "test"))
        with tempfile.TemporaryDirectory(prefix="mmssl_int8_") as folder:
            plain, prepared, small = (Path(folder) / f"{name}.onnx" for name in ("plain", "prepared", "small"))
            super().write(source, plain)
            _quantise(plain, prepared, small, (batch.images.numpy() for batch in batches))
            path.write_bytes(small.read_bytes())
            graphs = self.run(plain, 1), self.run(path, 1)
            sizes = plain.stat().st_size, path.stat().st_size
            near = Similarity.of(graphs, batches, self.batch_size)
            self._comparison = Comparison.of(graphs, near, sizes, self.example_shape(source))
            if task is not None:
                self._comparison = self._comparison.on(task, graphs, source.images.normalisation, self.batch_size)
        folder = os.path.abspath(os.fspath(self.folder or ""))
        self._written["calibration"] = {"folder": folder, "images": near.images, "ranges": _RANGES}

    def batches(self, source: Source) -> list[Tensor]:
        """Calibration images: of noise the ranges know nothing."""
        return [batch.images for batch in islice(self._calibration(source.images), 2)]

    def deviation(self, outputs: Tensor, expected: Tensor) -> float:
        """The norm of the difference, as a part of the feature map's: single values may differ by much."""
        return float((outputs - expected).norm()) / max(float(expected.norm()), 1e-6)

    def details(self, source: Source) -> dict[str, Any]:
        """What INT8 costs, too."""
        found = super().details(source)
        return found if self._comparison is None else {**found, "int8": self._comparison.record()}

    def notes(self) -> list[str]:
        """Features, accuracy, latency and size before and after."""
        return [] if self._comparison is None else self._comparison.text()

    def _calibration(self, images: InputImages) -> ImageBatches:
        """The images as in evaluation.

        Raises:
            ConfigError: the pre-training config does not say how that is, or the graph takes another size.
        """
        if not images.eval_pipeline:
            raise ConfigError("quantisation needs images as in evaluation; define eval_pipeline in the config.")
        kind = {"type": "mmssl_dynamic.ImageFolder", "with_label": False, "pipeline": images.eval_pipeline}
        dataset = build_dataset({**kind, "data_root": os.fspath(self.folder or "")})
        chosen = np.linspace(0, len(dataset) - 1, min(self.count, len(dataset))).round().astype(int)
        # Shuffled: images of a folder are alike, and the mean over batches would leave no room for a folder of others.
        chosen = np.random.default_rng(0).permutation(chosen)
        if self.batch_size is not None:  # batches are full: the first images stand in
            chosen = np.resize(chosen, -(-len(chosen) // self.batch_size) * self.batch_size)
        size = tuple(dataset[0]["inputs"].shape[-2:])
        if self.image_size is not None and size != (self.image_size,) * 2:
            raise ConfigError(
                f"the graph takes images of {self.image_size} x {self.image_size} px alone, and the config's "
                f"eval_pipeline makes {size[0]} x {size[1]}; let the two agree."
            )
        return ImageBatches(dataset, images.normalisation, self.batch_size or _BATCH, indices=chosen.tolist())


def _quantise(plain: Path, prepared: Path, small: Path, images: Iterator[NDArray[Any]]) -> None:
    """Quantise a graph.

    Args:
        plain: The graph in float32.
        prepared: File for the same, its constants folded.
        small: File for the graph in INT8.
        images: Batches (N, C, H, W), normalised.
    """
    from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static
    from onnxruntime.quantization.shape_inference import quant_pre_process

    class Reader(CalibrationDataReader):
        def get_next(self) -> dict[str, NDArray[Any]] | None:
            found = next(images, None)
            return None if found is None else {INPUT: found}

    with _quietly():
        quant_pre_process(str(plain), str(prepared), skip_symbolic_shape=True)
        quantize_static(
            str(prepared),
            str(small),
            Reader(),
            quant_format=QuantFormat.QDQ,
            per_channel=True,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            # The mean over batches of their smallest and largest values: one image's outlier widens no range, which
            # leaves more of the 256 steps for the others. Nearer to float32 than the extremes of all images.
            extra_options={"CalibMovingAverage": True},
        )


@contextlib.contextmanager
def _quietly() -> Iterator[None]:
    """Keep the quantiser from advice that is followed already."""
    root = logging.getLogger()
    level = root.level
    root.setLevel(logging.ERROR)
    try:
        yield
    finally:
        root.setLevel(level)
