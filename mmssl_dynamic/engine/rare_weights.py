"""Longer steps for weights that few steps train.

Of 16 paths, the last groups take part in 5 of 17 steps of SDR's last phase, what all paths share in every one.
q share of the steps of a phase that train a weight.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

from mmssl_dynamic.models.elastic import active_blocks
from mmssl_dynamic.subnets import FULL


@torch.no_grad()
def step_factors(model: Any, shares: Mapping[str, float], power: float) -> dict[Tensor, Tensor]:
    """The factor q ** -power of every weight: a tensor of the parameter's shape.

    Weights that no path of the phase holds are trained as a part of W_0 alone; they keep their rate, as do those that
    every step trains. Parameters of such weights alone are left out.

    Args:
        model: Says what a network trains (``regions_of``).
        shares: Share of the phase's steps by network.
        power: 0 leaves all rates alike; with 1 a weight's steps add up, over a phase, as if every step trained it.
    """
    regions = {name: model.regions_of(name) for name in shares}
    found: dict[Tensor, Tensor] = {}
    for parameter in {parameter: None for of_one in regions.values() for parameter in of_one}:
        drawn, held = torch.zeros_like(parameter), torch.zeros_like(parameter, dtype=torch.bool)
        for name, share in shares.items():
            for block in active_blocks(parameter, regions[name].get(parameter, ())):
                drawn[block] += share
                if name != FULL:
                    held[block] = True
        factors = torch.where(held & (drawn < 1 - 1e-6), drawn.clamp(min=1e-6) ** -power, 1.0)
        if bool((factors != 1).any()):
            found[parameter] = factors
    return found


@contextmanager
def longer_steps(factors: Mapping[Tensor, Tensor]) -> Iterator[None]:
    """Multiply what an optimiser adds to the parameters inside the block: a learning rate for each weight.

    This holds for every optimiser whose step is in proportion to the learning rate, weight decay included.
    """
    before = {parameter: parameter.detach().clone() for parameter in factors}
    yield
    with torch.no_grad():
        for parameter, factor in factors.items():
            parameter.copy_(torch.lerp(before[parameter], parameter, factor))  # to the bit where the factor is 1
