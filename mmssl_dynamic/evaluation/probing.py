"""Training a classifier on a network: linear probes and semi-supervised learning, by ``configs/transfer``."""

from __future__ import annotations

import itertools
import os
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mmengine.config import Config
from mmengine.dist import barrier, get_world_size, is_main_process

from mmssl_dynamic.cpu import prepare_cpu
from mmssl_dynamic.datasets.normalisation import Normalisation
from mmssl_dynamic.downstream.label_subsets import LabelSubset, write_labels
from mmssl_dynamic.downstream.task import Task
from mmssl_dynamic.engine.checkpoints import go_on_if_begun
from mmssl_dynamic.engine.launch import build_runner, prepare_config
from mmssl_dynamic.errors import ConfigError
from mmssl_dynamic.evaluation.linear_probe import (
    is_frozen,
    last_stage,
    set_data,
    set_image_size,
    set_network,
    training_record,
)
from mmssl_dynamic.execution import Execution
from mmssl_dynamic.features.networks import Network
from mmssl_dynamic.loading import find_config, load_config
from mmssl_dynamic.registry import default_scope_kept
from mmssl_dynamic.writing import save_torch

LINEAR = "transfer/linear_dspnet.py"
SEMISUP = {"finetune": "transfer/semisup_finetune_dspnet.py", "frozen": "transfer/semisup_frozen_dspnet.py"}

# mmengine keeps loggers and message hubs by the name of the experiment, for as long as the process lives.
_counter = itertools.count()


@dataclass(frozen=True)
class TrainedProtocol:
    """A classifier is trained on each network.

    Args:
        kind: ``'linear'`` or ``'semisup'``.
        config: A transfer config; that of DSPNet for ``kind`` and ``mode`` when left out.
        mode: Semi-supervised: ``'finetune'`` or ``'frozen'``.
        labels: Semi-supervised: whose labels may be used.
        cfg_options: Overrides of the transfer config.
        image_size: Side of the crops; the transfer config's when left out.
        seed: Of the training.

    Raises:
        ConfigError: options that do not belong together.
    """

    kind: str = "linear"
    config: str | os.PathLike[str] | None = None
    mode: str = "finetune"
    labels: LabelSubset | None = None
    cfg_options: dict[str, Any] = field(default_factory=dict)
    image_size: int | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        if self.kind not in ("linear", "semisup") or self.mode not in SEMISUP:
            raise ConfigError(f"unknown protocol '{self.kind}' (mode '{self.mode}'); choose knn, linear or semisup.")
        if self.kind == "semisup" and self.labels is None:
            LabelSubset()  # says what is missing
        if self.kind == "linear" and self.labels is not None:
            raise ConfigError("a linear probe uses all labels; give --protocol semisup for a part of them.")

    @property
    def file(self) -> Path:
        """The transfer config."""
        if self.config is not None:
            return Path(self.config)
        return find_config(LINEAR if self.kind == "linear" else SEMISUP[self.mode])

    @property
    def test_pipeline(self) -> list[dict]:
        """What test images go through."""
        return load_config(self.file).get("test_pipeline") or []


