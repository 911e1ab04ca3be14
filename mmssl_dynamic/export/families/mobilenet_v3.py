"""MobileNetV3s of any width, in torchvision, timm and mmpretrain.

Names of layers are mmpretrain's here, and others elsewhere
(:mod:`~mmssl_dynamic.models.backbones.mobilenet_v3_keys`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from mmssl_dynamic.errors import ConfigError
from mmssl_dynamic.export.families.architecture import (
    Architecture,
    Outputs,
    State,
    StockModel,
    chained,
    register_family,
)
from mmssl_dynamic.models.backbones import StaticMobileNetV3
from mmssl_dynamic.models.backbones.mobilenet_v3_keys import (
    TIMM_EPS,
    rename,
    restore,
    shifted,
    stages,
    timm_layers,
    torchvision_layers,
)
from mmssl_dynamic.models.backbones.mobilenet_v3_trunk import ARCHITECTURES as MOBILENETS
from mmssl_dynamic.models.backbones.mobilenet_v3_trunk import BN_EPS, MobileNetWidths, mobilenet_widths


@register_family
@dataclass(frozen=True)
class MobileNetV3Architecture(Architecture):
    """A MobileNetV3 of any width.

    Attributes:
        arch: ``'large'`` or ``'small'``.
        width: Multiplier of the channels.
        in_channels: Channels of the images.
    """

    family = "MobileNetV3"
    network = StaticMobileNetV3

    arch: str
    width: float = 1.0
    in_channels: int = 3

    def __post_init__(self) -> None:
        if not isinstance(self.width, int | float) or not self.width > 0:
            raise ConfigError(f"width={self.width} of a MobileNetV3 must be a positive number.")
        mobilenet_widths(self.arch, self.width)  # refuses unknown archs and widths

    @classmethod
    def of(cls, network: StaticMobileNetV3) -> MobileNetV3Architecture:
        """That of a network."""
        return cls(network.arch, network.width, network.in_channels)

    def build(self, **options: Any) -> StaticMobileNetV3:
        """A :class:`~mmssl_dynamic.models.StaticMobileNetV3` with random weights."""
        return StaticMobileNetV3(self.arch, self.width, self.in_channels, **options)

    @property
    def shape(self) -> MobileNetWidths:
        """Channels of all layers."""
        return mobilenet_widths(self.arch, self.width)

    @property
    def out_indices(self) -> list[int]:
        """The last outputs with strides 4, 8, 16 and 32, as mmpretrain numbers them: 0 the stem, i block i."""
        strides = [spec.stride for spec in MOBILENETS[self.arch]]
        before = [i for i, stride in enumerate(strides) if stride == 2]  # output i is what block i + 1 takes
        # The outputs before each halving; the first halving of a block leaves stride 2, the stem's.
        return [*before[1:], len(strides) + 1]

    @property
    def out_channels(self) -> list[int]:
        """Channels of the outputs with strides 4, 8, 16 and 32; the last one is the last 1 x 1 convolution."""
        outputs = self.shape.outputs
        return [outputs[i] for i in self.out_indices]

    def torchvision(self) -> StockModel:
        """Torchvision's ``mobilenet_v3_large`` or ``_small`` with ``classifier`` set to the identity."""
        return StockModel(
            f"torchvision's mobilenet_v3_{self.arch}(width_mult={self.width!r})",
            lambda: torchvision_mobilenet_v3(self),
            _torchvision_lines(self),
            lambda model, images: chained(list(model.features), images),
            lambda state: rename(state, torchvision_layers(self.arch)),
            lambda state: restore(state, torchvision_layers(self.arch)),
        )

    def timm(self) -> StockModel:
        """Timm's models of width 1.0, which are those of torchvision and mmpretrain.

        Its models of other widths (``mobilenetv3_large_075``, ``mobilenetv3_small_050``, ...) round the channels inside
        of the blocks in another way, so other widths load into timm's class, built block by block. Two things differ
        from the other formats:

        * ``conv_head``, which follows the pooling, belongs to the classifier. The file holds the backbone and loads
          strictly into a model with ``features_only=True``, or whose ``conv_head`` and ``act2`` are the identity; a
          model with classifier loads it with ``strict=False`` and lacks ``conv_head`` and ``classifier`` alone.
        * BatchNorm adds 1e-5 to the variance there and 1e-3 in the network that was trained. The file's running
          variances are larger by the difference, so that the outputs are the same in evaluation mode.
        """
        layers, shift = timm_layers(self.arch), BN_EPS - TIMM_EPS

        def exported(state: Mapping[str, Tensor]) -> State:
            return shifted(rename(state, layers), shift)

        def restored(state: Mapping[str, Tensor]) -> State:
            return restore(shifted(state, -shift), layers)

        details = {
            "batch_norm": {"eps": TIMM_EPS, "running_var_shift": shift},
            "notes": [
                f"BatchNorm of timm's MobileNetV3 has eps {TIMM_EPS:g} and the trained network {BN_EPS:g}: the running "
                f"variances of this file are larger by {shift:g}, which makes the outputs equal in evaluation mode; do "
                "not set bn_eps.",
                "conv_head follows the pooling and is part of timm's classifier: a model with classifier loads this "
                "file with strict=False and lacks conv_head and classifier.",
            ],
        }
        label = f"timm's {_timm_name(self) or 'MobileNetV3 of these widths'}"
        return StockModel(
            label, lambda: _timm_model(self), _timm_lines(self), _timm_outputs, exported, restored, details
        )

    def mmpretrain(self, **options: Any) -> nn.Module | None:
        """Mmpretrain's ``MobileNetV3`` of width 1.0.

        Its small_075 and small_050 have other channels inside of the blocks, and it takes images of three channels.
        """
        from mmpretrain.models import MobileNetV3

        if self.width != 1 or self.in_channels != 3:
            return None
        return MobileNetV3(self.arch, **options)

    def stock_outputs(self, backbone: Any, images: Tensor) -> Outputs:
        """Outputs of all layers."""
        return chained([layer for name, layer in backbone.named_children() if name.startswith("layer")], images)


