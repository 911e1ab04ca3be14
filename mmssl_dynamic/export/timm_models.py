"""Sub-networks as models of timm, which importing this module registers.

    >>> import timm
    >>> import mmssl_dynamic.export.timm_models
    >>> net = timm.create_model('mmssl_sdr_resnet50', subnet='0-3-1-2', checkpoint_path='backbone.pth', num_classes=10)
    >>> net = timm.create_model(
    ...     'mmssl_slimmable_mobilenetv3_large', subnet='w0.75', checkpoint_path='w0.75.pth', features_only=True)

``checkpoint_path`` takes an export in any PyTorch format (``tools/export.py``), whose BatchNorm statistics are the
sub-network's, and checkpoints of the models themselves. Without ``num_classes`` there is no classifier. With
``features_only=True`` the maps have strides 2, 4, 8, 16 and 32; the last four are those of the backbone's
``out_indices`` in the export's sidecar.
"""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from typing import Any

import torch

from mmssl_dynamic.errors import ConfigError
from mmssl_dynamic.export.architecture import MobileNetV3Architecture, architecture_of
from mmssl_dynamic.models.backbones import SDRResNet, SlimmableResNet
from mmssl_dynamic.models.backbones.super_network import refuse_old_words
from mmssl_dynamic.subnets import parse_width

try:
    import timm
    from timm.data import IMAGENET_DEFAULT_MEAN, IMAGENET_DEFAULT_STD
    from timm.models import build_model_with_cfg, generate_default_cfgs, load_checkpoint, register_model
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


def _create(kind: Any, variant: str, pretrained: bool, **kwargs: Any) -> Any:
    refuse_old_words(f"timm's model {variant}", kwargs)
    return build_model_with_cfg(
        kind,
        variant,
        pretrained,
        pretrained_filter_fn=lambda state, model: model.accept(state),
        feature_cfg={"feature_cls": SubnetFeatures},
        **kwargs,
    )


def _sdr(
    depth: int,
    pretrained: bool,
    subnet: str | None = None,
    stage_channels: Sequence[int] | None = None,
    stage_groups: Sequence[int] = (4, 4, 4, 4),
    shared_ratio: float = 0.5,
    stem_channels: int = 64,
    **kwargs: Any,
) -> SubnetResNet:
    """One path of an SDRResNet of these options; the first one when left out, as all have the same shape."""
    with torch.device("meta"):
        net = SDRResNet(depth, stage_channels, stage_groups, shared_ratio, stem_channels)
        architecture = architecture_of(net.plain_twin(subnet or net.subnets[0]))
    return _create(SubnetResNet, f"mmssl_sdr_resnet{depth}", pretrained, architecture=architecture, **kwargs)


@register_model
def mmssl_sdr_resnet18(pretrained: bool = False, **kwargs: Any) -> SubnetResNet:
    """A path of SDR's ResNet-18; options of ``SDRResNet``: ``subnet``, ``stage_channels``, ``stage_groups``, ..."""
    return _sdr(18, pretrained, **kwargs)


@register_model
def mmssl_sdr_resnet34(pretrained: bool = False, **kwargs: Any) -> SubnetResNet:
    """A path of SDR's ResNet-34."""
    return _sdr(34, pretrained, **kwargs)


@register_model
def mmssl_sdr_resnet50(pretrained: bool = False, **kwargs: Any) -> SubnetResNet:
    """A path of SDR's ResNet-50."""
    return _sdr(50, pretrained, **kwargs)


@register_model
def mmssl_sdr_resnet101(pretrained: bool = False, **kwargs: Any) -> SubnetResNet:
    """A path of SDR's ResNet-101."""
    return _sdr(101, pretrained, **kwargs)


@register_model
def mmssl_slimmable_resnet(
    pretrained: bool = False,
    subnet: str | None = None,
    channels: Sequence[float | Sequence[int]] = (1.0, 1.25),
    blocks: Sequence[Sequence[int]] = ((2, 2, 2, 2), (3, 3, 4, 3), (3, 4, 6, 3)),
    block: str = "basic",
    **kwargs: Any,
) -> SubnetResNet:
    """A network of DSPNet's ResNets, such as ``subnet='w1.25-d3343'``; the largest when left out."""
    with torch.device("meta"):
        net = SlimmableResNet(channels, blocks, block)
        architecture = architecture_of(net.plain_twin(subnet or net.space.largest))
    return _create(SubnetResNet, "mmssl_slimmable_resnet", pretrained, architecture=architecture, **kwargs)


@register_model
def mmssl_slimmable_mobilenetv3_large(
    pretrained: bool = False, subnet: str = "w1.0", **kwargs: Any
) -> SubnetMobileNetV3:
    """DSPNet's MobileNetV3-large of any width, such as ``subnet='w0.75'``."""
    return _mobilenet("large", pretrained, subnet, **kwargs)


@register_model
def mmssl_slimmable_mobilenetv3_small(
    pretrained: bool = False, subnet: str = "w1.0", **kwargs: Any
) -> SubnetMobileNetV3:
    """DSPNet's MobileNetV3-small of any width."""
    return _mobilenet("small", pretrained, subnet, **kwargs)


def _mobilenet(arch: str, pretrained: bool, subnet: str, **kwargs: Any) -> SubnetMobileNetV3:
    name = f"mmssl_slimmable_mobilenetv3_{arch}"
    architecture = MobileNetV3Architecture(arch, parse_width(subnet))
    return _create(SubnetMobileNetV3, name, pretrained, architecture=architecture, **kwargs)
