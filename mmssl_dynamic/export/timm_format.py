"""The format ``timm``: keys of timm's own classes without their classifier."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from mmssl_dynamic.errors import ConfigError
from mmssl_dynamic.export.architecture import Architecture, MobileNetV3Architecture, ResNetArchitecture
from mmssl_dynamic.export.base import (
    Format,
    Outputs,
    Reading,
    Source,
    chained,
    reading,
    resnet_outputs,
    torch_lines,
)
from mmssl_dynamic.fileio import load_state_dict
from mmssl_dynamic.models.backbones.mobilenet_v3_keys import TIMM_EPS, rename, restore, shifted, stages, timm_layers
from mmssl_dynamic.models.backbones.mobilenet_v3_trunk import ARCHITECTURES, BN_EPS

_STEM = 64  # of every ResNet of timm with a plain stem


class TimmFormat(Format):
    """Loads strictly into a plain ``timm.create_model``, or timm's class where it has no model of these widths.

    ResNets load into ``create_model('resnet18', num_classes=0)`` and its relatives; other widths and depths are
    options of the same call. The stem has 64 channels there, which no option changes.

    MobileNetV3: timm's models of width 1.0 are those of torchvision and mmpretrain. Its models of other widths
    (``mobilenetv3_large_075``, ``mobilenetv3_small_050``, ...) round the channels inside of the blocks in another way,
    so other widths load into timm's class, built block by block. Two things differ from the other formats:

    * ``conv_head``, which follows the pooling, belongs to the classifier. The file holds the backbone and loads
      strictly into a model with ``features_only=True``, or whose ``conv_head`` and ``act2`` are the identity; a model
      with classifier loads it with ``strict=False`` and lacks ``conv_head`` and ``classifier`` alone.
    * BatchNorm adds 1e-5 to the variance there and 1e-3 in the network that was trained. The file's running variances
      are larger by the difference, so that the outputs are the same in evaluation mode.
    """

    packages = ("timm",)

    def check(self, name: str, architecture: Architecture) -> None:
        """A ResNet of another stem cannot be had."""
        if isinstance(architecture, ResNetArchitecture) and architecture.stem_channels != _STEM:
            raise ConfigError(
                f"the format 'timm' cannot hold sub-network '{name}': timm's ResNet has a stem of {_STEM} channels and "
                f"the sub-network one of {architecture.stem_channels}; use torchvision, mmpretrain, mmdet or onnx."
            )

    def tensors(self, source: Source) -> dict[str, Tensor]:
        """ResNets have timm's keys from the start."""
        if isinstance(source.architecture, ResNetArchitecture):
            return source.state
        return shifted(rename(source.state, timm_layers(source.architecture.arch)), BN_EPS - TIMM_EPS)

    def restored(self, tensors: Mapping[str, Tensor], architecture: Architecture) -> dict[str, Tensor]:
        """Own names and variances of a MobileNetV3."""
        if isinstance(architecture, ResNetArchitecture):
            return dict(tensors)
        return restore(shifted(tensors, TIMM_EPS - BN_EPS), timm_layers(architecture.arch))

    def read(self, source: Source, path: Path) -> Iterable[Reading]:
        """Into timm's class, strictly."""
        architecture = source.architecture
        if isinstance(architecture, ResNetArchitecture):
            import timm

            name, options = _resnet(architecture)
            model: nn.Module = timm.create_model(name, **options)
            given = _arguments({key: value for key, value in options.items() if key != "num_classes"})
            label, run = f"timm's {name}({given})" if given else f"timm's {name}", resnet_outputs
        else:
            label, model = _mobilenet(architecture)
            run = _mobilenet_outputs
        model.load_state_dict(load_state_dict(path), strict=True)
        yield reading(label, model, run)

    def usage(self, source: Source, target: Path) -> str:
        """Python lines that need timm alone."""
        architecture = source.architecture
        if isinstance(architecture, ResNetArchitecture):
            name, options = _resnet(architecture)
            lines = [f"net = timm.create_model({name!r}, {_arguments(options)})"]
        else:
            lines = _mobilenet_lines(architecture)
        return torch_lines(source, target, lines)

    def details(self, source: Source) -> dict[str, Any]:
        """What a user of timm has to know of a MobileNetV3."""
        if isinstance(source.architecture, ResNetArchitecture):
            return {}
        return {
            "batch_norm": {"eps": TIMM_EPS, "running_var_shift": BN_EPS - TIMM_EPS},
            "notes": [
                f"BatchNorm of timm's MobileNetV3 has eps {TIMM_EPS:g} and the trained network {BN_EPS:g}: the running "
                f"variances of this file are larger by {BN_EPS - TIMM_EPS:g}, which makes the outputs equal in "
                "evaluation mode; do not set bn_eps.",
                "conv_head follows the pooling and is part of timm's classifier: a model with classifier loads this "
                "file with strict=False and lacks conv_head and classifier.",
            ],
        }


