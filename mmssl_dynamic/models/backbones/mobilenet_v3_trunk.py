"""The MobileNetV3 that the slimmable super-network and its static twins have in common (Howard et al. 2019).

Key names and the numbering of outputs are those of mmpretrain's MobileNetV3; shapes are those of torchvision's at any
width. The layers come from a factory, elastic or plain, so both kinds run the same code.
N batch, C channels, H W height and width.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Generic, NamedTuple

from torch import Tensor, nn

from mmssl_dynamic.errors import ConfigError
from mmssl_dynamic.models.backbones.block import Block
from mmssl_dynamic.models.backbones.layers import Layers, Width, total
from mmssl_dynamic.models.backbones.slimmable import make_divisible
from mmssl_dynamic.models.backbones.trunk import Trunk

BN_EPS = 1e-3
BN_MOMENTUM = 0.01
STEM = 16  # channels at width 1.0
HEAD_EXPANSION = 6  # of the last 1 x 1 convolution


class BlockSpec(NamedTuple):
    """One row of MobileNetV3's Tables 1 and 2, at width 1.0."""

    kernel: int
    expanded: int
    out: int
    squeeze: bool
    hardswish: bool
    stride: int


ARCHITECTURES: dict[str, tuple[BlockSpec, ...]] = {
    arch: tuple(BlockSpec(*row) for row in rows)
    for arch, rows in {
        "large": (
            (3, 16, 16, False, False, 1),
            (3, 64, 24, False, False, 2),
            (3, 72, 24, False, False, 1),
            (5, 72, 40, True, False, 2),
            (5, 120, 40, True, False, 1),
            (5, 120, 40, True, False, 1),
            (3, 240, 80, False, True, 2),
            (3, 200, 80, False, True, 1),
            (3, 184, 80, False, True, 1),
            (3, 184, 80, False, True, 1),
            (3, 480, 112, True, True, 1),
            (3, 672, 112, True, True, 1),
            (5, 672, 160, True, True, 2),
            (5, 960, 160, True, True, 1),
            (5, 960, 160, True, True, 1),
        ),
        "small": (
            (3, 16, 16, True, False, 2),
            (3, 72, 24, False, False, 2),
            (3, 88, 24, False, False, 1),
            (5, 96, 40, True, True, 2),
            (5, 240, 40, True, True, 1),
            (5, 240, 40, True, True, 1),
            (5, 120, 48, True, True, 1),
            (5, 144, 48, True, True, 1),
            (5, 288, 96, True, True, 2),
            (5, 576, 96, True, True, 1),
            (5, 576, 96, True, True, 1),
        ),
    }.items()
}


class BlockWidths(NamedTuple):
    """Channels of one block at some width."""

    expanded: int
    squeezed: int  # of the squeeze-and-excitation layer; 0 without one
    out: int


class MobileNetWidths(NamedTuple):
    """Channels of a MobileNetV3 at some width."""

    stem: int
    blocks: tuple[BlockWidths, ...]
    head: int

    @property
    def outputs(self) -> tuple[int, ...]:
        """Channels of every output that ``out_indices`` can name."""
        return (self.stem, *(block.out for block in self.blocks), self.head)


