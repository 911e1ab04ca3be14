"""ResNets of any widths and depths, in torchvision, timm and mmpretrain.

Names of layers are the same everywhere, so there is nothing to rename.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from mmssl_dynamic.errors import ConfigError
from mmssl_dynamic.export.families.architecture import (
    Architecture,
    NoStockModel,
    Outputs,
    StockModel,
    call,
    chained,
    register_family,
)
from mmssl_dynamic.models.backbones import StaticResNet
from mmssl_dynamic.models.backbones.resnet_trunk import ARCHITECTURES as RESNETS
from mmssl_dynamic.models.backbones.resnet_trunk import BLOCKS, STRIDES

Four = tuple[int, int, int, int]
_MOST, _MOST_BLOCKS = 2**20, 1000  # of what can be built at all
_TIMM_STEM = 64  # of every ResNet of timm with a plain stem


@register_family
@dataclass(frozen=True)
class ResNetArchitecture(Architecture):
    """A ResNet of any widths and depths.

    Attributes:
        block: ``'basic'`` or ``'bottleneck'``.
        blocks: Blocks of every stage.
        stage_channels: Mid channels of every stage; a stage puts out 1 (basic) or 4 (bottleneck) times as many.
        stem_channels: Channels of the stem.
        in_channels: Channels of the images.
    """

    family = "ResNet"
    network = StaticResNet

    block: str
    blocks: Four
    stage_channels: Four
    stem_channels: int = 64
    in_channels: int = 3

    def __post_init__(self) -> None:
        for field in ("blocks", "stage_channels"):
            object.__setattr__(self, field, tuple(getattr(self, field)))
        numbers = (*self.blocks, *self.stage_channels, self.stem_channels, self.in_channels)
        whole = all(type(number) is int and 0 < number <= _MOST for number in numbers)
        four = len(self.blocks) == len(self.stage_channels) == 4
        if self.block not in BLOCKS or not four or not whole or max(self.blocks) > _MOST_BLOCKS:
            raise ConfigError(f"{self} is no ResNet: it needs block 'basic' or 'bottleneck' and positive numbers.")

    @classmethod
    def of_depth(cls, depth: int, stage_channels: Four = (64, 128, 256, 512), **kwargs: Any) -> ResNetArchitecture:
        """The architecture of a depth that has a name: 18, 34, 50 or 101.

        Raises:
            ConfigError: it is another one.
        """
        if depth not in RESNETS:
            raise ConfigError(f"depth={depth} is not available; choose one of {sorted(RESNETS)}.")
        kind, blocks = RESNETS[depth]
        return cls("bottleneck" if kind.expansion == 4 else "basic", blocks, stage_channels, **kwargs)

    @classmethod
    def of(cls, network: StaticResNet) -> ResNetArchitecture:
        """That of a network."""
        block = next(name for name, kind in BLOCKS.items() if kind is network.block)
        blocks, stages = _four(network.blocks), _four(network.stage_channels)
        return cls(block, blocks, stages, network.stem_channels, network.in_channels)

    def build(self, **options: Any) -> StaticResNet:
        """A :class:`~mmssl_dynamic.models.StaticResNet` with random weights."""
        shape = (self.stage_channels, self.stem_channels, self.in_channels)
        return StaticResNet(None, *shape, block=self.block, blocks=self.blocks, **options)

    @property
    def depth(self) -> int | None:
        """18, 34, 50 or 101 if the blocks are those of this depth; else ``None``."""
        stock = {value: depth for depth, value in RESNETS.items()}
        return stock.get((BLOCKS[self.block], self.blocks))

    @property
    def out_indices(self) -> list[int]:
        """The outputs with strides 4, 8, 16 and 32."""
        return [0, 1, 2, 3]

    @property
    def out_channels(self) -> list[int]:
        """Channels of the outputs with strides 4, 8, 16 and 32."""
        return [width * BLOCKS[self.block].expansion for width in self.stage_channels]

    @property
    def base_channels(self) -> int | None:
        """Width of the first stage if the widths double from stage to stage, as in stock ResNets; else ``None``."""
        base = self.stage_channels[0]
        return base if self.stage_channels == (base, 2 * base, 4 * base, 8 * base) else None

    def record(self) -> dict[str, Any]:
        """For the sidecar; with the depth where it has a name."""
        return {**super().record(), **({} if self.depth is None else {"depth": self.depth})}

    def torchvision(self) -> StockModel:
        """Torchvision's ``ResNet`` with ``fc`` set to the identity."""
        lines = _torchvision_lines(self)
        return StockModel("torchvision's ResNet", lambda: torchvision_resnet(self), lines, resnet_outputs)

    def timm(self) -> StockModel:
        """``create_model('resnet18', num_classes=0)`` and its relatives.

        Other widths and depths are options of the same call. The stem has 64 channels there, which no option changes.

        Raises:
            NoStockModel: the stem is another one.
        """
        if self.stem_channels != _TIMM_STEM:
            raise NoStockModel(
                f"timm's ResNet has a stem of {_TIMM_STEM} channels and the sub-network one of {self.stem_channels}"
            )
        name, options = _timm_call(self)
        given = call({key: value for key, value in options.items() if key != "num_classes"})

        def build() -> nn.Module:
            import timm

            return timm.create_model(name, **options)

        label = f"timm's {name}({given})" if given else f"timm's {name}"
        lines = [f"net = timm.create_model({name!r}, {call(options)})"]
        return StockModel(label, build, lines, resnet_outputs, create=(name, options))

    def mmpretrain(self, **options: Any) -> nn.Module | None:
        """Mmpretrain's ``ResNet``, for depths that have a name and widths that double from stage to stage."""
        from mmpretrain.models import ResNet

        if self.base_channels is None or self.depth is None:
            return None
        return ResNet(
            self.depth,
            in_channels=self.in_channels,
            stem_channels=self.stem_channels,
            base_channels=self.base_channels,
            out_indices=(0, 1, 2, 3),
            **options,
        )

    def stock_outputs(self, backbone: Any, images: Tensor) -> Outputs:
        """Outputs of the four stages."""
        return resnet_outputs(backbone, images)


