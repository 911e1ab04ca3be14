"""Writing a sub-network as a plain backbone file, verified before it gets its name.

Nobody can tell from "weights do not match exactly" whether a checkpoint was loaded. So an export is read back into
models built without the super-network, its tensors and its outputs are compared with the active sub-network, and only
then the file appears under its name.

Formats: ``mmpretrain`` has keys that begin with ``backbone.``, under ``state_dict`` in a .pth file; ``mmdet`` and
``torchvision`` have plain backbone keys (they differ in the config of the sidecar and in what they are verified with).
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from mmssl_dynamic.errors import ArtifactError, ConfigError
from mmssl_dynamic.evaluation.modes import evaluating
from mmssl_dynamic.export.architecture import SubnetArchitecture, image_channels, subnet_config
from mmssl_dynamic.export.stock_models import (
    mmpretrain_resnet,
    quiet_mmengine,
    stage_outputs,
    torchvision_resnet,
    torchvision_snippet,
)
from mmssl_dynamic.fileio import atomic_path, load_state_dict, weights_fingerprint, write_json
from mmssl_dynamic.models.backbones import SDRResNet
from mmssl_dynamic.registry import MODELS
from mmssl_dynamic.version import __version__

SCHEMA_VERSION = 1
FORMATS = ("mmpretrain", "mmdet", "torchvision")
SUFFIXES = (".pth", ".safetensors")
_TOLERANCE = 1e-4  # of the largest value; the same operations on equal weights differ by rounding at most


@dataclass(frozen=True)
class ExportReport:
    """What was written and how it was checked.

    Attributes:
        path: The weights.
        sidecar: The JSON file beside them.
        models: The models that the file was loaded into and compared in.
        max_difference: Largest absolute difference between their outputs and the active sub-network's.
    """

    path: Path
    sidecar: Path
    models: tuple[str, ...]
    max_difference: float

    def __str__(self) -> str:
        return (
            f"wrote {self.path} and read it back into {', '.join(self.models)}: all weights are equal, outputs agree "
            f"with the active sub-network (largest difference {self.max_difference:.1e})."
        )


def sidecar_path(path: str | os.PathLike[str]) -> Path:
    """``backbone.pth -> backbone.pth.json``."""
    return Path(f"{os.fspath(path)}.json")


def export_subnet(
    net: SDRResNet,
    name: str,
    out: str | os.PathLike[str],
    format: str = "mmpretrain",
    *,
    bn: str = "path",
    provenance: dict[str, Any] | None = None,
    image_size: int = 64,
) -> ExportReport:
    """Write one sub-network of ``net`` and a sidecar, and verify what was written.

    Args:
        net: The super-network, with BatchNorm statistics of the sub-network set. It is not changed.
        name: Name of the sub-network.
        out: File to write: ``.pth`` or ``.safetensors``. ``FILE.json`` is written beside it.
        format: ``'mmpretrain'``, ``'mmdet'`` or ``'torchvision'``.
        bn: Where the statistics came from, for the sidecar.
        provenance: More for the sidecar, such as config, checkpoint and bank.
        image_size: Side of the random images that outputs are compared on, in pixels.

    Raises:
        ConfigError: unknown format or suffix.
        SubnetError: there is no such sub-network.
        MissingStatisticsError: it has no BatchNorm statistics.
        ArtifactError: what was read back differs; the file is gone then.
    """
    target = Path(out)
    if format not in FORMATS:
        raise ConfigError(f"unknown export format '{format}'; choose one of {', '.join(FORMATS)}.")
    if target.suffix not in SUFFIXES:
        raise ConfigError(f"{target} must end in {' or '.join(SUFFIXES)}.")
    net.bn_statistics(name)  # refuses a sub-network without them
    twin = net.static(name).eval()
    architecture = SubnetArchitecture.of(twin)
    state = {key: tensor.detach().to("cpu").contiguous().clone() for key, tensor in twin.state_dict().items()}
    with atomic_path(target) as temporary:
        _write(state, temporary, format)
        models, difference = _verify(net, name, state, architecture, temporary, format, image_size)
        sidecar = {
            "schema_version": SCHEMA_VERSION,
            "subnet": name,
            "format": format,
            "architecture": architecture.record(),
            "out_channels": architecture.out_channels,
            "bn": bn,
            "source_weights_fingerprint": weights_fingerprint(net.state_dict()),
            "weights_fingerprint": weights_fingerprint(state),
            "verified": {"models": list(models), "max_difference": difference},
            "usage": _usage(net, name, architecture, target, format),
            "mmssl_dynamic": __version__,
            **(provenance or {}),
        }
        write_json(sidecar_path(target), sidecar)
    return ExportReport(target, sidecar_path(target), models, difference)


def _write(state: dict[str, Tensor], path: Path, format: str) -> None:
    keyed = {_prefix(format) + key: tensor for key, tensor in state.items()}
    if path.suffix == ".safetensors":
        save_file(keyed, path)
    else:
        torch.save({"state_dict": keyed, "meta": {}} if format == "mmpretrain" else keyed, path)


def _prefix(format: str) -> str:
    return "backbone." if format == "mmpretrain" else ""


def _verify(
    net: SDRResNet,
    name: str,
    state: dict[str, Tensor],
    architecture: SubnetArchitecture,
    path: Path,
    format: str,
    image_size: int,
) -> tuple[tuple[str, ...], float]:
    """Load the file into independent models; compare every tensor, and the outputs of all four stages."""
    images = _images(net, image_size)
    with evaluating(net), torch.backends.cudnn.flags(enabled=True, allow_tf32=False):
        with net.subnet(name):
            x, expected = net.stem(images), []
            for stage in range(net.num_stages):
                x = net.stage(stage, x)
                expected.append(x)
        scale = max(1.0, *(float(e.abs().max()) for e in expected))
        loaders = _loaders(net, name, architecture, path, format)
        checked, largest = [], 0.0
        for label, load in loaders.items():
            model = load()
            if model is None:
                continue
            loaded = model.state_dict()
            for key, tensor in state.items():
                if key not in loaded or not torch.equal(loaded[key].cpu(), tensor):
                    raise ArtifactError(
                        f"export of '{name}' failed its check: '{key}' read back into {label} differs; nothing was "
                        "written. Please report this with the config."
                    )
            model.to(images.device)
            model.eval()  # mmpretrain's ResNet returns nothing here
            outputs = stage_outputs(model, images)
            difference = max(float((a - b).abs().max()) for a, b in zip(outputs, expected))
            if not difference <= _TOLERANCE * scale:  # also refuses NaN
                raise ArtifactError(
                    f"export of '{name}' failed its check: outputs of {label} differ from the active sub-network by "
                    f"{difference:.1e} (largest value {scale:.1e}); nothing was written. Check that the weights hold "
                    "no NaN and report this with the config."
                )
            largest = max(largest, difference)
            checked.append(label)
    return tuple(checked), largest


def _loaders(
    net: SDRResNet, name: str, architecture: SubnetArchitecture, path: Path, format: str
) -> dict[str, Callable[[], nn.Module | None]]:
    """Ways a user would load the file, by what they are called in messages."""

    def sdr_resnet() -> nn.Module:
        pretrained = {"type": "Pretrained", "checkpoint": str(path)}
        if format == "mmpretrain":
            pretrained["prefix"] = "backbone."
        model = MODELS.build({**subnet_config(net, name), "init_cfg": pretrained})
        with quiet_mmengine():
            model.init_weights()
        return model

    def torchvision_model() -> nn.Module:
        model = torchvision_resnet(architecture)
        model.load_state_dict(load_state_dict(path), strict=True)
        return model

    if format == "torchvision":
        return {"torchvision's ResNet": torchvision_model}
    loaders: dict[str, Callable[[], nn.Module | None]] = {f"SDRResNet(path='{name}')": sdr_resnet}
    if path.suffix == ".pth":  # mmengine's loading, which mmpretrain's ResNet uses, knows no safetensors
        prefix = _prefix(format) or None
        loaders["mmpretrain's ResNet"] = lambda: mmpretrain_resnet(architecture, str(path), prefix)
    return loaders


def _usage(
    net: SDRResNet, name: str, architecture: SubnetArchitecture, target: Path, format: str
) -> dict[str, Any] | str:
    """What to paste where."""
    if format == "torchvision":
        return torchvision_snippet(architecture, target.name)
    pretrained = {"type": "Pretrained", "checkpoint": str(target)}
    if format == "mmpretrain":
        pretrained["prefix"] = "backbone."
    config = subnet_config(net, name)
    if format == "mmdet":
        config["out_indices"] = [0, 1, 2, 3]
    return {"backbone": {**config, "init_cfg": pretrained}}


def _images(net: SDRResNet, size: int) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    images = torch.randn(2, image_channels(net), size, size, generator=generator)
    return images.to(next(net.parameters()).device)