def torchvision_mobilenet_v3(architecture: MobileNetV3Architecture | Mapping[str, Any]) -> nn.Module:
    """``torchvision.models.mobilenet_v3_large`` or ``_small`` of a sub-network's width, without classifier.

    Args:
        architecture: A :class:`MobileNetV3Architecture` or the content of an export's sidecar.

    Returns:
        ``torchvision.models.MobileNetV3`` with random weights whose ``classifier`` is the identity; images
        (N, 3, H, W) -> pooled features (N, D). An export in the format ``torchvision`` loads into it strictly.

    Raises:
        ArtifactError: the sidecar of something else.
    """
    import torchvision

    if isinstance(architecture, Mapping):
        architecture = MobileNetV3Architecture.from_sidecar(architecture)
    model: Any = getattr(torchvision.models, f"mobilenet_v3_{architecture.arch}")(width_mult=architecture.width)
    if architecture.in_channels != 3:
        stem = architecture.shape.stem
        model.features[0][0] = nn.Conv2d(architecture.in_channels, stem, 3, stride=2, padding=1, bias=False)
    model.classifier = nn.Identity()
    return model


def _torchvision_lines(architecture: MobileNetV3Architecture) -> list[str]:
    images, stem = architecture.in_channels, architecture.shape.stem
    conv = f"net.features[0][0] = torch.nn.Conv2d({images}, {stem}, 3, stride=2, padding=1, bias=False)"
    return [
        f"net = torchvision.models.mobilenet_v3_{architecture.arch}(width_mult={architecture.width!r})",
        *([conv] if images != 3 else []),
        "net.classifier = torch.nn.Identity()",
    ]


def _timm_name(architecture: MobileNetV3Architecture) -> str | None:
    """The name of timm's own model of this shape."""
    return f"mobilenetv3_{architecture.arch}_100" if architecture.width == 1 else None


def _timm_model(architecture: MobileNetV3Architecture) -> nn.Module:
    import timm
    from timm.models.mobilenetv3 import MobileNetV3

    name, images = _timm_name(architecture), architecture.in_channels
    if name is not None:
        model: Any = timm.create_model(name, num_classes=0, in_chans=images)
    else:
        model = MobileNetV3(**timm_options(architecture), num_classes=0, in_chans=images)
    model.conv_head = model.act2 = nn.Identity()
    return model


def timm_options(architecture: MobileNetV3Architecture) -> dict[str, Any]:
    """Options of timm's class MobileNetV3 that make the network of this width, without its classifier."""
    from timm.models.mobilenetv3 import SqueezeExcite, decode_arch_def

    return {
        "block_args": decode_arch_def(_blocks(architecture)),
        "stem_size": architecture.shape.stem,
        "act_layer": nn.Hardswish,
        "se_layer": partial(SqueezeExcite, gate_layer="hard_sigmoid", force_act_layer=nn.ReLU),
    }


def _timm_lines(architecture: MobileNetV3Architecture) -> list[str]:
    name, images = _timm_name(architecture), architecture.in_channels
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
    shape, specs = architecture.shape, MOBILENETS[architecture.arch]
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


def _timm_outputs(model: Any, images: Tensor) -> Outputs:
    stem = torch.nn.Sequential(model.conv_stem, model.bn1)  # bn1 has the activation in it
    return chained([stem, *(block for stage in model.blocks for block in stage)], images)