def _arguments(options: dict[str, Any]) -> str:
    return ", ".join(f"{key}={value!r}" for key, value in options.items())


def _resnet(architecture: ResNetArchitecture) -> tuple[str, dict[str, Any]]:
    """Name and options of ``timm.create_model``; a name that is not the network's own gets its blocks and widths."""
    options: dict[str, Any] = {"num_classes": 0}
    if architecture.in_channels != 3:
        options["in_chans"] = architecture.in_channels
    if architecture.depth is None:
        options["layers"] = architecture.blocks
    if architecture.base_channels != 64:
        options["channels"] = architecture.stage_channels
    return f"resnet{architecture.depth or {'basic': 18, 'bottleneck': 50}[architecture.block]}", options


def _stock_mobilenet(architecture: MobileNetV3Architecture) -> str | None:
    """The name of timm's own model of this shape."""
    return f"mobilenetv3_{architecture.arch}_100" if architecture.width == 1 else None


def _mobilenet(architecture: MobileNetV3Architecture) -> tuple[str, nn.Module]:
    import timm
    from timm.models.mobilenetv3 import MobileNetV3

    name, images = _stock_mobilenet(architecture), architecture.in_channels
    if name is not None:
        model: Any = timm.create_model(name, num_classes=0, in_chans=images)
    else:
        model = MobileNetV3(**mobilenet_options(architecture), num_classes=0, in_chans=images)
    model.conv_head = model.act2 = nn.Identity()
    return f"timm's {name or 'MobileNetV3 of these widths'}", model


def mobilenet_options(architecture: MobileNetV3Architecture) -> dict[str, Any]:
    """Options of timm's class MobileNetV3 that make the network of this width, without its classifier."""
    from timm.models.mobilenetv3 import SqueezeExcite, decode_arch_def

    return {
        "block_args": decode_arch_def(_blocks(architecture)),
        "stem_size": architecture.shape.stem,
        "act_layer": nn.Hardswish,
        "se_layer": partial(SqueezeExcite, gate_layer="hard_sigmoid", force_act_layer=nn.ReLU),
    }


def _mobilenet_lines(architecture: MobileNetV3Architecture) -> list[str]:
    name, images = _stock_mobilenet(architecture), architecture.in_channels
    identity = "net.conv_head = net.act2 = torch.nn.Identity()  # they follow the pooling, as part of the classifier"
    if name is not None:
        in_chans = f", in_chans={images}" if images != 3 else ""
        return [f"net = timm.create_model({name!r}, num_classes=0{in_chans})", identity]
    return [
        "import functools, timm.models.mobilenetv3 as mobilenetv3",
        "net = mobilenetv3.MobileNetV3(",
        "    mobilenetv3.decode_arch_def([",
        *(f"        {stage!r}," for stage in _blocks(architecture)),
        "    ]),",
        f"    num_classes=0, in_chans={images}, stem_size={architecture.shape.stem}, act_layer=torch.nn.Hardswish,",
        "    se_layer=functools.partial(",
        "        mobilenetv3.SqueezeExcite, gate_layer='hard_sigmoid', force_act_layer=torch.nn.ReLU),",
        ")",
        identity,
    ]


def _blocks(architecture: MobileNetV3Architecture) -> list[list[str]]:
    """The blocks by stages in timm's notation, with ratios that give exactly the channels of the sub-network."""
    shape, specs = architecture.shape, ARCHITECTURES[architecture.arch]
    found = []
    for stage in stages(architecture.arch):
        rows = []
        for index in stage:
            spec, widths = specs[index], shape.blocks[index]
            inputs = shape.outputs[index]
            kind = "ds" if widths.expanded == inputs else "ir"
            squeeze = f"_se{widths.squeezed / widths.expanded:.6f}" if spec.squeeze else ""
            relu = "" if spec.hardswish else "_nre"
            expansion = f"{widths.expanded / inputs:.6f}"
            rows.append(f"{kind}_r1_k{spec.kernel}_s{spec.stride}_e{expansion}_c{widths.out}{squeeze}{relu}")
        found.append(rows)
    return [*found, [f"cn_r1_k1_s1_c{shape.head}"]]


def _mobilenet_outputs(model: Any, images: Tensor) -> Outputs:
    stem = torch.nn.Sequential(model.conv_stem, model.bn1)  # bn1 has the activation in it
    return chained([stem, *(block for stage in model.blocks for block in stage)], images)
