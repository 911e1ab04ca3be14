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
from mmssl_dynamic.export.snippets import config_text, example_size, with_imports
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
        return {"backbone": {**config, "init_cfg": self._pretrained(target)}, "data_preprocessor": self.images(source)}

    def images(self, source: Source) -> dict[str, Any]:
        """Config of the ``data_preprocessor``."""
        return source.images.openmmlab()

    def _pretrained(self, path: Path) -> dict[str, str]:
        prefix = {"prefix": self.prefix} if self.prefix else {}
        return {"type": "Pretrained", "checkpoint": str(path), **prefix}


@FORMATS.register_module("mmpretrain")
class MMPretrainFormat(OpenMMLabFormat):
    """For classifiers of mmpretrain."""

    prefix = "backbone."

    def snippet(self, source: Source, target: Path) -> str:
        """A classifier: its config, and lines that build it."""
        dim = source.twin.out_channels[-1]
        model = {
            "type": "ImageClassifier",
            **self.usage(source, target),
            "neck": {"type": "GlobalAveragePooling"},
            "head": {"type": "LinearClsHead", "num_classes": 10, "in_channels": dim},
        }
        return with_imports(
            [
                "from mmpretrain.registry import MODELS",
                "from mmpretrain.utils import register_all_modules",
                "# For a config of mmpretrain, with your num_classes:",
                config_text("model", model),
                "",
                "# Or in Python:",
                "register_all_modules()",
                "net = MODELS.build(model)",
                "net.init_weights()  # loads the weights into the backbone",
                "net.eval()",
                "",
                *_inputs(source, example_size(source)),
                f"features = net.extract_feat(inputs)[-1]  # (N, {dim})",
            ]
        )


@FORMATS.register_module("mmdet")
class MMDetFormat(OpenMMLabFormat):
    """For detectors of mmdet."""

    all_stages = True

    def usage(self, source: Source, target: Path) -> dict[str, Any]:
        """Configs of a detector's ``backbone``, ``neck`` and ``data_preprocessor``."""
        neck = {"type": "FPN", "in_channels": source.architecture.out_channels, "out_channels": 256, "num_outs": 5}
        return {**super().usage(source, target), "neck": neck}

    def images(self, source: Source) -> dict[str, Any]:
        """Config of a detector's ``data_preprocessor``, to be merged with that of its config."""
        return source.images.mmdet()

    def snippet(self, source: Source, target: Path) -> str:
        """Parts of a detector's config, and lines that build Faster R-CNN with them."""
        usage = self.usage(source, target)
        usage["backbone"] = {"_delete_": True, **usage["backbone"]}  # nothing of the backbone that stood there stays
        return with_imports(
            [
                "from mmdet.registry import MODELS",
                "from mmdet.utils import register_all_modules",
                "from mmengine.hub import get_config",
                "# For the config of a detector with an FPN, below _base_:",
                config_text("model", usage),
                "",
                "# Or in Python, in Faster R-CNN:",
                "register_all_modules()",
                "config = get_config('mmdet::faster_rcnn/faster-rcnn_r50_fpn_1x_coco.py')",
                "config.merge_from_dict(dict(model=model))",
                "net = MODELS.build(config.model)",
                "net.init_weights()  # loads the weights into the backbone",
                "net.eval()",
                "",
                *_inputs(source, (800, 1088)),
                "features = net.backbone(inputs)  # strides 4, 8, 16 and 32",
            ]
        )


def _inputs(source: Source, size: tuple[int, int]) -> list[str]:
    """Lines that make an example's images and what the model's preprocessor makes of them."""
    channels = source.architecture.in_channels
    order = ", BGR as mmcv reads them" if channels == 3 else ""
    return [
        f"images = torch.zeros({(1, channels, *size)}, dtype=torch.uint8)  # yours{order}",
        "inputs = net.data_preprocessor(dict(inputs=list(images), data_samples=None))['inputs']  # normalised",
    ]


def _initialised(model: Any) -> Any:
    with quiet_openmmlab():
        model.init_weights()
    return model
