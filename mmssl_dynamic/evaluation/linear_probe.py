"""A transfer config of ``configs/transfer`` made to fit a network, its images and a folder; and freezing a backbone."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from typing import Any

from mmengine.config import Config
from torch import nn
from torch.nn.modules.batchnorm import _NormBase
from torch.nn.modules.dropout import _DropoutNd

from mmssl_dynamic.datasets.normalisation import Normalisation
from mmssl_dynamic.errors import ConfigError
from mmssl_dynamic.loading import data_preprocessor

_REFERENCE = 224  # the image size that the margin around the test crop is for


def is_frozen(backbone: nn.Module) -> bool:
    """Whether training moves nothing of a backbone in training mode: neither weights nor statistics, and no dropout."""
    still = not any(p.requires_grad for p in backbone.parameters())
    return still and not any(m.training for m in backbone.modules() if isinstance(m, _NormBase | _DropoutNd))


def last_stage(backbone: nn.Module) -> int:
    """The ``frozen_stages`` that freezes all of a backbone: the number of its last part, ``layer4`` or ``layer16``.

    Raises:
        ConfigError: it has no such parts.
    """
    numbers = [int(m.group(1)) for name, _ in backbone.named_children() if (m := re.fullmatch(r"layer(\d+)", name))]
    if not numbers:
        raise ConfigError(
            f"a {type(backbone).__name__} cannot be frozen by frozen_stages; evaluate it with --protocol knn."
        )
    return max(numbers)


def set_image_size(config: Config, size: int) -> None:
    """Train on crops of ``size`` and test on centre crops of it, cut out of images 256 / 224 as large.

    Raises:
        ConfigError: the size is not positive.
    """
    if size < 1:
        raise ConfigError(f"--image-size {size} must be positive.")
    config.image_size = size
    for transform in (*config.train_pipeline, *config.test_pipeline):
        if transform["type"] == "RandomResizedCrop":
            transform["scale"] = size
        elif transform["type"] == "CenterCrop":
            transform["crop_size"] = size
        elif transform["type"] == "ResizeEdge":
            transform["scale"] = round(size * 256 / _REFERENCE)


def set_data(
    config: Config, train: Mapping[str, Any], test: Mapping[str, Any], num_classes: int, num_workers: int | None = None
) -> None:
    """Train and test on these data sets; one without a pipeline gets the config's.

    The evaluation comes once, after the training: nothing is chosen by the test images.

    Args:
        config: A transfer config.
        train: Config of the data set to train on.
        test: Config of the data set to test on.
        num_classes: K.
        num_workers: Loader processes; the config's when left out.
    """
    data = config.train_dataloader.dataset
    # A SeededDataset is wrapped around the images.
    (data if "dataset" in data else config.train_dataloader).dataset = {"pipeline": config.train_pipeline, **train}
    config.test_dataloader = config.val_dataloader
    config.test_dataloader.dataset = {"pipeline": config.test_pipeline, **test}
    config.test_evaluator = {**config.val_evaluator, "topk": (1, 5) if num_classes > 5 else (1,)}
    config.test_cfg = {}
    config.val_dataloader = config.val_evaluator = config.val_cfg = None
    for loader in (config.train_dataloader, config.test_dataloader):
        if num_workers is not None:
            loader.num_workers = num_workers
        if not loader.get("num_workers"):
            loader.pop("persistent_workers", None)
    config.model.head.num_classes = num_classes
    config.model.data_preprocessor = {**data_preprocessor(config), "num_classes": num_classes}


def set_network(
    config: Config,
    backbone: Mapping[str, Any],
    checkpoint: str | os.PathLike[str],
    feature_dim: int,
    frozen_stages: int,
    normalisation: Normalisation,
) -> None:
    """Classify with this backbone.

    Args:
        config: A transfer config; its ``model.backbone.frozen_stages`` says whether the backbone is frozen at all.
        backbone: Config of the backbone.
        checkpoint: Its weights.
        feature_dim: D.
        frozen_stages: What freezes all of it, see :func:`last_stage`.
        normalisation: That of the pre-training.
    """
    frozen = config.model.backbone.get("frozen_stages", -1) >= 0
    config.model.backbone = {
        **backbone,
        "frozen_stages": frozen_stages if frozen else -1,
        "init_cfg": {"type": "Pretrained", "checkpoint": str(checkpoint)},
    }
    config.model.head.in_channels = feature_dim
    config.model.data_preprocessor.update(normalisation.record())


def training_record(config: Config, processes: int) -> dict[str, Any]:
    """Everything of a transfer config that can change a result, but for network and images.

    Args:
        config: After :func:`set_data`.
        processes: That train together.
    """
    batch = processes * config.train_dataloader.batch_size
    scaling = config.get("auto_scale_lr") or {}
    factor = batch / scaling["base_batch_size"] if scaling.get("enable") else 1.0
    head = {key: value for key, value in config.model.head.items() if key not in ("in_channels", "num_classes")}
    parts = config.to_dict()
    train = parts["train_dataloader"]["dataset"]
    return {
        "epochs": config.train_cfg.max_epochs,
        "batch_size": batch,
        "lr": config.optim_wrapper.optimizer.lr * factor,
        "optim_wrapper": parts["optim_wrapper"],
        "auto_scale_lr": parts.get("auto_scale_lr"),
        "param_scheduler": parts["param_scheduler"],
        "backbone_frozen": config.model.backbone.get("frozen_stages", -1) >= 0,
        "head": Config(dict(head=head)).to_dict()["head"],
        "image_size": config.image_size,
        "train_pipeline": train.get("dataset", train)["pipeline"],
        "test_pipeline": parts["test_dataloader"]["dataset"]["pipeline"],
        "seed": config.randomness.seed,
    }
