"""The ResNet that elastic super-networks and their static twins have in common.

Blocks and key names are those of torchvision's and mmpretrain's ResNet (v1.5: the stride sits in the 3 x 3
convolution). The layers come from a factory, elastic or plain, so both kinds run the same code.
N batch, C channels, H W height and width; a stage's *mid* channels are its width W.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Generic

from mmengine.model import BaseModule, constant_init
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from mmssl_dynamic.errors import ArtifactError, ConfigError
from mmssl_dynamic.fileio import load_state_dict
from mmssl_dynamic.models.backbones.layers import Layers, Width, total
from mmssl_dynamic.models.backbones.slimmable import check_networks, with_switches
from mmssl_dynamic.models.elastic import Channels, ElasticBatchNorm


class BasicBlock(nn.Module):
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

    @property
    def last_norm(self) -> nn.Module:
        """The norm layer before the addition."""
        return self.bn2

    def forward(self, x: Tensor) -> Tensor:
        """(N, C_in, H, W) -> (N, C_out, H / stride, W / stride)."""
        shortcut = x if self.downsample is None else self.downsample(x)
        out = self.relu(self.bn1(self.conv1(x)))
        out = self.bn2(self.conv2(out))
        return self.relu(out + shortcut)


class Bottleneck(nn.Module):
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

    @property
    def last_norm(self) -> nn.Module:
        """The norm layer before the addition."""
        return self.bn3

    def forward(self, x: Tensor) -> Tensor:
        """(N, C_in, H, W) -> (N, C_out, H / stride, W / stride)."""
        shortcut = x if self.downsample is None else self.downsample(x)
        out = self.relu(self.bn1(self.conv1(x)))
        out = self.relu(self.bn2(self.conv2(out)))
        out = self.bn3(self.conv3(out))
        return self.relu(out + shortcut)


def _shortcut(layers: Any, inputs: Any, outputs: Any, stride: int) -> nn.Sequential:
    return nn.Sequential(layers.conv(inputs, outputs, 1, stride), layers.norm(outputs))


Block = type[BasicBlock] | type[Bottleneck]

BLOCKS: dict[str, Block] = {"basic": BasicBlock, "bottleneck": Bottleneck}

ARCHITECTURES: dict[int, tuple[Block, tuple[int, int, int, int]]] = {
    18: (BasicBlock, (2, 2, 2, 2)),
    34: (BasicBlock, (3, 4, 6, 3)),
    50: (Bottleneck, (3, 4, 6, 3)),
    101: (Bottleneck, (3, 4, 23, 3)),
}
STRIDES = (1, 2, 2, 2)


def architecture(depth: int) -> tuple[Block, tuple[int, int, int, int]]:
    """Block class and blocks per stage of a depth.

    Raises:
        ConfigError: the depth is not one of 18, 34, 50, 101.
    """
    if depth not in ARCHITECTURES:
        raise ConfigError(f"depth={depth} is not available; choose one of {sorted(ARCHITECTURES)}.")
    return ARCHITECTURES[depth]


class ResNetTrunk(BaseModule, Generic[Width]):
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
        norm_eval: Keep norm layers in evaluation mode while training.
        zero_init_residual: Start every block as the identity.
        depths: How many of its blocks each stage runs now, for an elastic depth.
        init_cfg: mmengine's. A ``Pretrained`` checkpoint, a local file, is loaded strictly and without executing it.

    Raises:
        ConfigError: unknown depth, stage or freezing.
    """

    num_stages = 4

    def __init__(
        self,
        layers: Layers,
        block: Block,
        blocks: Sequence[int],
        image_channels: Width,
        stem: Width,
        stages: Sequence[tuple[Width, Width]],
        out_indices: Sequence[int] = (3,),
        frozen_stages: int = -1,
        norm_eval: bool = False,
        zero_init_residual: bool = True,
        depths: Sequence[Channels] | None = None,
        init_cfg: dict | list[dict] | None = None,
    ) -> None:
        default_init = [
            dict(type="Kaiming", layer=["Conv2d"]),
            dict(type="Constant", val=1, layer=["_BatchNorm", "GroupNorm"]),
        ]
        super().__init__(init_cfg if init_cfg is not None else default_init)
        self.block, self.blocks = block, tuple(blocks)
        self.out_indices = _checked_indices(out_indices)
        if frozen_stages not in range(-1, 5):
            raise ConfigError(f"frozen_stages={frozen_stages} must be -1 (nothing), 0 (the stem) or 1 to 4.")
        self.frozen_stages, self.norm_eval, self.zero_init_residual = frozen_stages, norm_eval, zero_init_residual
        self.conv1 = layers.conv(image_channels, stem, 7, 2)  # type: ignore[arg-type]
        self.bn1 = layers.norm(stem)  # type: ignore[arg-type]
        self.relu = nn.ReLU(inplace=True)
        self.maxpool = nn.MaxPool2d(3, stride=2, padding=1)
        inputs = stem
        for i, ((mid, outputs), count, stride) in enumerate(zip(stages, blocks, STRIDES)):
            made: list[nn.Module] = []
            for j in range(count):
                first = j == 0
                # As in torchvision: the first block projects its shortcut unless it keeps size and width.
                project = first and (stride != 1 or total(inputs) != total(outputs) or block is Bottleneck)
                made.append(block(layers, inputs, mid, outputs, stride if first else 1, project))
                inputs = outputs
            self.add_module(f"layer{i + 1}", layers.stage(made, None if depths is None else depths[i]))
        self._freeze()

    @property
    def out_channels(self) -> tuple[int, ...]:
        """Channels of every returned feature map."""
        raise NotImplementedError

    def stem(self, x: Tensor) -> Tensor:
        """Images (N, 3, H, W) -> (N, C, H / 4, W / 4)."""
        return self.maxpool(self.relu(self.bn1(self.conv1(x))))

    def stage(self, index: int, x: Tensor) -> Tensor:
        """Run stage ``index`` (0 to 3)."""
        return getattr(self, f"layer{index + 1}")(x)

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """Images (N, 3, H, W) -> one (N, C, H / stride, W / stride) for each of ``out_indices``."""
        x = self.stem(x)
        outputs = []
        for index in range(self.num_stages):
            x = self.stage(index, x)
            if index in self.out_indices:
                outputs.append(x)
        return tuple(outputs)

    def init_weights(self) -> None:
        """Initialise, or load ``init_cfg``'s checkpoint and refuse one that does not fit."""
        if load_pretrained(self):
            return
        super().init_weights()
        if self.zero_init_residual:
            for module in self.modules():
                if isinstance(module, BasicBlock | Bottleneck):
                    _zero_scale(module.last_norm)

    def _freeze(self) -> None:
        frozen = [self.conv1, self.bn1] if self.frozen_stages >= 0 else []
        frozen += [getattr(self, f"layer{i}") for i in range(1, self.frozen_stages + 1)]
        for module in frozen:
            module.eval()
            for parameter in module.parameters():
                parameter.requires_grad = False

    def train(self, mode: bool = True) -> ResNetTrunk:
        """Training mode, but for frozen stages and, with ``norm_eval``, norm layers."""
        super().train(mode)
        self._freeze()
        if mode and self.norm_eval:
            for module in self.modules():
                if isinstance(module, _BatchNorm):
                    module.eval()
        return self


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


