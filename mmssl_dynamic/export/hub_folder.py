"""An export as a folder that Hugging Face's hub and timm read: ``model.safetensors``, ``config.json``, ``README.md``.

``timm.create_model('local-dir:FOLDER', pretrained=True)`` loads it. A network that timm has itself needs no more than
timm; the others are models that importing :mod:`mmssl_dynamic.export.timm_models` registers. Needs timm.

D feature dimension.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import timm
import torch
from safetensors.torch import save
from torch import Tensor, nn

from mmssl_dynamic.errors import ArtifactError
from mmssl_dynamic.export.base import quiet_openmmlab
from mmssl_dynamic.export.families import Architecture, NoStockModel, StockModel
from mmssl_dynamic.export.load_export import Sidecar, exported_weights, load_export
from mmssl_dynamic.export.timm_models import pretrained_cfg_of, registered_name
from mmssl_dynamic.features.pooling import pool
from mmssl_dynamic.fingerprints import hash_in_name
from mmssl_dynamic.models.eval_mode import eval_mode
from mmssl_dynamic.writing import to_json

WEIGHTS, CONFIG, CARD = "model.safetensors", "config.json", "README.md"
_TOLERANCE = 1e-4  # of the largest feature
# What is true of our weights; the rest of what timm's own models tell is of the weights that timm has for them.
_ABOUT = (
    "input_size",
    "fixed_input_size",
    "interpolation",
    "crop_pct",
    "crop_mode",
    "mean",
    "std",
    "num_classes",
    "first_conv",
    "classifier",
    "license",
)


@dataclass(frozen=True)
class HubModel:
    """What goes into the folder.

    Attributes:
        name: Of timm's model.
        options: Of it, beside ``pretrained``.
        plugin: Whether it is one that this package registers.
        data: ``model.safetensors``.
        config: ``config.json``.
    """

    name: str
    options: dict[str, Any]
    plugin: bool
    data: bytes
    config: dict[str, Any]

    @classmethod
    def of(cls, file: Path, sidecar: Sidecar, license: str) -> HubModel:
        """That of an export.

        Args:
            file: Its weights.
            sidecar: What describes them.
            license: SPDX name of the weights' licence.

        Raises:
            ArtifactError: the two do not belong together.
            ConfigError: timm's classes cannot have the shape.
        """
        weights = exported_weights(file, sidecar)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of images in BGR: the card tells
            overlay = {**pretrained_cfg_of(sidecar), "num_classes": 0, "license": license}
        stock = _stock(sidecar.architecture)
        if stock is not None and stock.create is not None:
            (name, options), plugin = stock.create, False
            weights = stock.exported(weights)
        else:
            name, options, plugin = registered_name(sidecar.architecture), _shape(sidecar.architecture), True
        model: Any = timm.create_model(name, pretrained_cfg_overlay=overlay, **{**options, "num_classes": 0})
        model.load_state_dict(weights, strict=True)
        state = {key: tensor.contiguous() for key, tensor in model.state_dict().items()}
        about = {key: model.pretrained_cfg[key] for key in _ABOUT if key in model.pretrained_cfg}
        config = {
            "architecture": name,
            "num_classes": 0,
            "num_features": model.num_features,
            "global_pool": "avg",
            "model_args": {key: value for key, value in options.items() if key != "num_classes"},
            "pretrained_cfg": about,
        }
        return cls(name, dict(options), plugin, save(state, {"format": "pt"}), config)

    @property
    def hash(self) -> str:
        """The first digits of the weights' SHA-256."""
        return hash_in_name(self.data)

    def write(self, folder: Path, export: Path) -> float:
        """Write weights and config into a folder that is there, and load it with timm.

        Args:
            folder: The folder.
            export: What its features are compared with.

        Returns:
            Largest absolute difference of the features.

        Raises:
            ArtifactError: timm's model computes something else.
        """
        (folder / WEIGHTS).write_bytes(self.data)
        (folder / CONFIG).write_text(to_json(self.config, indent=2) + "\n", encoding="utf-8")
        return _difference(folder, export, self.config["pretrained_cfg"]["input_size"][0])


def _stock(architecture: Architecture) -> StockModel | None:
    try:
        return architecture.timm()
    except NoStockModel:
        return None


def _shape(architecture: Architecture) -> dict[str, Any]:
    channels = {} if architecture.in_channels == 3 else {"in_chans": architecture.in_channels}
    return {"shape": architecture.record(), **channels}


def _difference(folder: Path, export: Path, channels: int) -> float:
    with quiet_openmmlab():
        net: nn.Module = timm.create_model(f"local-dir:{folder}", pretrained=True)
    backbone = load_export(export)
    images = torch.randn(2, channels, 96, 96, generator=torch.Generator().manual_seed(0))
    with eval_mode(net), eval_mode(backbone):
        found, wanted = net(images), pool(backbone(images)[-1])
    difference = float((found - wanted).abs().max()) if found.shape == wanted.shape else float("inf")
    if not difference <= _TOLERANCE * max(_largest(wanted), 1e-6):  # also refuses NaN
        raise ArtifactError(
            f"what timm loads differs from {export} by {difference:.1e} (largest feature {_largest(wanted):.1e}); "
            "nothing was written. Please report this with the export's .json file."
        )
    return difference


def _largest(features: Tensor) -> float:
    return float(features.abs().max())
