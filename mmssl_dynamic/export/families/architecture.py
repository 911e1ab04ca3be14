"""The shape of an exported backbone, and what networks of this shape are called elsewhere.

A family of networks (ResNet, MobileNetV3, ...) is one file beside this one: a dataclass with what is needed to build a
network without its super-network, which says how torchvision, timm and mmpretrain build theirs. It registers itself;
the formats of exports ask it and know no family by name. One from outside of the package does the same.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, ClassVar, TypeVar

from torch import Tensor, nn

from mmssl_dynamic.errors import ArtifactError, ConfigError
from mmssl_dynamic.models.backbones import StaticNetwork
from mmssl_dynamic.records import RecordError, plain, read_record

A = TypeVar("A", bound="Architecture")
State = dict[str, Tensor]
Outputs = dict[int, Tensor]
"""Feature maps (N, C, H, W) by the number that ``out_indices`` of the backbone gives them."""


class NoStockModel(ConfigError):
    """A library has no model of some shape; the message says what it has instead."""


def unchanged(state: Mapping[str, Tensor]) -> State:
    """The weights under the names that they have."""
    return dict(state)


@dataclass(frozen=True)
class StockModel:
    """A library's own model of the shape of a sub-network, without classifier.

    Attributes:
        label: What it is called in messages.
        build: Makes it, with random weights.
        lines: Python lines that make it as ``net``, with no more than the library.
        outputs: The model and images (N, C, H, W) to all outputs.
        exported: A backbone's weights under the names of the model.
        restored: The same the other way round.
        details: What else its users have to know, for the sidecar.
        create: Name and options of ``timm.create_model`` that alone make it; ``None`` if more is needed.
    """

    label: str
    build: Callable[[], nn.Module]
    lines: Sequence[str]
    outputs: Callable[[Any, Tensor], Outputs]
    exported: Callable[[Mapping[str, Tensor]], State] = unchanged
    restored: Callable[[Mapping[str, Tensor]], State] = unchanged
    details: Mapping[str, Any] = field(default_factory=dict)
    create: tuple[str, Mapping[str, Any]] | None = None


class Architecture(ABC):
    """Base of the families' dataclasses, whose fields are what the sidecar of an export tells of a network.

    Attributes:
        family: What the family is called in sidecars.
        network: Class of its networks.
        in_channels: Channels of the images, a field of every family.
    """

    family: ClassVar[str]
    network: ClassVar[type[StaticNetwork]]
    in_channels: int

    @classmethod
    @abstractmethod
    def of(cls, network: Any) -> Architecture:
        """That of a network of :attr:`network`."""

    @abstractmethod
    def build(self, **options: Any) -> StaticNetwork:
        """The network, with random weights.

        Args:
            options: ``out_indices``, ``frozen_stages``, ``norm_eval``, ``with_cp`` and ``norm_cfg``.
        """

    @property
    @abstractmethod
    def out_indices(self) -> list[int]:
        """The outputs that detectors take, those with strides 4, 8, 16 and 32."""

    @property
    @abstractmethod
    def out_channels(self) -> list[int]:
        """Channels of these outputs."""

    def torchvision(self) -> StockModel:
        """Torchvision's model of this shape.

        Raises:
            NoStockModel: there is none.
        """
        raise NoStockModel(f"torchvision has no {self.family} of any shape")

    def timm(self) -> StockModel:
        """Timm's model of this shape.

        Raises:
            NoStockModel: there is none.
        """
        raise NoStockModel(f"timm has no {self.family} of any shape")

    def mmpretrain(self, **options: Any) -> nn.Module | None:
        """Mmpretrain's backbone of this shape, with the names of the network here; ``None`` if there is none.

        Args:
            options: Those of every backbone of mmpretrain, such as ``init_cfg``.
        """
        return None

    def stock_outputs(self, backbone: Any, images: Tensor) -> Outputs:
        """All outputs of what :meth:`mmpretrain` gives."""
        raise NotImplementedError

    def record(self) -> dict[str, Any]:
        """For the sidecar."""
        return {"family": self.family, **plain(asdict(self))}  # type: ignore[call-overload]  # of a dataclass

    @classmethod
    def from_sidecar(cls: type[A], sidecar: Mapping[str, Any]) -> A:
        """The architecture that the sidecar of an export describes.

        Raises:
            ArtifactError: it describes none of this family.
        """
        actual = _family(sidecar)
        if actual != cls.family:
            raise ArtifactError(f"this sidecar describes a {actual}, not a {cls.family}; give that of another export.")
        try:
            return read_record(cls, sidecar["architecture"], "architecture")
        except (RecordError, ConfigError) as error:
            raise ArtifactError(f"this sidecar is broken: {error}; export the sub-network anew.") from error


FAMILIES: dict[str, type[Architecture]] = {}
T = TypeVar("T", bound=type[Architecture])


def register_family(kind: T) -> T:
    """Class decorator: networks of ``kind.network`` can be exported, and their exports loaded.

    Raises:
        ConfigError: another family has this name.
    """
    if FAMILIES.get(kind.family, kind) is not kind:
        raise ConfigError(f"there is a family '{kind.family}' already; give {kind.__name__} another name.")
    FAMILIES[kind.family] = kind
    return kind


def architecture_of(network: StaticNetwork) -> Architecture:
    """The architecture of a network out of plain modules.

    Raises:
        ConfigError: no family has networks of its class.
    """
    for kind in FAMILIES.values():
        if isinstance(network, kind.network):
            return kind.of(network)
    raise ConfigError(
        f"{type(network).__name__} belongs to no family of networks, so that no format can hold it; register one "
        "(mmssl_dynamic.export.register_family)."
    )


def architecture_from_sidecar(sidecar: Mapping[str, Any]) -> Architecture:
    """The architecture that the sidecar of an export describes, of any family.

    Raises:
        ArtifactError: it describes none.
    """
    family = _family(sidecar)
    if family not in FAMILIES:
        raise ArtifactError(
            f"this sidecar describes a {family}, which this version does not know; update the package, or import the "
            "module that registers the family."
        )
    return FAMILIES[family].from_sidecar(sidecar)


def _family(sidecar: Mapping[str, Any]) -> str:
    entry = sidecar.get("architecture")
    family = entry.get("family") if isinstance(entry, Mapping) else None
    if not isinstance(family, str):
        raise ArtifactError("this is not the sidecar of an export; give the .json beside the weights.")
    return family


def chained(layers: Sequence[Callable[[Tensor], Tensor]], x: Tensor) -> Outputs:
    """The outputs of layers that run one after another."""
    outputs = {}
    for index, layer in enumerate(layers):
        outputs[index] = x = layer(x)
    return outputs


def call(options: Mapping[str, Any]) -> str:
    """Options as they stand in a call: ``num_classes=0, in_chans=1``."""
    return ", ".join(f"{key}={value!r}" for key, value in options.items())