def load_pretrained(module: BaseModule) -> bool:
    """Load the checkpoint that ``init_cfg`` names, by :func:`load_backbone_weights`; whether it names one.

    Raises:
        ArtifactError: as there.
    """
    configs = module.init_cfg if isinstance(module.init_cfg, list) else [module.init_cfg or {}]
    pretrained = next((config for config in configs if config.get("type") == "Pretrained"), None)
    if pretrained is None:
        return False
    load_backbone_weights(module, pretrained["checkpoint"], pretrained.get("prefix"))
    module._is_init = True
    return True


def load_backbone_weights(module: nn.Module, checkpoint: str, prefix: str | None = None) -> None:
    """Load a file's weights into a backbone, strictly.

    Args:
        module: The backbone.
        checkpoint: A file of :func:`mmssl_dynamic.fileio.load_state_dict`'s kinds.
        prefix: Part of the keys to strip, such as ``'backbone.'``; found by itself when left out.

    Raises:
        ArtifactError: weights are missing or have other shapes; the message names the first.
    """
    state = load_state_dict(checkpoint)
    stem = prefix.rstrip(".") + "." if prefix else ""
    if prefix is None and not any(name in state for name in module.state_dict()):
        stem = "backbone."
    state = {name.removeprefix(stem): tensor for name, tensor in state.items() if name.startswith(stem)}
    _load_strictly(module, state, checkpoint)


def _load_strictly(module: nn.Module, state: dict[str, Tensor], source: str) -> None:
    own = module.state_dict()
    plain = "switches" in own and len(state.get("switches", ())) < 2
    if "switches" in own:
        check_networks(own["switches"], state.get("switches"), f"checkpoint {source}")
        state = with_switches(state, own, source)
    missing = [name for name in own if name not in state and not name.endswith("num_batches_tracked")]
    if missing:
        raise ArtifactError(
            f"checkpoint {source} lacks {len(missing)} of the backbone's {len(own)} tensors, first '{missing[0]}'; "
            "give a checkpoint of this architecture."
        )
    wrong = next((name for name in own if name in state and state[name].shape != own[name].shape), None)
    if wrong is not None:
        holder, remedy = "backbone", "correct the backbone's options"
        if plain:
            holder, remedy = "backbone's largest network", f"give weights of a network of that width or {remedy}"
        elif "switches" not in own:
            remedy = f"export the sub-network first (tools/export.py) or {remedy}"
        raise ArtifactError(
            f"checkpoint {source} has '{wrong}' of shape {tuple(state[wrong].shape)} where the {holder} has "
            f"{tuple(own[wrong].shape)}; {remedy}."
        )
    module.load_state_dict({name: state[name] for name in own if name in state}, strict=False)
