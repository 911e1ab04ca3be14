"""Where the network of a frozen teacher comes from, and which images it was trained on."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from mmengine.registry import MODELS as ROOT_MODELS
from torch import Tensor, nn

from mmssl_dynamic.errors import ArtifactError, ConfigError, UserError, first_line
from mmssl_dynamic.fileio import load_state_dict
from mmssl_dynamic.models.backbones.pretrained import load_backbone_weights, weights_wanted
from mmssl_dynamic.registry import mmpretrain_scope
from mmssl_dynamic.safe_loading import safe_loading

_TIMM = "timm/"
Three = tuple[float, float, float]
IMAGENET = ((123.675, 116.28, 103.53), (58.395, 57.12, 57.375))


@dataclass(frozen=True)
class Source:
    """A network and what it takes.

    Attributes:
        network: Gives features (N, D) or a feature map (N, D, H, W), the last of several.
        mean: Of pixels from 0 to 255, one value a channel, in the order that the network takes.
        std: Likewise.
        to_rgb: Whether that order is RGB.
        image_size: Side of its images, where it takes no others.
    """

    network: nn.Module
    mean: Three = IMAGENET[0]
    std: Three = IMAGENET[1]
    to_rgb: bool = True
    image_size: int | None = None


def find_source(model: str | Mapping[str, Any] | nn.Module, checkpoint: str | os.PathLike[str] | None) -> Source:
    """Build the network and load its weights, of which nothing is executed.

    Args:
        model: ``'timm/NAME'``; the file of an export; a config; or a module with its weights.
        checkpoint: File with the weights. Of timm's networks timm's own weights when left out.

    Raises:
        ConfigError: there is no such model, or none that could have learnt anything.
        ArtifactError: its weights cannot be loaded.
    """
    if isinstance(model, nn.Module):
        if checkpoint is not None:
            load_backbone_weights(model, os.fspath(checkpoint))
        return Source(model)
    if isinstance(model, Mapping):
        return _of_config(dict(model), checkpoint)
    if isinstance(model, str) and model.startswith(_TIMM):
        return _of_timm(model.removeprefix(_TIMM), checkpoint)
    if isinstance(model, str | os.PathLike) and checkpoint is None:
        return _of_export(model)
    raise ConfigError(
        f"teacher.model={model!r} with checkpoint={checkpoint!r} is no teacher; give 'timm/NAME', the file of an "
        "export (without checkpoint), or the config of a network, such as dict(type='mmpretrain.ResNet', depth=50)."
    )


def _of_config(config: dict[str, Any], checkpoint: str | os.PathLike[str] | None) -> Source:
    wanted = weights_wanted()
    if wanted and checkpoint is None and not config.get("init_cfg"):
        raise ConfigError("teacher.model is a config without weights, which teaches noise; give teacher.checkpoint.")
    with safe_loading(), mmpretrain_scope():
        network = ROOT_MODELS.build(config)
        if wanted and checkpoint is not None:
            load_backbone_weights(network, os.fspath(checkpoint))
        elif wanted and hasattr(network, "init_weights"):
            network.init_weights()
    return Source(network)


def _of_export(file: str | os.PathLike[str]) -> Source:
    from mmssl_dynamic.export.load_export import load_export, read_sidecar, weights_file

    if not Path(file).exists():
        raise ConfigError(
            f"teacher.model='{file}' is no file; give the file of an export, or 'timm/NAME' for a network of timm, "
            "such as timm/resnet50.a1_in1k (any other network: as a dictionary, in a config file)."
        )
    found = read_sidecar(weights_file(file)).images.normalisation
    return Source(load_export(file), found.mean, found.std, found.to_rgb)


def _of_timm(name: str, checkpoint: str | os.PathLike[str] | None) -> Source:
    try:
        import timm
    except ModuleNotFoundError as error:
        raise ConfigError(
            f"teacher.model='timm/{name}' needs timm; install it with: pip install 'mmssl-dynamic[timm]'"
        ) from error
    try:
        with safe_loading():
            network = timm.create_model(name, pretrained=checkpoint is None and weights_wanted(), num_classes=0)
    except UserError:
        raise
    except Exception as error:  # of the network, of caches and damaged files nearly anything
        if not timm.is_model(name):
            near = get_close_matches(name.partition(".")[0], timm.list_models(), n=3)
            hint = f"did you mean {' or '.join(near)}?" if near else "timm.list_models() names those that it has."
            raise ConfigError(f"teacher.model='timm/{name}': timm has no network of this name; {hint}") from error
        raise ArtifactError(
            f"teacher.model='timm/{name}': timm's weights cannot be had ({first_line(error)}); download them and name "
            "the file in teacher.checkpoint."
        ) from error
    facts: dict[str, Any] = network.pretrained_cfg  # type: ignore[assignment]
    if checkpoint is not None and weights_wanted():
        _load(network, load_state_dict(checkpoint), facts, Path(checkpoint))
    mean, std = (tuple(255 * float(value) for value in facts[key]) for key in ("mean", "std"))
    size = facts["input_size"][-1] if facts.get("fixed_input_size") else None
    return Source(network, mean, std, image_size=size)  # type: ignore[arg-type]


def _load(network: nn.Module, state: dict[str, Tensor], facts: Mapping[str, Any], file: Path) -> None:
    """Weights without those of the classifier, strictly."""
    classifiers = facts.get("classifier") or ()
    classifiers = (classifiers,) if isinstance(classifiers, str) else tuple(classifiers)
    state = {key: value for key, value in state.items() if not key.startswith(tuple(f"{c}." for c in classifiers))}
    own = network.state_dict()
    wrong = next((k for k in own if k not in state and not k.endswith("num_batches_tracked")), None)
    wrong = wrong or next((k for k in state if k not in own or state[k].shape != own[k].shape), None)
    if wrong is not None:
        raise ArtifactError(
            f"checkpoint {file} is of another network than teacher.model: they differ in '{wrong}' first; give the "
            "weights of this one, under timm's names."
        )
    network.load_state_dict(state, strict=False)
