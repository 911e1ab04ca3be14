"""Names of MobileNetV3's layers here, which are mmpretrain's, and in torchvision and timm."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import groupby

from torch import Tensor

from mmssl_dynamic.models.backbones.mobilenet_v3_trunk import ARCHITECTURES, BN_EPS, STEM, BlockSpec

TIMM_EPS = 1e-5  # of BatchNorm in timm's MobileNetV3, where torchvision and mmpretrain have 1e-3


def rename(state: Mapping[str, Tensor], layers: Mapping[str, str]) -> dict[str, Tensor]:
    """A state dict with other names of layers; their parameters and buffers, and other layers, keep theirs."""
    renamed = {}
    for key, tensor in state.items():
        layer, dot, parameter = key.rpartition(".")
        renamed[f"{layers.get(layer, layer)}{dot}{parameter}"] = tensor
    return renamed


def restore(state: Mapping[str, Tensor], layers: Mapping[str, str]) -> dict[str, Tensor]:
    """What :func:`rename` was given, out of what it gave."""
    return rename(state, {stock: own for own, stock in layers.items()})


def own_names(state: Mapping[str, Tensor], arch: str) -> dict[str, Tensor]:
    """Weights of torchvision's or timm's MobileNetV3 under the names here, without what follows the pooling.

    BatchNorm adds less to the variance in timm, which the running variances make up for: the outputs are the same in
    evaluation mode.
    """
    if "features.0.0.weight" in state:
        return restore(_below(state, "features."), torchvision_layers(arch))
    if "conv_stem.weight" in state:
        return restore(shifted(_below(state, "conv_stem.", "bn1.", "blocks."), TIMM_EPS - BN_EPS), timm_layers(arch))
    return dict(state)


def shifted(state: Mapping[str, Tensor], shift: float) -> dict[str, Tensor]:
    """A state dict whose running variances are larger by ``shift``."""
    return {key: tensor + shift if key.endswith("running_var") else tensor for key, tensor in state.items()}


def _below(state: Mapping[str, Tensor], *prefixes: str) -> dict[str, Tensor]:
    return {key: tensor for key, tensor in state.items() if key.startswith(prefixes)}


def torchvision_layers(arch: str) -> dict[str, str]:
    """Own names of all layers with weights to torchvision's, which begin with ``features.``."""
    names = _unit("layer0", "features.0.0", "features.0.1")
    for index, (spec, expands) in enumerate(_blocks(arch), start=1):
        parts = [part for part, there in _parts(spec, expands) if there]
        for number, part in enumerate(parts):
            own, stock = f"layer{index}.{part}", f"features.{index}.block.{number}"
            if part == "se":
                names |= {f"{own}.conv1.conv": f"{stock}.fc1", f"{own}.conv2.conv": f"{stock}.fc2"}
            else:
                names |= _unit(own, f"{stock}.0", f"{stock}.1")
    last = len(ARCHITECTURES[arch]) + 1
    return names | _unit(f"layer{last}", f"features.{last}.0", f"features.{last}.1")


def timm_layers(arch: str) -> dict[str, str]:
    """Own names of all layers with weights to timm's; the last convolution is timm's last block."""
    names = _unit("layer0", "conv_stem", "bn1")
    specs = list(_blocks(arch))
    for stage, group in enumerate(stages(arch)):
        for position, index in enumerate(group):
            spec, expands = specs[index]
            own, stock = f"layer{index + 1}", f"blocks.{stage}.{position}"
            # A block without expansion is depthwise separable there, and its projection is its first 1 x 1 convolution.
            convs = ("conv_pw", "conv_dw", "conv_pwl") if expands else ("conv_dw", "conv_pw")
            parts = [part for part, there in _parts(spec, expands) if there and part != "se"]
            for number, (part, conv) in enumerate(zip(parts, convs), start=1):
                names |= _unit(f"{own}.{part}", f"{stock}.{conv}", f"{stock}.bn{number}")
            if spec.squeeze:
                names[f"{own}.se.conv1.conv"] = f"{stock}.se.conv_reduce"
                names[f"{own}.se.conv2.conv"] = f"{stock}.se.conv_expand"
    last = f"blocks.{len(stages(arch))}.0"
    return names | _unit(f"layer{len(specs) + 1}", f"{last}.conv", f"{last}.bn1")


def stages(arch: str) -> list[list[int]]:
    """Blocks by timm's stages: neighbours that put out equally many channels at width 1.0."""
    specs = ARCHITECTURES[arch]
    return [list(group) for _, group in groupby(range(len(specs)), key=lambda index: specs[index].out)]


def _blocks(arch: str) -> list[tuple[BlockSpec, bool]]:
    """Every block and whether it begins with an expansion."""
    inputs = [STEM, *(spec.out for spec in ARCHITECTURES[arch])]
    return [(spec, spec.expanded != before) for spec, before in zip(ARCHITECTURES[arch], inputs)]


def _parts(spec: BlockSpec, expands: bool) -> tuple[tuple[str, bool], ...]:
    """Parts of a block in their order, and whether the block has them."""
    return (("expand_conv", expands), ("depthwise_conv", True), ("se", spec.squeeze), ("linear_conv", True))


def _unit(own: str, conv: str, norm: str) -> dict[str, str]:
    return {f"{own}.conv": conv, f"{own}.bn": norm}