def _four(numbers: tuple[int, ...]) -> Four:
    first, second, third, fourth = numbers
    return first, second, third, fourth


def resnet_outputs(model: Any, images: Tensor) -> Outputs:
    """Outputs of the four stages of any ResNet with stock attribute names (timm calls its first activation act1)."""
    activation = model.act1 if hasattr(model, "act1") else model.relu
    x = model.maxpool(activation(model.bn1(model.conv1(images))))
    return chained([getattr(model, f"layer{i}") for i in range(1, 5)], x)


def torchvision_resnet(
    architecture: ResNetArchitecture | Mapping[str, Any] | None = None,
    *,
    depth: int | None = None,
    block: str | None = None,
    blocks: Four | None = None,
    stage_channels: Four = (64, 128, 256, 512),
    stem_channels: int = 64,
    in_channels: int = 3,
) -> nn.Module:
    """The ResNet of torchvision with the widths and blocks of a sub-network, without classifier (``fc`` is identity).

    Args:
        architecture: A :class:`ResNetArchitecture` or the content of an export's sidecar; or give the rest by hand.
        depth: 18, 34, 50 (when nothing says otherwise) or 101.
        block: ``'basic'`` or ``'bottleneck'``, with ``blocks`` and instead of ``depth``.
        blocks: Blocks of every stage.
        stage_channels: Mid channels of the stages.
        stem_channels: Channels of the stem.
        in_channels: Channels of the images.

    Returns:
        ``torchvision.models.ResNet`` with random weights; images (N, 3, H, W) -> features (N, D). An export in the
        format ``torchvision`` loads into it strictly.

    Raises:
        ConfigError: options that make no ResNet.
        ArtifactError: the sidecar of something else.
    """
    from torchvision.models.resnet import BasicBlock, Bottleneck, ResNet

    if isinstance(architecture, Mapping):
        architecture = ResNetArchitecture.from_sidecar(architecture)
    elif architecture is None and block is None and blocks is None:
        options = {"stem_channels": stem_channels, "in_channels": in_channels}
        architecture = ResNetArchitecture.of_depth(50 if depth is None else depth, stage_channels, **options)
    elif architecture is None:
        if block is None or blocks is None or depth is not None:
            raise ConfigError("a ResNet needs its depth, or both block ('basic' or 'bottleneck') and blocks per stage.")
        architecture = ResNetArchitecture(block, blocks, stage_channels, stem_channels, in_channels)
    kind = {"basic": BasicBlock, "bottleneck": Bottleneck}[architecture.block]
    model: Any = ResNet(kind, list(architecture.blocks))
    model.conv1 = nn.Conv2d(architecture.in_channels, architecture.stem_channels, 7, stride=2, padding=3, bias=False)
    model.bn1 = nn.BatchNorm2d(architecture.stem_channels)
    model.inplanes = architecture.stem_channels
    stages = zip(architecture.stage_channels, architecture.blocks, STRIDES)
    for i, (width, count, stride) in enumerate(stages, start=1):
        # torchvision's constructor knows doubling widths only; its own stage builder knows any.
        setattr(model, f"layer{i}", model._make_layer(kind, width, count, stride=stride))
    model.fc = nn.Identity()
    return model


def _torchvision_lines(architecture: ResNetArchitecture) -> list[str]:
    block = {"basic": "BasicBlock", "bottleneck": "Bottleneck"}[architecture.block]
    stem = architecture.stem_channels
    stages = zip(architecture.stage_channels, architecture.blocks, STRIDES)
    return [
        f"net = torchvision.models.ResNet({block} := torchvision.models.resnet.{block}, {list(architecture.blocks)})",
        f"net.conv1 = torch.nn.Conv2d({architecture.in_channels}, {stem}, 7, stride=2, padding=3, bias=False)",
        f"net.bn1, net.inplanes, net.fc = torch.nn.BatchNorm2d({stem}), {stem}, torch.nn.Identity()",
        *(
            f"net.layer{i} = net._make_layer({block}, {width}, {count}, stride={stride})"
            for i, (width, count, stride) in enumerate(stages, start=1)
        ),
    ]


def _timm_call(architecture: ResNetArchitecture) -> tuple[str, dict[str, Any]]:
    """Name and options of ``timm.create_model``; a name that is not the network's own gets its blocks and widths."""
    options: dict[str, Any] = {"num_classes": 0}
    if architecture.in_channels != 3:
        options["in_chans"] = architecture.in_channels
    if architecture.depth is None:
        options["layers"] = architecture.blocks
    if architecture.base_channels != 64:
        options["channels"] = architecture.stage_channels
    return f"resnet{architecture.depth or {'basic': 18, 'bottleneck': 50}[architecture.block]}", options