class Probe:
    """Trains and tests a classifier on one network after the other.

    Args:
        protocol: What to do.
        task: Labelled images; they go through the transfer config's pipelines unless their own configs name one.
        normalisation: That of the pre-training.
        execution: Batch size (per step and process) and workers, the transfer config's when left out; what started the
            processes that train together, see :mod:`mmssl_dynamic.processes`; and whether to show bars.
    """

    def __init__(
        self,
        protocol: TrainedProtocol,
        task: Task,
        normalisation: Normalisation,
        execution: Execution,
    ) -> None:
        self.protocol, self.task, self.normalisation, self.execution = protocol, task, normalisation, execution
        self._warned = False
        self._labelled = protocol.labels.indices(task) if protocol.labels is not None else None
        config = self._config("unused", None)
        self.size = (int(config.image_size), int(config.image_size))

    def record(self) -> dict[str, Any]:
        """The protocol, for results."""
        found: dict[str, Any] = {"kind": self.protocol.kind, "config": self.protocol.file.name}
        if self.protocol.labels is not None and self._labelled is not None:
            found["labels"] = self.protocol.labels.record(self._labelled, self.task)
            found["mode"] = self.protocol.mode
        found["normalisation"] = self.normalisation.record()
        return {**found, **training_record(self._config("unused", None), get_world_size())}

    @default_scope_kept()
    def __call__(self, network: Network, folder: Path, label: str) -> tuple[float, float | None]:
        """Train a classifier on a network and test it.

        Args:
            network: The network.
            folder: Of its checkpoints and logs; a training that stopped goes on from there.
            label: What stands before the bar.

        Returns:
            Top-1 and top-5 accuracy in percent.
        """
        labels = None
        if is_main_process():
            state = {key: tensor.cpu() for key, tensor in network.backbone.state_dict().items()}
            save_torch(state, folder / "backbone.pth")
        if self._labelled is not None:
            labels = folder / "labels.txt"
            if is_main_process():
                write_labels(self.task, self._labelled, labels)
        barrier()
        config = self._config(str(folder), labels)
        stages = last_stage(network.backbone) if config.model.backbone.get("frozen_stages", -1) >= 0 else -1
        set_network(config, network.config, folder / "backbone.pth", network.feature_dim, stages, self.normalisation)
        config.experiment_name = f"{folder.parent.name}-{network.name}-{next(_counter)}"
        hooks = dict(config.get("default_hooks") or {})
        config.default_hooks = {**hooks, "progress": {"label": label} if self.execution.progress else None}
        prepare_cpu()
        runner = build_runner(config)
        if stages >= 0:
            runner.model.train()
            _check_frozen(runner.model)
        runner.train()
        metrics = runner.test()
        return metrics["accuracy/top1"], metrics.get("accuracy/top5")

    def _config(self, work_dir: str, labels: Path | None) -> Config:
        """The transfer config with everything but the network."""
        options = {**self.protocol.cfg_options}
        if self.execution.batch_size is not None:
            options["train_dataloader.batch_size"] = self.execution.batch_size
            options["val_dataloader.batch_size"] = self.execution.batch_size
        launcher = self.execution.launcher
        config = prepare_config(self.protocol.file, work_dir, launcher=launcher, cfg_options=options)
        go_on_if_begun(config)
        for key in ("train_pipeline", "test_pipeline", "val_dataloader", "val_evaluator", "auto_scale_lr"):
            if config.get(key) is None:
                raise ConfigError(f"config {self.protocol.file} does not define '{key}'; start from configs/transfer.")
        if self.protocol.image_size is not None:
            set_image_size(config, self.protocol.image_size)
        train: Mapping[str, Any] = self.task.data["train"]
        if self._labelled is not None:
            train = {"type": "CustomDataset", "ann_file": ""}
            if labels is not None:
                train = {**train, "ann_file": str(labels.resolve())}
        set_data(config, train, self.task.data["test"], self.task.num_classes, self.execution.workers)
        config.randomness = {**(config.get("randomness") or {}), "seed": self.protocol.seed}
        config.log_level = "ERROR"  # below it, mmengine lists every parameter that does not train
        self._cut_batch(config)
        return config

    def _cut_batch(self, config: Config) -> None:
        """A batch larger than the training set would never be full; the learning rate may follow its size."""
        count = len(self.task.datasets["train"]) if self._labelled is None else len(self._labelled)
        most = max(1, count // get_world_size())
        if config.train_dataloader.batch_size <= most:
            return
        if not self._warned:
            warnings.warn(
                f"the batch of {config.train_dataloader.batch_size} images is cut to {most}: there are {count} "
                "training images.",
                stacklevel=4,
            )
            self._warned = True
        config.train_dataloader.batch_size = most


def _check_frozen(model: Any) -> None:
    backbone = getattr(model, "module", model).backbone
    if not is_frozen(backbone):
        raise ConfigError(
            f"frozen_stages={backbone.frozen_stages} leaves parts of a {type(backbone).__name__} to train; evaluate it "
            "with --protocol knn."
        )
