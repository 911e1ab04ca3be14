"""Layers that can be told beforehand what they compute with.

What a layer of a super-network computes with depends on the active sub-network, of which a compiled graph must not
know: it would be compiled anew for each. Before a graph runs, its layers are bound to their tensors, which then go into
it as inputs: sub-networks with the same shapes share it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any


class BoundLayer:
    """Mixin of layers that compute with :meth:`operands`.

    Attributes:
        bound: The operands to compute with, whatever is active; ``None`` to ask for them in the forward pass.
    """

    bound: tuple[Any, ...] | None = None

    def operands(self) -> tuple[Any, ...]:
        """What the layer computes with now: tensors, and numbers that depend on their shapes alone.

        Asking for them may count a batch, so they are asked for once in a forward pass.
        """
        raise NotImplementedError

    def bind(self) -> None:
        """Compute with the operands of now until :meth:`release`."""
        self.bound = self.operands()

    def release(self) -> None:
        """Ask for operands again."""
        self.bound = None


@contextmanager
def bound(layers: Iterable[BoundLayer]) -> Iterator[None]:
    """Bind layers for the length of the block."""
    layers = list(layers)
    try:
        for layer in layers:
            layer.bind()
        yield
    finally:
        for layer in layers:
            layer.release()
