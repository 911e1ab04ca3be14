"""The formats ``torchvision`` and ``timm``: keys of a library's own classes without their classifier."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from mmssl_dynamic.export.base import Format, Reading, Source, reading, torch_lines
from mmssl_dynamic.export.families import Architecture, StockModel
from mmssl_dynamic.fileio import load_state_dict


class StockFormat(Format):
    """Loads strictly into what a library builds with no more than itself; the family says how.

    Args:
        library: ``'torchvision'`` or ``'timm'``.
        packages: Distributions that it needs and the package itself does not.
    """

    def __init__(self, library: str, packages: tuple[str, ...] = ()) -> None:
        self.library, self.packages = library, packages

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
        """Python lines that need the library alone."""
        return torch_lines(source, target, self.model(source.architecture).lines)

    def details(self, source: Source) -> dict[str, Any]:
        """What its users have to know."""
        return dict(self.model(source.architecture).details)
