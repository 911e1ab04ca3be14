"""Ways to run a network, each a column of a benchmark: as it is, in channels-last order, in bfloat16, compiled."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from mmengine.optim import OptimWrapper
from torch import nn

from mmssl_dynamic.engine.compiling import compile_backbones, compile_options


@dataclass(frozen=True)
class Variant:
    """How a training step is run.

    Attributes:
        channels_last: With weights and images in channels-last order.
        bf16: Under autocast to bfloat16.
        compiled: Backend of torch.compile, by which backbones are compiled; ``None`` for none.
    """

    channels_last: bool = False
    bf16: bool = False
    compiled: str | None = None

    @property
    def label(self) -> str:
        """Of its column."""
        parts = ("channels-last" * self.channels_last, "bf16" * self.bf16, "compile" * bool(self.compiled))
        return ", ".join(part for part in parts if part) or "plain"

    @property
    def memory_format(self) -> torch.memory_format:
        """Of weights and images."""
        return torch.channels_last if self.channels_last else torch.contiguous_format

    def prepare(self, *models: nn.Module) -> None:
        """Put models in this order, and let their backbones be compiled when they first run."""
        for model in models:
            model.to(memory_format=self.memory_format)
            if self.compiled:
                compile_backbones(model, dict(backend=self.compiled))

    def autocast(self, device: torch.device) -> AbstractContextManager[None]:
        """Around a step."""
        return torch.autocast(device.type, torch.bfloat16, enabled=self.bf16)

    def optim_wrapper(self, kind: type[OptimWrapper], optimizer: torch.optim.Optimizer, device: torch.device) -> Any:
        """An optimiser wrapper whose context, which models open themselves, has the type of this variant."""
        variant = self

        class InThisType(kind):  # type: ignore[misc, valid-type]
            @contextmanager
            def optim_context(self, model: nn.Module) -> Iterator[None]:
                with super().optim_context(model), variant.autocast(device):
                    yield

        return InThisType(optimizer)


def add_variants(parser: argparse.ArgumentParser) -> None:
    """``--channels-last``, ``--bf16`` and ``--compile``: each adds a column, which has those before it as well."""
    parser.add_argument("--channels-last", action="store_true", help="a column in channels-last order, too")
    parser.add_argument("--bf16", action="store_true", help="a column in bfloat16 (autocast), too")
    parser.add_argument(
        "--compile",
        nargs="?",
        const="inductor",
        metavar="BACKEND",
        help="a column with compiled backbones, too, by this backend of torch.compile (default: inductor)",
    )
    parser.add_argument("--last-column", action="store_true", help="leave out the columns before the last one")


def chosen(args: argparse.Namespace) -> list[Variant]:
    """The columns, from the plain one."""
    variants = [Variant()]
    if args.channels_last:
        variants.append(Variant(True))
    if args.bf16:
        variants.append(Variant(args.channels_last, True))
    if args.compile:
        compile_options(dict(backend=args.compile))  # refuses what this machine cannot do, before anything is timed
        variants.append(Variant(args.channels_last, args.bf16, args.compile))
    return variants[-1:] if args.last_column else variants


def table(rows: dict[str, list[str]], variants: list[Variant]) -> str:
    """Rows by their names, a column for each variant."""
    width = max(map(len, rows)) + 2
    columns = [
        max(len(variant.label), *(len(cells[i]) for cells in rows.values())) for i, variant in enumerate(variants)
    ]
    lines = [" " * width + "  ".join(v.label.ljust(size) for v, size in zip(variants, columns))]
    lines += [
        name.ljust(width) + "  ".join(cell.ljust(size) for cell, size in zip(cells, columns))
        for name, cells in rows.items()
    ]
    return "\n".join(line.rstrip() for line in lines)
