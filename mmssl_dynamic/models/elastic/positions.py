"""Selections as tensors on a device, for operations that take all ranges at once.

Copying blocks with slices moves each weight once, which is what counts where there are many. A card waits for the
launches, and so does a processor for those of small tensors: a path of SDR has four blocks in every convolution, and
each costs eight operations where one with an index does.
"""

from __future__ import annotations

from contextlib import AbstractContextManager
from contextvars import ContextVar
from functools import lru_cache

import torch
from torch import Tensor, nn

from mmssl_dynamic.context import holding
from mmssl_dynamic.models.elastic.channels import Region, Selection

# On one core both ways take as long for weights of about 100 x 100 (0.2 ms with the gradient).
_SMALL = 8192
_as_on_card = ContextVar("_as_on_card", default=False)


def as_on_card() -> AbstractContextManager[None]:
    """Take the operations that a card would get, wherever tensors are: to count them where there is none."""
    return holding(_as_on_card, True)


def launches_count(tensor: Tensor) -> bool:
    """Whether few operations matter more than moving little: on a card, and for small tensors.

    Not where torch is to be deterministic, which makes it sort an index before it writes to one.
    """
    wanted = tensor.is_cuda or tensor.numel() <= _SMALL or _as_on_card.get()
    return wanted and not torch.are_deterministic_algorithms_enabled()


def positions(selection: Selection, tensor: Tensor) -> Tensor:
    """Selected channels in ascending order, (C active,), on the device of ``tensor``."""
    return _kept(_positions, selection, tensor)


def left_out(region: Region, tensor: Tensor) -> Tensor:
    """Whether an element of ``tensor`` lies outside of the region: of a shape that broadcasts to the tensor's."""
    masks = [
        _kept(_left_out, selection, tensor).view([-1 if d == dimension else 1 for d in range(tensor.ndim)])
        for dimension, selection in enumerate(region)
        if selection is not None
    ]
    found = masks[0]
    for mask in masks[1:]:
        found = found | mask
    return found


def _positions(selection: Selection, device: torch.device) -> Tensor:
    return torch.tensor([channel for start, stop in selection.ranges for channel in range(start, stop)], device=device)


def _left_out(selection: Selection, device: torch.device) -> Tensor:
    mask = torch.ones(selection.total, dtype=torch.bool, device=device)
    mask[_positions(selection, device)] = False
    return mask


_known = {function: lru_cache(maxsize=None)(function) for function in (_positions, _left_out)}


def _kept(function, selection: Selection, tensor: Tensor) -> Tensor:  # type: ignore[no-untyped-def]
    """Made once for a selection and a device; anew for tensors without values, which live in a mode of their own."""
    if type(tensor) in (Tensor, nn.Parameter):
        function = _known[function]
    return function(selection, tensor.device)
