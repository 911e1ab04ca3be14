"""Sub-networks as models of timm, which importing this module registers.

    >>> import timm
    >>> import mmssl_dynamic.export.timm_models
    >>> net = timm.create_model('mmssl_sdr_resnet50', export='backbone.pth', num_classes=10)
    >>> transform = timm.data.create_transform(**timm.data.resolve_model_data_config(net))
    >>> net = timm.create_model('mmssl_slimmable_mobilenetv3_large', export='w0.75.pth', features_only=True)

``export`` names what ``tools/export.py`` wrote in any PyTorch format. Its sidecar tells the architecture; and mean,
standard deviation and size of the images, which go into ``pretrained_cfg``. timm's own ``checkpoint_path``, which its
scripts have, does the same with an export that has its sidecar beside it, and takes checkpoints of the model itself.
``shape``, which the ``config.json`` of a published folder has, holds the architecture alone.
Without either, ``subnet`` and options of the super-network describe the network, and ``pretrained_cfg`` keeps
ImageNet's values. Without ``num_classes`` there is no classifier. With
``features_only=True`` the maps have strides 2, 4, 8, 16 and 32; the last four are those of the backbone's
``out_indices`` in the export's sidecar.
"""

from __future__ import annotations

import inspect
import os
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch

from mmssl_dynamic.errors import ConfigError, SubnetError
from mmssl_dynamic.export.families import (
    Architecture,
    MobileNetV3Architecture,
    ResNetArchitecture,
    architecture_from_sidecar,
    architecture_of,
)
from mmssl_dynamic.export.load_export import Sidecar, read_sidecar, weights_file
from mmssl_dynamic.fileio import sidecar_path
from mmssl_dynamic.models.backbones import SDRSlimmableResNet, SlimmableResNet
from mmssl_dynamic.models.backbones.super_network import refuse_old_words
from mmssl_dynamic.subnets import FULL, parse_width

try:
    import timm
    from timm.data import IMAGENET_DEFAULT_MEAN, IMAGENET_DEFAULT_STD
    from timm.models import build_model_with_cfg, create_model, generate_default_cfgs, load_checkpoint, register_model
except ModuleNotFoundError as error:
    raise ModuleNotFoundError(
        "mmssl_dynamic.export.timm_models needs timm; install it with: pip install 'mmssl-dynamic[timm]'"
    ) from error

from mmssl_dynamic.export.timm_networks import SubnetFeatures, SubnetMobileNetV3, SubnetResNet

__all__: list[str] = []  # timm's register_model adds the models


def refuse_unsafe_timm(loader: Any = load_checkpoint) -> None:
    """Refuse a timm that executes what a checkpoint holds, as those before 1.0.26 do.

    Raises:
        ConfigError: ``loader`` does not load weights alone by default.
    """
    safe = inspect.signature(loader).parameters.get("weights_only")
    if safe is None or safe.default is not True:
        raise ConfigError(f"timm {timm.__version__} executes code that a checkpoint holds; install timm>=1.0.26.")


refuse_unsafe_timm()


def _cfg(first_conv: str, classifier: str) -> dict[str, Any]:
    return {
        "url": "",
        "num_classes": 0,
        "input_size": (3, 224, 224),
        "pool_size": (7, 7),
        "crop_pct": 0.875,
        "interpolation": "bicubic",
        "mean": IMAGENET_DEFAULT_MEAN,
        "std": IMAGENET_DEFAULT_STD,
        "first_conv": first_conv,
        "classifier": classifier,
        "license": "apache-2.0",
    }


_RESNETS = (*(f"mmssl_sdr_resnet{depth}" for depth in (18, 34, 50, 101)), "mmssl_slimmable_resnet")
_MOBILENETS = ("mmssl_slimmable_mobilenetv3_large", "mmssl_slimmable_mobilenetv3_small")

default_cfgs = generate_default_cfgs(
    {
        **{name: _cfg("conv1", "fc") for name in _RESNETS},
        **{name: _cfg("conv_stem", "classifier") for name in _MOBILENETS},
    }
)


