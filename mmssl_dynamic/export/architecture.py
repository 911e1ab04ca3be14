"""The shape of an exported backbone: all that is needed to build it without the super-network."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from torch import nn

from mmssl_dynamic.errors import ArtifactError
from mmssl_dynamic.models.backbones import SDRResNet, StaticResNet
from mmssl_dynamic.models.backbones.resnet_trunk import architecture as blocks_of


@dataclass(frozen=True)
class SubnetArchitecture:
    """A ResNet of any widths.

    Attributes:
        depth: 18, 34, 50 or 101.
        stage_channels: Mid channels of every stage; a stage puts out 1 (BasicBlock) or 4 (Bottleneck) times as many.
        stem_channels: Channels of the stem.
        in_channels: Channels of the images.
    """

    depth: int
    stage_channels: tuple[int, int, int, int]
    stem_channels: int = 64
    in_channels: int = 3

    @classmethod
    def of(cls, twin: StaticResNet) -> SubnetArchitecture:
        """The architecture of a static twin."""
        first, second, third, fourth = twin.stage_channels
        return cls(twin.depth, (first, second, third, fourth), twin.stem_channels, image_channels(twin))

    @classmethod
    def from_sidecar(cls, sidecar: Mapping[str, Any]) -> SubnetArchitecture:
        """The architecture that the sidecar of an export describes.

        Raises:
            ArtifactError: it describes none.
        """
        try:
            entry = sidecar["architecture"]
            first, second, third, fourth = entry["stage_channels"]
            return cls(entry["depth"], (first, second, third, fourth), entry["stem_channels"], entry["in_channels"])
        except (KeyError, TypeError, ValueError) as error:
            raise ArtifactError("this is not the sidecar of an export; give the .json beside the weights.") from error

    @property
    def out_channels(self) -> list[int]:
        """Channels that every stage puts out."""
        block, _ = blocks_of(self.depth)
        return [width * block.expansion for width in self.stage_channels]

    @property
    def base_channels(self) -> int | None:
        """Width of the first stage if the widths double from stage to stage, as in stock ResNets; else ``None``."""
        base = self.stage_channels[0]
        return base if self.stage_channels == (base, 2 * base, 4 * base, 8 * base) else None

    def record(self) -> dict[str, Any]:
        """For the sidecar."""
        return {**asdict(self), "stage_channels": list(self.stage_channels)}


def image_channels(net: nn.Module) -> int:
    """Channels of the images that a ResNet takes."""
    first = net.conv1
    assert isinstance(first, nn.Conv2d)
    return first.in_channels


def subnet_config(net: SDRResNet, name: str) -> dict[str, Any]:
    """Config of :class:`SDRResNet` that builds one sub-network of ``net`` out of plain modules."""
    return {
        "type": "mmssl_dynamic.SDRResNet",
        "depth": net.depth,
        "path": name,
        "stage_channels": list(net.stage_channels),
        "stage_groups": list(net.space.stage_groups),
        "shared_ratio": net.shared_ratio,
        "stem_channels": net.stem_channels,
        "in_channels": image_channels(net),
    }
