"""Elastic depth: the one primitive, a selection, applied to the blocks of a stage."""

from __future__ import annotations

from collections.abc import Iterator

from torch import Tensor, nn

from mmssl_dynamic.models.elastic.channels import Channels


class ElasticSequential(nn.Sequential):
    """Runs the first blocks of a stage (DSPNet Sec. 4.1: sub-networks are block prefixes).

    Args:
        blocks: All blocks.
        depth: How many of them take part, as a selection of a prefix.
    """

    def __init__(self, *blocks: nn.Module, depth: Channels) -> None:
        super().__init__(*blocks)
        self.depth = depth

    def forward(self, x: Tensor) -> Tensor:
        """Run the active blocks in order."""
        for index in range(self.depth.size):
            x = self[index](x)
        return x


def active_modules(root: nn.Module, prefix: str = "") -> Iterator[tuple[str, nn.Module]]:
    """Name and module of all parts of ``root`` that take part now: ``named_modules`` without inactive blocks."""
    yield prefix, root
    children = list(root.named_children())
    if isinstance(root, ElasticSequential):
        children = children[: root.depth.size]
    for name, child in children:
        yield from active_modules(child, f"{prefix}.{name}" if prefix else name)
