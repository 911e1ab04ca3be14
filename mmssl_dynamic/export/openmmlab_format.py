"""The formats ``mmpretrain`` and ``mmdet``: backbones of OpenMMLab configs.

Both load into the package's own backbones, which need no super-network for it, and, where the widths allow it, into
the stock backbones of mmpretrain. ``mmpretrain`` writes keys that begin with ``backbone.`` under ``state_dict``, as in
a checkpoint of mmpretrain; ``mmdet`` writes plain keys.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any, ClassVar

import torch

from mmssl_dynamic.export.base import Format, Reading, Source, quiet_openmmlab, reading, write_weights
from mmssl_dynamic.registry import FORMATS, MODELS


class OpenMMLabFormat(Format):
    """A file for the ``Pretrained`` initialisation of a backbone.

    Attributes:
        prefix: Of the keys; without one they stand plain.
        all_stages: Whether the config in the sidecar returns the feature maps of strides 4, 8, 16 and 32, as detectors
            take them.
    """

    prefix: ClassVar[str] = ""
    all_stages: ClassVar[bool] = False

    def write(self, source: Source, path: Path) -> None:
        """With a prefix, PyTorch files are checkpoints with a ``state_dict``."""
        keyed: dict[str, Any] = {self.prefix + key: tensor for key, tensor in self.tensors(source).items()}
        if self.prefix and path.suffix != ".safetensors":
            torch.save({"state_dict": keyed, "meta": {}}, path)
        else:
            write_weights(keyed, path)

    def read(self, source: Source, path: Path) -> Iterable[Reading]:
        """Into the package's backbone and, if it has one of this shape, mmpretrain's."""
        label = f"{type(source.net).__name__}(subnet={source.name!r})"
        own = MODELS.build({**source.net.config(source.name), "init_cfg": self._pretrained(path)})
        yield reading(label, _initialised(own), lambda net, images: net.all_outputs(images))
        if path.suffix == ".pth":  # mmengine's loading, which mmpretrain's backbones use, knows no safetensors
            architecture = source.architecture
            with quiet_openmmlab():
                stock = architecture.mmpretrain(init_cfg=self._pretrained(path))
            if stock is not None:
                yield reading(f"mmpretrain's {type(stock).__name__}", _initialised(stock), architecture.stock_outputs)

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


@FORMATS.register_module("mmpretrain")
class MMPretrainFormat(OpenMMLabFormat):
    """For classifiers of mmpretrain."""

    prefix = "backbone."


@FORMATS.register_module("mmdet")
class MMDetFormat(OpenMMLabFormat):
    """For detectors of mmdet."""

    all_stages = True


def _initialised(model: Any) -> Any:
    with quiet_openmmlab():
        model.init_weights()
    return model
