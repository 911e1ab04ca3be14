"""Batches of one image, which have no variance for BatchNorm behind a linear layer, are refused before a training."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from mmengine.dist import get_world_size
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from mmssl_dynamic.errors import ConfigError
from mmssl_dynamic.models.elastic.layers import ElasticBatchNorm
from mmssl_dynamic.models.elastic.sync import SyncBN


def check_batches(model: nn.Module, loader: Any) -> None:
    """Refuse a training in which some batch would have one image, where BatchNorm needs two.

    Feature maps of one image have a variance, over their places; vectors have none. PyTorch says so at that batch,
    which may be the last one of an epoch.

    Args:
        model: In training mode, as it is to be trained.
        loader: Its batches.

    Raises:
        ConfigError: the message names the layer and the option.
    """
    size = getattr(loader.batch_sampler, "batch_size", None)
    if not isinstance(size, int):
        return
    left = 0 if getattr(loader.batch_sampler, "drop_last", True) else _images_of_a_process(loader) % size
    if 1 not in (size, left):
        return
    layer = next(_norms_of_vectors(model), None)
    if layer is None:
        return
    if size == 1:
        raise ConfigError(
            f"train_dataloader.batch_size=1 leaves BatchNorm ('{layer}') no variance; set it to at least 2 for each "
            "process."
        )
    raise ConfigError(
        f"the last batch of an epoch has one image ({_images_of_a_process(loader)} images in batches of {size}), which "
        f"leaves BatchNorm ('{layer}') no variance; set train_dataloader.drop_last=True, or another "
        "train_dataloader.batch_size."
    )


def _images_of_a_process(loader: Any) -> int:
    return len(getattr(loader.batch_sampler, "sampler", loader.sampler))


def _shares(layer: nn.Module) -> bool:
    """Whether a BatchNorm layer takes its statistics over several processes."""
    synchronised = layer.sync if isinstance(layer, ElasticBatchNorm) else isinstance(layer, nn.SyncBatchNorm | SyncBN)
    return synchronised and get_world_size() > 1


def _norms_of_vectors(model: nn.Module) -> Iterator[str]:
    """Names of the BatchNorm layers that train on what linear layers give, each process by itself."""
    for name, parent in model.named_modules():
        widths = {child.out_features for child in parent.children() if isinstance(child, nn.Linear)}
        for key, child in parent.named_children():
            if not isinstance(child, _BatchNorm) or not child.training or _shares(child):
                continue
            if isinstance(child, nn.BatchNorm1d) or child.num_features in widths:
                yield f"{name}.{key}" if name else key