def mobilenet_widths(arch: str, width: float) -> MobileNetWidths:
    """Channels at a width, rounded as in torchvision.

    Raises:
        ConfigError: unknown ``arch``, or a width at which a block loses its expansion and is built otherwise.
    """
    if arch not in ARCHITECTURES:
        raise ConfigError(f"arch='{arch}' is not available; choose one of {sorted(ARCHITECTURES)}.")
    inputs = stem = make_divisible(STEM * width)
    blocks = []
    base_inputs = STEM
    for spec in ARCHITECTURES[arch]:
        expanded, out = make_divisible(spec.expanded * width), make_divisible(spec.out * width)
        if (expanded == inputs) != (spec.expanded == base_inputs):
            raise ConfigError(f"width {width} of MobileNetV3-{arch} is too small; use at least 0.25.")
        blocks.append(BlockWidths(expanded, make_divisible(expanded // 4) if spec.squeeze else 0, out))
        inputs, base_inputs = out, spec.out
    return MobileNetWidths(stem, tuple(blocks), HEAD_EXPANSION * inputs)


class ConvNormAct(nn.Module):
    """Convolution, norm and activation, each optional but the first, under the names of mmcv's ``ConvModule``."""

    def __init__(self, conv: nn.Module, bn: nn.Module | None = None, activate: nn.Module | None = None) -> None:
        super().__init__()
        self.conv, self.bn = conv, bn
        self.activate = activate if activate is not None else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        """(N, C_in, H, W) -> (N, C_out, H', W')."""
        x = self.conv(x)
        return self.activate(x if self.bn is None else self.bn(x))


class SqueezeExcitation(nn.Module):
    """Channels weighted by what the image as a whole holds."""

    def __init__(self, layers: Any, channels: Any, squeezed: Any) -> None:
        super().__init__()
        self.conv1 = ConvNormAct(layers.conv(channels, squeezed, 1, bias=True), None, nn.ReLU(inplace=True))
        self.conv2 = ConvNormAct(layers.conv(squeezed, channels, 1, bias=True), None, nn.Hardsigmoid())

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) -> the same shape."""
        return x * self.conv2(self.conv1(nn.functional.adaptive_avg_pool2d(x, 1)))


class InvertedResidual(Block):
    """Expansion, depthwise convolution, squeeze-and-excitation and projection around a shortcut.

    Args:
        layers: The factory of convolutions and norm layers.
        spec: Kernel, stride and activation.
        inputs: Width of the input.
        expanded: Width inside.
        squeezed: Width of the squeeze-and-excitation layer, if there is one.
        outputs: Width of the output.
    """

    def __init__(self, layers: Any, spec: BlockSpec, inputs: Any, expanded: Any, squeezed: Any, outputs: Any) -> None:
        super().__init__()
        activation = nn.Hardswish if spec.hardswish else nn.ReLU

        def unit(a: Any, b: Any, kernel: int, stride: int = 1, depthwise: bool = False, act: bool = True) -> nn.Module:
            conv = layers.conv(a, b, kernel, stride, depthwise=depthwise)
            return ConvNormAct(conv, layers.norm(b), activation(inplace=True) if act else None)

        self.stride, self.inputs, self.expanded, self.outputs = spec.stride, inputs, expanded, outputs
        self.expand_conv = unit(inputs, expanded, 1) if total(expanded) != total(inputs) else None
        self.depthwise_conv = unit(expanded, expanded, spec.kernel, spec.stride, depthwise=True)
        self.se = SqueezeExcitation(layers, expanded, squeezed) if spec.squeeze else None
        self.linear_conv = unit(expanded, outputs, 1, act=False)
        self.residual = layers.residual(inputs, outputs) if spec.stride == 1 else None

    def run(self, x: Tensor) -> Tensor:
        """(N, C_in, H, W) -> (N, C_out, H / stride, W / stride)."""
        out = x if self.expand_conv is None else self.expand_conv(x)
        out = self.depthwise_conv(out)
        out = out if self.se is None else self.se(out)
        out = self.linear_conv(out)
        return out if self.residual is None else self.residual(x, out)

    def tied_channels(self) -> list[tuple[Any, Any]]:
        """Activations of the full network whose channels correspond one to one."""
        tied = [] if self.expand_conv is not None else [(self.inputs, self.expanded)]
        if self.stride == 1 and total(self.inputs) == total(self.outputs):
            tied.append((self.inputs, self.outputs))
        return tied


class MobileNetV3Trunk(Trunk, Generic[Width]):
    """Stem, inverted residual blocks and the last 1 x 1 convolution; what OpenMMLab expects of a backbone.

    Args:
        layers: The factory of convolutions and norm layers.
        arch: ``'large'`` or ``'small'``.
        images: Width of the images.
        stem: Width of the stem.
        blocks: (expanded, squeezed, output) width of every block.
        head: Width of the last convolution.
        out_indices: Outputs that are returned: 0 the stem, i block i, the number of blocks + 1 the last convolution,
            which is the default.
        frozen_stages: Freezes the layers 0 to this one, numbered in the same way; -1 freezes nothing.
        kwargs: ``norm_eval``, ``with_cp`` and ``init_cfg`` of :class:`~mmssl_dynamic.models.backbones.trunk.Trunk`.

    Raises:
        ConfigError: an index out of range.
    """

    def __init__(
        self,
        layers: Layers,
        arch: str,
        images: Width,
        stem: Width,
        blocks: Sequence[tuple[Width, Width, Width]],
        head: Width,
        out_indices: Sequence[int] | None = None,
        frozen_stages: int = -1,
        **kwargs: Any,
    ) -> None:
        last = len(blocks) + 1
        super().__init__(0, (last,) if out_indices is None else out_indices, frozen_stages, **kwargs)
        self.arch = arch
        if not self.out_indices or list(self.out_indices) != sorted(set(self.out_indices) & set(range(last + 1))):
            raise ConfigError(f"out_indices={self.out_indices} must be ascending numbers from 0 to {last}.")
        if frozen_stages not in range(-1, last + 1):
            raise ConfigError(f"frozen_stages={frozen_stages} must be -1 (nothing) or 0 to {last}.")
        self.layer0 = ConvNormAct(
            layers.conv(images, stem, 3, 2),  # type: ignore[arg-type]
            layers.norm(stem),  # type: ignore[arg-type]
            nn.Hardswish(inplace=True),
        )
        inputs = stem
        for i, (spec, (expanded, squeezed, outputs)) in enumerate(zip(ARCHITECTURES[arch], blocks), start=1):
            self.add_module(f"layer{i}", InvertedResidual(layers, spec, inputs, expanded, squeezed, outputs))
            inputs = outputs
        self.add_module(
            f"layer{last}",
            ConvNormAct(
                layers.conv(inputs, head, 1),  # type: ignore[arg-type]
                layers.norm(head),  # type: ignore[arg-type]
                nn.Hardswish(inplace=True),
            ),
        )
        self.finish([stem, *(outputs for _, _, outputs in blocks), head])

    def frozen_layers(self) -> list[nn.Module]:
        """The first layers."""
        return [getattr(self, f"layer{index}") for index in range(self.frozen_stages + 1)]
