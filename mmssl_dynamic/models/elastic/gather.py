"""Gathering the selected block of a parameter, and scattering its gradient back."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product
from typing import Any

import torch
from torch import Tensor

from mmssl_dynamic.models.elastic.channels import Region, Selection
from mmssl_dynamic.models.elastic.positions import launches_count, positions


def _blocks(shape: torch.Size, region: Region) -> Iterator[tuple[tuple[slice, ...], tuple[slice, ...]]]:
    """Pairs (slices in the gathered tensor, slices in the full one) that tile the selected block."""
    per_dimension: list[list[tuple[slice, slice]]] = []
    for length, selection in zip(shape, region):
        ranges = ((0, length),) if selection is None else selection.ranges
        offset, pairs = 0, []
        for start, stop in ranges:
            pairs.append((slice(offset, offset + stop - start), slice(start, stop)))
            offset += stop - start
        per_dimension.append(pairs)
    for combination in product(*per_dimension):
        yield tuple(small for small, _ in combination), tuple(full for _, full in combination)


class _Gather(torch.autograd.Function):
    """One copy forwards, one scatter into zeros backwards: block by block, or by an index where launches count.

    Concatenating slices would copy once per dimension and build a graph node per range; autograd of an index would add
    its gradient up element by element.
    """

    @staticmethod
    def forward(ctx: Any, parameter: Tensor, region: Region, dtype: torch.dtype) -> Tensor:
        ctx.shape, ctx.region, ctx.dtype = parameter.shape, region, parameter.dtype
        ctx.memory_format = _memory_format(parameter)
        if not _several_blocks(region):
            return parameter[_only_block(region)].to(dtype, memory_format=ctx.memory_format, copy=True)
        if launches_count(parameter):
            return _indexed(parameter, region).to(dtype)
        shape = [length if s is None else s.size for length, s in zip(parameter.shape, region)]
        shape += parameter.shape[len(region) :]
        gathered = torch.empty(shape, dtype=dtype, device=parameter.device, memory_format=ctx.memory_format)
        for small, full in _blocks(parameter.shape, region):
            gathered[small] = parameter[full]
        return gathered

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Tensor) -> tuple[Tensor, None, None]:
        (gradient,) = grad_outputs
        full_gradient = torch.empty(
            ctx.shape, dtype=ctx.dtype, device=gradient.device, memory_format=ctx.memory_format
        ).zero_()
        if not _several_blocks(ctx.region):
            full_gradient[_only_block(ctx.region)] = gradient
        elif launches_count(full_gradient):
            _scatter(gradient.to(ctx.dtype), ctx.region, full_gradient)
        else:
            for small, full in _blocks(ctx.shape, ctx.region):
                full_gradient[full] = gradient[small]
        return full_gradient, None, None


def _several_blocks(region: Region) -> bool:
    return any(selection is not None and len(selection.ranges) > 1 for selection in region)


def _only_block(region: Region) -> tuple[slice, ...]:
    return tuple(slice(None) if selection is None else slice(*selection.ranges[0]) for selection in region)


def _indexed(parameter: Tensor, region: Region) -> Tensor:
    """The selected block in the memory format of the parameter, by an operation for each dimension."""
    last = parameter.ndim == 4 and _memory_format(parameter) is torch.channels_last
    block = parameter.movedim(1, -1) if last else parameter  # as it lies in memory
    for dimension, selection in enumerate(region):
        if selection is not None:
            place = -1 if last and dimension == 1 else dimension
            block = block.index_select(place, positions(selection, parameter))
    return block.movedim(-1, 1) if last else block


def _scatter(gradient: Tensor, region: Region, full: Tensor) -> None:
    """Write the gradient of the selected block into ``full``."""
    chosen = [(dimension, selection) for dimension, selection in enumerate(region) if selection is not None]
    if len(chosen) == 1:
        ((dimension, selection),) = chosen
        full.index_copy_(dimension, positions(selection, full), gradient)
        return
    indices: list[Any] = [slice(None)] * len(region)
    for count, (dimension, selection) in enumerate(chosen, start=1):
        indices[dimension] = positions(selection, full).view(-1, *[1] * (len(chosen) - count))
    full[tuple(indices)] = gradient


def _memory_format(tensor: Tensor) -> torch.memory_format:
    if tensor.ndim == 4 and not tensor.is_contiguous() and tensor.is_contiguous(memory_format=torch.channels_last):
        return torch.channels_last
    return torch.contiguous_format


def gather(parameter: Tensor, region: Region, dtype: torch.dtype | None = None) -> Tensor:
    """The selected block of ``parameter`` as a dense tensor; differentiable.

    Args:
        parameter: Any shape, such as (C_out, C_in, kH, kW).
        region: One selection for each of the first dimensions; ``None`` keeps a dimension whole.
        dtype: Type of the result, which costs nothing extra in the same copy. Defaults to the parameter's.

    Returns:
        Tensor of the selected sizes. The gradient is scattered into zeros of the parameter's shape.
    """
    if torch.jit.is_tracing():
        return _sliced(parameter, region).to(dtype or parameter.dtype)
    if (
        len(region)
        and _is_prefix(region[0])
        and all(s is None for s in region[1:])
        and dtype in (None, parameter.dtype)
    ):
        # A contiguous view: no copy at all. Without gradients it needs none, as a copy does not: one graph serves both.
        source = parameter if torch.is_grad_enabled() else parameter.detach()
        return source.narrow(0, 0, region[0].size)  # type: ignore[union-attr]
    return _Gather.apply(parameter, region, dtype or parameter.dtype)


def _sliced(parameter: Tensor, region: Region) -> Tensor:
    """The selected block by operations that a trace can record."""
    for dimension, selection in enumerate(region):
        if selection is not None:
            parts = [parameter.narrow(dimension, start, stop - start) for start, stop in selection.ranges]
            parameter = torch.cat(parts, dimension)
    return parameter


def _is_prefix(selection: Selection | None) -> bool:
    return selection is not None and len(selection.ranges) == 1 and selection.ranges[0][0] == 0


def active_blocks(parameter: Tensor, region: Region) -> Iterator[tuple[slice, ...]]:
    """Slices that tile the part of ``parameter`` inside ``region``."""
    return (full for _, full in _blocks(parameter.shape, region))


def inactive_blocks(parameter: Tensor, region: Region) -> Iterator[tuple[slice, ...]]:
    """Slices that tile everything of ``parameter`` outside ``region``."""
    for dimension, selection in enumerate(region):
        if selection is None:
            continue
        # Selected in all earlier dimensions, not selected in this one, anything in later ones.
        earlier = [((0, n),) if s is None else s.ranges for n, s in zip(parameter.shape[:dimension], region)]
        for ranges in product(*earlier, selection.complement):
            yield tuple(slice(start, stop) for start, stop in ranges)
