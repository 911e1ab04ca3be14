"""The formats ``torchvision`` and ``timm``: keys of a library's own classes without their classifier."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, ClassVar

from torch import Tensor

from mmssl_dynamic.export.base import Format, Reading, Source, reading
from mmssl_dynamic.export.families import Architecture, StockModel
from mmssl_dynamic.export.snippets import torch_snippet
from mmssl_dynamic.fileio import load_state_dict
from mmssl_dynamic.registry import FORMATS


class StockFormat(Format):
    """Loads strictly into what a library builds with no more than itself; the family says how.

    Attributes:
        library: Name of the method of :class:`~mmssl_dynamic.export.Architecture` that gives the library's model.
    """

    library: ClassVar[str]

    def model(self, architecture: Architecture) -> StockModel:
        """The library's model of a shape.

        Raises:
            NoStockModel: there is none.
        """
        return getattr(architecture, self.library)()

    def check(self, architecture: Architecture) -> None:
        """Whether the library has such a model."""
        self.model(architecture)

    def tensors(self, source: Source) -> dict[str, Tensor]:
        """The weights under the library's names."""
        return self.model(source.architecture).exported(source.state)

    def restored(self, tensors: Mapping[str, Tensor], architecture: Architecture) -> dict[str, Tensor]:
        """The weights under the backbone's own names."""
        return self.model(architecture).restored(tensors)

    def read(self, source: Source, path: Path) -> Iterable[Reading]:
        """Into the library's class, strictly."""
        stock = self.model(source.architecture)
        model = stock.build()
        model.load_state_dict(load_state_dict(path), strict=True)
        yield reading(stock.label, model, stock.outputs)

    def usage(self, source: Source, target: Path) -> str:
        """Python lines that need the library alone, to be run beside the file."""
        return self.snippet(source, Path(target.name))

    def snippet(self, source: Source, target: Path) -> str:
        """The same, to be run where the path leads to the file."""
        return torch_snippet(source, str(target), self.model(source.architecture).lines)

    def details(self, source: Source) -> dict[str, Any]:
        """What its users have to know."""
        return dict(self.model(source.architecture).details)


@FORMATS.register_module("torchvision")
class TorchvisionFormat(StockFormat):
    """Torchvision's own classes."""

    library = "torchvision"


@FORMATS.register_module("timm")
class TimmFormat(StockFormat):
    """Timm's own classes."""

    library = "timm"
    packages = ("timm",)
