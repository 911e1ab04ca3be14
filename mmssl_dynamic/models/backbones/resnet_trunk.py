"""The ResNet that elastic super-networks and their static twins have in common.

Blocks and key names are those of torchvision's and mmpretrain's ResNet (v1.5: the stride sits in the 3 x 3
convolution). The layers come from a factory, elastic or plain, so both kinds run the same code.
N batch, C channels, H W height and width; a stage's *mid* channels are its width W.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Generic

from mmengine.model import constant_init
from torch import Tensor, nn

from mmssl_dynamic.errors import ConfigError
from mmssl_dynamic.models.backbones.block import Block
from mmssl_dynamic.models.backbones.layers import Layers, Width, total
from mmssl_dynamic.models.backbones.trunk import Trunk
from mmssl_dynamic.models.elastic import Channels, ElasticBatchNorm


class BasicBlock(Block):
    """Two 3 x 3 convolutions around a shortcut (ResNet-18 and 34)."""

    expansion = 1

    def __init__(self, layers: Any, inputs: Any, mid: Any, outputs: Any, stride: int, project: bool) -> None:
        super().__init__()
        self.conv1 = layers.conv(inputs, mid, 3, stride)
        self.bn1 = layers.norm(mid)
        self.conv2 = layers.conv(mid, outputs, 3)
        self.bn2 = layers.norm(outputs)
        self.relu = nn.ReLU(inplace=True)
        self.downsample = _shortcut(layers, inputs, outputs, stride) if project else None

    def run(self, x: Tensor) -> Tensor:
        """(N, C_in, H, W) -> (N, C_out, H / stride, W / stride)."""
        shortcut = x if self.downsample is None else self.downsample(x)
        out = self.relu(self.bn1(self.conv1(x)))
        out = self.bn2(self.conv2(out))
        return self.relu(out + shortcut)

    def tied_channels(self) -> list[tuple[Any, Any]]:
        """Activations whose channels correspond one to one: of a block without projection its input and its output."""
        return [] if self.downsample is not None else [(self.conv1.inputs, self.conv2.outputs)]


class Bottleneck(Block):
    """1 x 1, 3 x 3 and 1 x 1 convolutions around a shortcut (ResNet-50 and 101)."""

    expansion = 4

    def __init__(self, layers: Any, inputs: Any, mid: Any, outputs: Any, stride: int, project: bool) -> None:
        super().__init__()
        self.conv1 = layers.conv(inputs, mid, 1)
        self.bn1 = layers.norm(mid)
        self.conv2 = layers.conv(mid, mid, 3, stride)
        self.bn2 = layers.norm(mid)
        self.conv3 = layers.conv(mid, outputs, 1)
        self.bn3 = layers.norm(outputs)
        self.relu = nn.ReLU(inplace=True)
        self.downsample = _shortcut(layers, inputs, outputs, stride) if project else None

    def run(self, x: Tensor) -> Tensor:
        """(N, C_in, H, W) -> (N, C_out, H / stride, W / stride)."""
        shortcut = x if self.downsample is None else self.downsample(x)
        out = self.relu(self.bn1(self.conv1(x)))
        out = self.relu(self.bn2(self.conv2(out)))
        out = self.bn3(self.conv3(out))
        return self.relu(out + shortcut)

    def tied_channels(self) -> list[tuple[Any, Any]]:
        """Activations whose channels correspond one to one: of a block without projection its input and its output."""
        return [] if self.downsample is not None else [(self.conv1.inputs, self.conv3.outputs)]


def _shortcut(layers: Any, inputs: Any, outputs: Any, stride: int) -> nn.Sequential:
    return nn.Sequential(layers.conv(inputs, outputs, 1, stride), layers.norm(outputs))


ResNetBlock = type[BasicBlock] | type[Bottleneck]

BLOCKS: dict[str, ResNetBlock] = {"basic": BasicBlock, "bottleneck": Bottleneck}

ARCHITECTURES: dict[int, tuple[ResNetBlock, tuple[int, int, int, int]]] = {
    18: (BasicBlock, (2, 2, 2, 2)),
    34: (BasicBlock, (3, 4, 6, 3)),
    50: (Bottleneck, (3, 4, 6, 3)),
    101: (Bottleneck, (3, 4, 23, 3)),
}
STRIDES = (1, 2, 2, 2)


def architecture(depth: int) -> tuple[ResNetBlock, tuple[int, int, int, int]]:
    """Block class and blocks per stage of a depth.

    Raises:
        ConfigError: the depth is not one of 18, 34, 50, 101.
    """
    if depth not in ARCHITECTURES:
        raise ConfigError(f"depth={depth} is not available; choose one of {sorted(ARCHITECTURES)}.")
    return ARCHITECTURES[depth]


class ResNetTrunk(Trunk, Generic[Width]):
    """Stem, four stages, and what OpenMMLab expects of a backbone.

    Args:
        layers: The factory of convolutions and norm layers.
        block: Class of the blocks.
        blocks: Number of blocks of every stage.
        image_channels: Width of the images, a number or ``Channels`` as the factory takes them.
        stem: Width of the stem.
        stages: (mid, output) width of every stage.
        out_indices: Stages (0 to 3) whose outputs are returned.
        frozen_stages: 0 freezes the stem, i freezes the stem and stages 1 to i; -1 freezes nothing.
        zero_init_residual: Start every block as the identity.
        depths: How many of its blocks each stage runs now, for an elastic depth.
        kwargs: ``norm_eval``, ``with_cp`` and ``init_cfg`` of :class:`~mmssl_dynamic.models.backbones.trunk.Trunk`.

    Raises:
        ConfigError: unknown depth, stage or freezing.
    """

    num_stages = 4

    def __init__(
        self,
        layers: Layers,
        block: ResNetBlock,
        blocks: Sequence[int],
        image_channels: Width,
        stem: Width,
        stages: Sequence[tuple[Width, Width]],
        out_indices: Sequence[int] = (3,),
        frozen_stages: int = -1,
        zero_init_residual: bool = True,
        depths: Sequence[Channels] | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(4, _checked_indices(out_indices), frozen_stages, **kwargs)
        self.block, self.blocks = block, tuple(blocks)
        if frozen_stages not in range(-1, 5):
            raise ConfigError(f"frozen_stages={frozen_stages} must be -1 (nothing), 0 (the stem) or 1 to 4.")
        self.zero_init_residual = zero_init_residual
        self.conv1 = layers.conv(image_channels, stem, 7, 2)  # type: ignore[arg-type]
        self.bn1 = layers.norm(stem)  # type: ignore[arg-type]
        self.relu = nn.ReLU(inplace=True)
        self.maxpool = nn.MaxPool2d(3, stride=2, padding=1)
        inputs = stem
        for i, ((mid, outputs), count, stride) in enumerate(zip(stages, blocks, STRIDES)):
            made: list[nn.Module] = []
            for j in range(count):
                # As in torchvision: a block projects its shortcut unless it keeps size and width.
                project = j == 0 and (stride != 1 or total(inputs) != total(outputs))
                made.append(block(layers, inputs, mid, outputs, stride if j == 0 else 1, project))
                inputs = outputs
            self.add_module(f"layer{i + 1}", layers.stage(made, None if depths is None else depths[i]))
        self.finish([outputs for _, outputs in stages])

    def stage(self, index: int, x: Tensor) -> Tensor:
        """Run stage ``index`` (0 to 3)."""
        return getattr(self, f"layer{index + 1}")(x)

    def init_residuals(self) -> None:
        """Start every block as the identity, if asked to."""
        for module in self.modules() if self.zero_init_residual else ():
            if isinstance(module, BasicBlock | Bottleneck):
                _zero_scale(module.bn2 if isinstance(module, BasicBlock) else module.bn3)

    def frozen_layers(self) -> list[nn.Module]:
        """The stem, then the stages."""
        stem = [self.conv1, self.bn1] if self.frozen_stages >= 0 else []
        return stem + [getattr(self, f"layer{i}") for i in range(1, self.frozen_stages + 1)]


def _zero_scale(norm: nn.Module) -> None:
    if isinstance(norm, ElasticBatchNorm):
        norm.fill_weight(0)
    else:
        constant_init(norm, 0)


def _checked_indices(out_indices: Sequence[int]) -> tuple[int, ...]:
    indices = tuple(out_indices)
    if not indices or list(indices) != sorted(set(indices)) or not set(indices) <= set(range(4)):
        raise ConfigError(f"out_indices={tuple(out_indices)} must be ascending stages out of 0, 1, 2, 3.")
    return indices
