"""The formats ``mmpretrain`` and ``mmdet``: backbones of OpenMMLab configs.

Both load into the package's own backbones, which need no super-network for it, and, where the widths allow it, into
the stock backbones of mmpretrain. ``mmpretrain`` writes keys that begin with ``backbone.`` under ``state_dict``, as in
a checkpoint of mmpretrain; ``mmdet`` writes plain keys.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import nn

from mmssl_dynamic.export.architecture import Architecture, ResNetArchitecture
from mmssl_dynamic.export.base import (
    Format,
    Reading,
    Source,
    openmmlab_outputs,
    quiet_openmmlab,
    reading,
    write_weights,
)
from mmssl_dynamic.registry import MODELS


class OpenMMLabFormat(Format):
    """A file for the ``Pretrained`` initialisation of a backbone.

    Args:
        prefix: Of the keys; without one they stand plain.
        all_stages: Whether the config in the sidecar returns the feature maps of strides 4, 8, 16 and 32, as detectors
            take them.
    """

    def __init__(self, prefix: str, all_stages: bool) -> None:
        self.prefix, self.all_stages = prefix, all_stages

    def write(self, source: Source, path: Path) -> None:
        """With a prefix, PyTorch files are checkpoints with a ``state_dict``."""
        keyed: dict[str, Any] = {self.prefix + key: tensor for key, tensor in self.tensors(source).items()}
        if self.prefix and path.suffix != ".safetensors":
            torch.save({"state_dict": keyed, "meta": {}}, path)
        else:
            write_weights(keyed, path)

    def read(self, source: Source, path: Path) -> Iterable[Reading]:
        """Into the package's backbone and, if it has one of this shape, mmpretrain's."""
        run = partial(openmmlab_outputs, source.architecture)
        own = MODELS.build({**source.net.config(source.name), "init_cfg": self._pretrained(path)})
        yield reading(_label(source), _initialised(own), run)
        if path.suffix == ".pth":  # mmengine's loading, which mmpretrain's backbones use, knows no safetensors
            stock = _mmpretrain(source.architecture, self._pretrained(path))
            if stock is not None:
                yield reading(f"mmpretrain's {source.architecture.family}", _initialised(stock), run)

    def usage(self, source: Source, target: Path) -> dict[str, Any]:
        """Configs of a model's ``backbone`` and ``data_preprocessor``."""
        config = source.net.config(source.name)
        if self.all_stages:
            config["out_indices"] = source.architecture.out_indices
        preprocessor = source.images.mmdet() if self.all_stages else source.images.openmmlab()
        return {
            "backbone": {**config, "init_cfg": self._pretrained(target)},
            "data_preprocessor": preprocessor,
        }

    def _pretrained(self, path: Path) -> dict[str, str]:
        prefix = {"prefix": self.prefix} if self.prefix else {}
        return {"type": "Pretrained", "checkpoint": str(path), **prefix}


def _label(source: Source) -> str:
    return f"{type(source.net).__name__}(subnet={source.name!r})"


def _mmpretrain(architecture: Architecture, pretrained: dict[str, str]) -> nn.Module | None:
    """The stock backbone of mmpretrain; ``None`` if this shape cannot be had there."""
    from mmpretrain.models import MobileNetV3, ResNet

    if isinstance(architecture, ResNetArchitecture):
        if architecture.base_channels is None or architecture.depth is None:
            return None
        return ResNet(
            architecture.depth,
            in_channels=architecture.in_channels,
            stem_channels=architecture.stem_channels,
            base_channels=architecture.base_channels,
            out_indices=(0, 1, 2, 3),
            init_cfg=pretrained,
        )
    # Its small_075 and small_050 have other channels inside of the blocks, and it takes images of three channels.
    if architecture.width != 1 or architecture.in_channels != 3:
        return None
    with quiet_openmmlab():
        return MobileNetV3(architecture.arch, init_cfg=pretrained)


def _initialised(model: Any) -> Any:
    with quiet_openmmlab():
        model.init_weights()
    return model
