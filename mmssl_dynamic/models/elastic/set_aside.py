"""Setting aside what does not take part, for the length of an optimiser step."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor

from mmssl_dynamic.models.elastic.channels import Region
from mmssl_dynamic.models.elastic.gather import inactive_blocks
from mmssl_dynamic.models.elastic.positions import launches_count, left_out


class SetAside:
    """Everything of some tensors outside of their regions: zero until it is put back, to the bit.

    Args:
        tensors: Each with its region, which selects in one dimension at least.
    """

    @torch.no_grad()
    def __init__(self, tensors: Iterable[tuple[Tensor, Region]]) -> None:
        self._views: list[Tensor] = []
        self._masked: list[tuple[Tensor, Tensor, Tensor]] = []
        masks: dict[tuple, Tensor] = {}  # a weight and its momentum have one, and so have the blocks of a stage
        for tensor, region in tensors:
            if launches_count(tensor):
                key = (region, tensor.ndim, tensor.device)
                if key not in masks:
                    masks[key] = left_out(region, tensor)
                self._masked.append((tensor, tensor.clone(), masks[key]))
            else:
                self._views += [tensor[block] for block in inactive_blocks(tensor, region)]
        self._copies = [view.clone() for view in self._views]
        if self._views:
            torch._foreach_zero_(self._views)
        for tensor, _, outside in self._masked:
            tensor.masked_fill_(outside, 0)

    @torch.no_grad()
    def put_back(self) -> None:
        """Give the tensors what they had there."""
        if self._views:
            torch._foreach_copy_(self._views, self._copies)
        for tensor, before, outside in self._masked:
            torch.where(outside, before, tensor, out=tensor)