def _create(
    kind: Any,
    variant: str,
    pretrained: bool,
    build: Callable[..., Architecture],
    fits: Callable[[Architecture], bool],
    options: dict[str, Any],
) -> Any:
    """A model.

    Args:
        kind: Its class.
        variant: Its name in timm.
        pretrained: As of ``timm.create_model``.
        build: The architecture that its own options describe, which the signature of this function names.
        fits: Whether a network of that name can have an architecture.
        options: Its own, ``export``, and those of timm.
    """
    refuse_old_words(f"timm's model {variant}", options)
    own = {key: options.pop(key) for key in inspect.signature(build).parameters if key in options}
    export, shape = options.pop("export", None), options.pop("shape", None)
    overlay = dict(options.pop("pretrained_cfg_overlay", None) or {})
    file = export or (overlay.get("file") if pretrained else None) or _checkpoint_path()
    exported = None
    if file is not None and (export is not None or sidecar_path(file).is_file()):
        exported = read_sidecar(weights_file(file))
    if export is not None:
        if given := [*(key for key in own if key != "subnet"), *(["shape"] if shape is not None else [])]:
            raise ConfigError(
                f"export= holds its architecture; leave {', '.join(given)} out of timm's model {variant}."
            )
        overlay["file"], pretrained = os.fspath(export), True
    if exported is not None:
        architecture = _architecture(variant, exported, own, build, fits)
    elif shape is not None:
        architecture = _shaped(variant, shape, own, fits)
    else:
        architecture = build(**own)
    if exported is not None:
        overlay = {**pretrained_cfg_of(exported), **overlay}

    def accept(state: dict[str, Any], model: Any) -> Any:
        if exported is not None:
            exported.check(state, str(file))
        return model.accept(state)

    return build_model_with_cfg(
        kind,
        variant,
        pretrained,
        pretrained_cfg_overlay=overlay or None,
        pretrained_filter_fn=accept,
        feature_cfg={"feature_cls": SubnetFeatures},
        architecture=architecture,
        **options,
    )


def _shaped(
    variant: str, shape: Mapping[str, Any], own: Mapping[str, Any], fits: Callable[[Architecture], bool]
) -> Architecture:
    """That of ``config.json`` in a published folder.

    Raises:
        ConfigError: it is not a network of this name, or options describe another one.
        ArtifactError: it describes no network.
    """
    if own:
        raise ConfigError(f"shape= holds the architecture; leave {', '.join(own)} out of timm's model {variant}.")
    architecture = architecture_from_sidecar({"architecture": dict(shape)})
    if not fits(architecture):
        raise ConfigError(f"shape= describes {architecture}, which is no {variant}; name another model.")
    return architecture


def registered_name(architecture: Architecture) -> str:
    """The model here that can have an architecture.

    Raises:
        ConfigError: there is none.
    """
    if isinstance(architecture, ResNetArchitecture):
        return "mmssl_slimmable_resnet" if architecture.depth is None else f"mmssl_sdr_resnet{architecture.depth}"
    if isinstance(architecture, MobileNetV3Architecture):
        return f"mmssl_slimmable_mobilenetv3_{architecture.arch}"
    raise ConfigError(f"no model of timm is registered for {architecture.family}; use another format than timm's.")


def _checkpoint_path() -> str | None:
    """``checkpoint_path`` of the ``timm.create_model`` that is running, which it keeps to itself while models are made.

    Nothing else tells the file before the model has its shape. Without it, weights that do not fit are refused when
    timm loads them.
    """
    frame = inspect.currentframe()
    while frame is not None and frame.f_code is not create_model.__code__:
        frame = frame.f_back
    return None if frame is None else frame.f_locals.get("checkpoint_path")


def _architecture(
    variant: str,
    exported: Sidecar,
    own: dict[str, Any],
    build: Callable[..., Architecture],
    fits: Callable[[Architecture], bool],
) -> Architecture:
    """That of an export.

    Raises:
        ConfigError: it is not a network of this name, or not the one that the options describe.
        SubnetError: it holds another sub-network.
    """
    subnet, shape = own.get("subnet"), {key for key in own if key != "subnet"}
    if subnet is not None and subnet != exported.subnet:
        raise SubnetError(f"the export holds the sub-network '{exported.subnet}' alone, not '{subnet}'.")
    if not fits(exported.architecture):
        raise ConfigError(f"the export holds {exported.architecture}, which is no {variant}; name another model.")
    if shape:
        described = build(**{**own, "subnet": exported.subnet})
        if replace(described, in_channels=exported.architecture.in_channels) != exported.architecture:  # type: ignore[type-var]
            raise ConfigError(
                f"the export holds {exported.architecture}, and the options describe {described}; leave "
                f"{', '.join(sorted(shape))} out."
            )
    return exported.architecture


def pretrained_cfg_of(exported: Sidecar) -> dict[str, Any]:
    """What timm's transforms are to make of images, in its own words."""
    images, normalisation = exported.images, exported.images.normalisation
    if not normalisation.to_rgb:
        warnings.warn(
            "this network takes BGR images, and timm's transforms give RGB: turn the channels round, images.flip(1).",
            stacklevel=6,
        )
    # timm's values are those of RGB images: what its transforms give has then only to be turned round.
    step = 1 if normalisation.to_rgb else -1
    found: dict[str, Any] = {
        "mean": tuple(value / 255 for value in normalisation.mean[::step]),
        "std": tuple(value / 255 for value in normalisation.std[::step]),
    }
    if images.size is not None:
        found["input_size"] = (exported.architecture.in_channels, *images.size)
        found["crop_pct"] = min(images.size) / images.short_side if images.short_side else 1.0
    if images.interpolation is not None:
        found["interpolation"] = images.interpolation
    return found


