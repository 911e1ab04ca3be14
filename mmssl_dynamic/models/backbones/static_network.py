"""Networks out of plain modules: what a sub-network is when it stands alone."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from mmssl_dynamic.models.backbones.neck_check import watch_necks_of
from mmssl_dynamic.models.backbones.trunk import Trunk


@dataclass(frozen=True)
class Origin:
    """The sub-network that a static network is.

    Attributes:
        config: Config that builds the super-network.
        subnet: Name of the sub-network.
    """

    config: dict[str, Any]
    subnet: str

    def __str__(self) -> str:
        return f"{self.config['type'].rpartition('.')[2]} '{self.subnet}'"


class StaticNetwork(Trunk):
    """Base of networks out of plain modules, one for each kind of trunk.

    Attributes:
        origin: Where it comes from; ``None`` for a network of these shapes that is no sub-network.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.origin: Origin | None = None
        watch_necks_of(self)

    def label(self) -> str:
        """What it is called in messages."""
        return type(self).__name__ if self.origin is None else str(self.origin)
