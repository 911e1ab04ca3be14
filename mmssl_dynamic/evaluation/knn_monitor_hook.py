"""KNN accuracy on labelled images during the training, which a loss of self-supervision tells little about."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmengine.dist import barrier, is_main_process
from mmengine.hooks import Hook
from mmengine.runner import EpochBasedTrainLoop, Runner
from torch import nn

from mmssl_dynamic.calibration.calibrate import load_statistics
from mmssl_dynamic.calibration.moments import pooled_statistics
from mmssl_dynamic.calibration.sample import CalibrationImages, draw_images
from mmssl_dynamic.datasets.batches import ImageBatches, build_dataset
from mmssl_dynamic.datasets.sample_request import seeded
from mmssl_dynamic.downstream import Splits
from mmssl_dynamic.downstream.splits import balanced_order, count_images, labels_of, take
from mmssl_dynamic.downstream.task import Task
from mmssl_dynamic.engine.unwrap import bare_model, shared_seed
from mmssl_dynamic.errors import ConfigError, DataError
from mmssl_dynamic.evaluation.knn import KNNProtocol, knn_accuracy, leave_one_out_accuracy, protocol_text
from mmssl_dynamic.features.pooling import pooled_features
from mmssl_dynamic.loading import build_backbone, need, normalisation_of
from mmssl_dynamic.models.backbones import SuperNetwork
from mmssl_dynamic.registry import HOOKS
from mmssl_dynamic.subnets import FULL, PathSpace

_SEED_STREAM = "knn monitor"


@HOOKS.register_module()
class KNNMonitorHook(Hook):
    """Classifies the images of a folder by their nearest neighbours every few epochs, and logs the accuracy.

    Of SDR it looks at the full network, of a slimmable network at the smallest and the largest, of a plain one at
    itself. Each runs with BatchNorm statistics pooled over a sample of ``extract_dataloader``, as at the end of the
    training, for the running ones do not fit a sub-network. The first value is from before the first step. Nothing of
    the training changes: copies are evaluated, and random states are put back.

    Args:
        data_root: Folder with ``train/CLASS/`` and ``test/CLASS/`` or ``val/CLASS/``: the latter are classified by the
            former (``val/`` where there are both). Or a folder of ``CLASS/``, whose images classify each other.
        interval: Epochs (of a loop without epochs: steps) between two values; about ten values in all when left out.
        images: Images of each part at most, of all classes in proportion.
        calibration_images: Images for the BatchNorm statistics.
        batch_size: Images per batch.
        k, temperature, vote: See :class:`~mmssl_dynamic.evaluation.KNNProtocol`. 20 neighbours and not the package's
            200: a folder to look at is often small.

    Raises:
        ConfigError: a value that cannot work; at the start, a config that lacks what is needed.
        DataError: at the start, the folder is missing or has no two classes.
    """

    # After the step is complete, moving averages and all, and before a checkpoint is written.
    priority = "LOW"

    def __init__(
        self,
        data_root: str,
        interval: int | None = None,
        images: int = 2000,
        calibration_images: int = 512,
        batch_size: int = 128,
        k: int = 20,
        temperature: float = 0.07,
        vote: str = "weighted",
    ) -> None:
        if (interval is not None and interval < 1) or images < 2 or calibration_images < 2 or batch_size < 2:
            raise ConfigError(
                f"KNNMonitorHook needs interval={interval} of at least 1, and images={images}, "
                f"calibration_images={calibration_images} and batch_size={batch_size} of at least 2."
            )
        self.data_root, self.interval, self.images = data_root, interval, images
        self.calibration_images, self.batch_size = calibration_images, batch_size
        self.protocol = KNNProtocol(k, temperature, vote)
        self._splits: Splits | None = None
        self._steps: frozenset[int] = frozenset()

    def before_train(self, runner: Runner) -> None:
        """Find out now whether it can be done, and measure where the training begins."""
        need(runner.cfg, "eval_pipeline")
        if isinstance(_backbone(runner), SuperNetwork):
            need(runner.cfg, "extract_dataloader")
        unit = len(runner.train_dataloader) if isinstance(runner.train_loop, EpochBasedTrainLoop) else 1
        length = runner.max_iters // unit
        interval = self.interval or max(1, length // 10)
        self._steps = frozenset(unit * time for time in (*range(interval, length, interval), length))
        if is_main_process():
            device = next(runner.model.parameters()).device
            with seeded(0):
                self._splits = self._open(runner, device)
            runner.logger.info(
                f"Watching by {protocol_text(self.protocol.record())} on {self.data_root} "
                f"({count_images(self._splits.train)} images in the bank)."
            )
        if runner.iter == 0:
            self.measure(runner, 0)

    def after_train_iter(
        self, runner: Runner, batch_idx: int, data_batch: dict | None = None, outputs: dict[str, Any] | None = None
    ) -> None:
        """Measure, if it is time."""
        if runner.iter + 1 in self._steps:
            self.measure(runner, runner.iter + 1)

    def measure(self, runner: Runner, step: int) -> dict[str, float]:
        """Accuracy in percent by network, logged at ``step``; the main process alone knows it."""
        found: dict[str, float] = {}
        if is_main_process():
            assert self._splits is not None
            with seeded(0):  # a loader draws from torch's random numbers, and the training must not notice
                for name, network in self._networks(runner):
                    found[name] = _accuracy(network, self._splits, self.protocol)
            shown = ", ".join(f"{name} {value:.1f} %" for name, value in found.items())
            runner.logger.info(f"kNN accuracy after step {step} of {runner.max_iters}: {shown}")
            runner.visualizer.add_scalars({f"knn/{name}": value for name, value in found.items()}, step=step)
        barrier()
        return found

    def _open(self, runner: Runner, device: torch.device) -> Splits:
        """The labelled images: a bank, and images to classify unless the bank's classify each other."""
        pipeline, root = runner.cfg.eval_pipeline, Path(self.data_root).expanduser()
        workers = (runner.cfg.get("extract_dataloader") or {}).get("num_workers", 0)
        normalisation = normalisation_of(runner.cfg)
        if (root / "train").is_dir():
            found = Task.from_folder(root, pipeline).splits(normalisation, self.batch_size, workers, device)
            train, queries = found.train, found.val if found.val is not None else found.test
        else:
            dataset = build_dataset(
                {
                    "type": "mmssl_dynamic.ImageFolder",
                    "data_root": str(root),
                    "with_label": True,
                    "pipeline": list(pipeline),
                }
            )
            if len(dataset.CLASSES) < 2:
                raise DataError(
                    f"--monitor {root} has only one class, {dataset.CLASSES[0]}; kNN needs at least two class folders."
                )
            train = ImageBatches(dataset, normalisation, self.batch_size, num_workers=workers, device=device)
            queries = None
        return Splits(self._part(train), None if queries is None else self._part(queries))

    def _part(self, batches: Any) -> Any:
        count = count_images(batches)
        if count <= self.images:
            return batches
        return take(batches, balanced_order(labels_of(batches), count, 0)[: self.images])

    def _networks(self, runner: Runner) -> Iterator[tuple[str, nn.Module]]:
        """Copies of what is watched, with BatchNorm statistics of their own."""
        backbone = _backbone(runner)
        if isinstance(backbone, SuperNetwork):
            sizes = (FULL,) if isinstance(backbone.space, PathSpace) else (backbone.subnets[0], backbone.subnets[-1])
            copies = [(name, backbone.static(name)) for name in dict.fromkeys(sizes)]
        else:  # built anew, with BatchNorm of one process
            network = build_backbone(runner.cfg)
            network.load_state_dict(backbone.state_dict())
            copies = [(FULL, network.to(next(backbone.parameters()).device))]
        data = None if runner.cfg.get("extract_dataloader") is None else CalibrationImages.of(runner.cfg)
        for name, network in copies:
            if data is not None:
                sample = draw_images(np.arange(len(data)), self.calibration_images, shared_seed(runner), _SEED_STREAM)
                parts = data.batches(sample, self.batch_size, next(network.parameters()).device)
                load_statistics(network, pooled_statistics(network, (batch for part in parts for batch in part)))
            yield name, network


def _backbone(runner: Runner) -> nn.Module:
    backbone = getattr(bare_model(runner.model), "backbone", None)
    if not isinstance(backbone, nn.Module):
        raise ConfigError("KNNMonitorHook (--monitor) needs a model with a backbone; leave it out.")
    return backbone


def _accuracy(network: nn.Module, splits: Splits, protocol: KNNProtocol) -> float:
    bank, labels = pooled_features(network, splits.train)
    assert labels is not None
    if splits.test is None:
        return leave_one_out_accuracy(bank, labels, protocol)
    queries, truth = pooled_features(network, splits.test)
    assert truth is not None
    return knn_accuracy(bank, labels, queries, truth, protocol)