def _sdr(depth: int, pretrained: bool, options: dict[str, Any]) -> SubnetResNet:
    def build(
        subnet: str | None = None,
        stage_channels: Sequence[int] | None = None,
        stage_groups: Sequence[int] = (4, 4, 4, 4),
        shared_ratio: float = 0.5,
        stem_channels: int = 64,
        widths: Sequence[float] = (1.0,),
        slim_stem: bool = True,
    ) -> Architecture:
        """One path of an SDRResNet of these options; the first one when left out, as all have the same shape.

        With ``widths``, of an SDRSlimmableResNet.
        """
        narrow: dict[str, Any] = {"widths": widths, "slim_stem": slim_stem}
        with torch.device("meta"):
            net = SDRSlimmableResNet(depth, stage_channels, stage_groups, shared_ratio, stem_channels, **narrow)
            return architecture_of(net.plain_twin(subnet or next(iter(net.space.paths), FULL)))

    def fits(architecture: Architecture) -> bool:
        return isinstance(architecture, ResNetArchitecture) and architecture.depth == depth

    return _create(SubnetResNet, f"mmssl_sdr_resnet{depth}", pretrained, build, fits, options)


@register_model
def mmssl_sdr_resnet18(pretrained: bool = False, **kwargs: Any) -> SubnetResNet:
    """A path of SDR's ResNet-18; options of ``SDRResNet``: ``subnet``, ``stage_channels``, ``stage_groups``, ...

    With ``widths`` and ``slim_stem`` of ``SDRSlimmableResNet`` also one of its narrower networks.
    """
    return _sdr(18, pretrained, kwargs)


@register_model
def mmssl_sdr_resnet34(pretrained: bool = False, **kwargs: Any) -> SubnetResNet:
    """A path of SDR's ResNet-34."""
    return _sdr(34, pretrained, kwargs)


@register_model
def mmssl_sdr_resnet50(pretrained: bool = False, **kwargs: Any) -> SubnetResNet:
    """A path of SDR's ResNet-50."""
    return _sdr(50, pretrained, kwargs)


@register_model
def mmssl_sdr_resnet101(pretrained: bool = False, **kwargs: Any) -> SubnetResNet:
    """A path of SDR's ResNet-101."""
    return _sdr(101, pretrained, kwargs)


@register_model
def mmssl_slimmable_resnet(pretrained: bool = False, **kwargs: Any) -> SubnetResNet:
    """A network of DSPNet's ResNets, such as ``subnet='w1.25-d3343'``; options of ``SlimmableResNet``."""

    def build(
        subnet: str | None = None,
        channels: Sequence[float | Sequence[int]] = (1.0, 1.25),
        blocks: Sequence[Sequence[int]] = ((2, 2, 2, 2), (3, 3, 4, 3), (3, 4, 6, 3)),
        block: str = "basic",
    ) -> Architecture:
        """The largest network of these options when ``subnet`` is left out."""
        with torch.device("meta"):
            net = SlimmableResNet(channels, blocks, block)
            return architecture_of(net.plain_twin(subnet or net.space.largest))

    def fits(architecture: Architecture) -> bool:
        return isinstance(architecture, ResNetArchitecture)

    return _create(SubnetResNet, "mmssl_slimmable_resnet", pretrained, build, fits, kwargs)


@register_model
def mmssl_slimmable_mobilenetv3_large(pretrained: bool = False, **kwargs: Any) -> SubnetMobileNetV3:
    """DSPNet's MobileNetV3-large of any width, such as ``subnet='w0.75'``; 1.0 when left out."""
    return _mobilenet("large", pretrained, kwargs)


@register_model
def mmssl_slimmable_mobilenetv3_small(pretrained: bool = False, **kwargs: Any) -> SubnetMobileNetV3:
    """DSPNet's MobileNetV3-small of any width."""
    return _mobilenet("small", pretrained, kwargs)


def _mobilenet(arch: str, pretrained: bool, options: dict[str, Any]) -> SubnetMobileNetV3:
    def build(subnet: str = "w1.0") -> Architecture:
        return MobileNetV3Architecture(arch, parse_width(subnet))

    def fits(architecture: Architecture) -> bool:
        return isinstance(architecture, MobileNetV3Architecture) and architecture.arch == arch

    return _create(SubnetMobileNetV3, f"mmssl_slimmable_mobilenetv3_{arch}", pretrained, build, fits, options)
