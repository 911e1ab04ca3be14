"""The shape of an exported backbone: all that is needed to build it without the super-network."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, ClassVar, TypeVar

from torch import nn

from mmssl_dynamic.errors import ArtifactError, ConfigError
from mmssl_dynamic.models.backbones import StaticMobileNetV3, StaticResNet
from mmssl_dynamic.models.backbones.mobilenet_v3_trunk import ARCHITECTURES as MOBILENETS
from mmssl_dynamic.models.backbones.mobilenet_v3_trunk import MobileNetWidths, mobilenet_widths
from mmssl_dynamic.models.backbones.resnet_trunk import ARCHITECTURES as RESNETS
from mmssl_dynamic.models.backbones.resnet_trunk import BLOCKS
from mmssl_dynamic.records import RecordError, read_record

Four = tuple[int, int, int, int]
_MOST, _MOST_BLOCKS = 2**20, 1000  # of what can be built at all


@dataclass(frozen=True)
class ResNetArchitecture:
    """A ResNet of any widths and depths.

    Attributes:
        block: ``'basic'`` or ``'bottleneck'``.
        blocks: Blocks of every stage.
        stage_channels: Mid channels of every stage; a stage puts out 1 (basic) or 4 (bottleneck) times as many.
        stem_channels: Channels of the stem.
        in_channels: Channels of the images.
    """

    family: ClassVar[str] = "ResNet"

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
        depth = {} if self.depth is None else {"depth": self.depth}
        lists = {"blocks": list(self.blocks), "stage_channels": list(self.stage_channels)}
        return {"family": self.family, **depth, **asdict(self), **lists}

    @classmethod
    def from_sidecar(cls, sidecar: Mapping[str, Any]) -> ResNetArchitecture:
        """The architecture that the sidecar of an export describes.

        Raises:
            ArtifactError: it describes no ResNet.
        """
        return _entry(cls, sidecar)


@dataclass(frozen=True)
class MobileNetV3Architecture:
    """A MobileNetV3 of any width.

    Attributes:
        arch: ``'large'`` or ``'small'``.
        width: Multiplier of the channels.
        in_channels: Channels of the images.
    """

    family: ClassVar[str] = "MobileNetV3"

    arch: str
    width: float = 1.0
    in_channels: int = 3

    def __post_init__(self) -> None:
        if not isinstance(self.width, int | float) or not self.width > 0:
            raise ConfigError(f"width={self.width} of a MobileNetV3 must be a positive number.")
        mobilenet_widths(self.arch, self.width)  # refuses unknown archs and widths

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

    def record(self) -> dict[str, Any]:
        """For the sidecar."""
        return {"family": self.family, **asdict(self)}

    @classmethod
    def from_sidecar(cls, sidecar: Mapping[str, Any]) -> MobileNetV3Architecture:
        """The architecture that the sidecar of an export describes.

        Raises:
            ArtifactError: it describes no MobileNetV3.
        """
        return _entry(cls, sidecar)


Architecture = ResNetArchitecture | MobileNetV3Architecture
T = TypeVar("T", ResNetArchitecture, MobileNetV3Architecture)


def architecture_from_sidecar(sidecar: Mapping[str, Any]) -> Architecture:
    """The architecture that the sidecar of an export describes, of either family.

    Raises:
        ArtifactError: it describes none.
    """
    family = _family(sidecar)
    kinds: dict[str, type[ResNetArchitecture] | type[MobileNetV3Architecture]]
    kinds = {kind.family: kind for kind in (ResNetArchitecture, MobileNetV3Architecture)}
    if family not in kinds:
        raise ArtifactError(f"this sidecar describes a {family}, which this version does not know; update the package.")
    return kinds[family].from_sidecar(sidecar)


def build_backbone(architecture: Architecture, **options: Any) -> nn.Module:
    """The backbone of an architecture out of plain modules, with random weights.

    Args:
        architecture: Its shape.
        options: ``out_indices``, ``frozen_stages``, ``norm_eval`` and ``norm_cfg``.
    """
    if isinstance(architecture, MobileNetV3Architecture):
        return StaticMobileNetV3(architecture.arch, architecture.width, architecture.in_channels, **options)
    return StaticResNet(
        None,
        architecture.stage_channels,
        architecture.stem_channels,
        architecture.in_channels,
        block=architecture.block,
        blocks=architecture.blocks,
        **options,
    )


def _entry(kind: type[T], sidecar: Mapping[str, Any]) -> T:
    """The architecture in a sidecar, of one family."""
    actual, family = _family(sidecar), kind.family
    if actual != family:
        raise ArtifactError(f"this sidecar describes a {actual}, not a {family}; give that of another export.")
    try:
        return read_record(kind, sidecar["architecture"], "architecture")
    except (RecordError, ConfigError) as error:
        raise ArtifactError(f"this sidecar is broken: {error}; export the sub-network anew.") from error


def _family(sidecar: Mapping[str, Any]) -> str:
    entry = sidecar.get("architecture")
    family = entry.get("family") if isinstance(entry, Mapping) else None
    if not isinstance(family, str):
        raise ArtifactError("this is not the sidecar of an export; give the .json beside the weights.")
    return family


def architecture_of(twin: nn.Module) -> Architecture:
    """The architecture of a static twin."""
    if isinstance(twin, StaticResNet):
        block = next(name for name, kind in BLOCKS.items() if kind is twin.block)
        blocks, stages = _four(twin.blocks), _four(twin.stage_channels)
        return ResNetArchitecture(block, blocks, stages, twin.stem_channels, twin.in_channels)
    assert isinstance(twin, StaticMobileNetV3)
    return MobileNetV3Architecture(twin.arch, twin.width, twin.in_channels)


def _four(numbers: tuple[int, ...]) -> Four:
    first, second, third, fourth = numbers
    return first, second, third, fourth
