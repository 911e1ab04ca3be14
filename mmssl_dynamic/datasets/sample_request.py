"""Draws: what a batch sampler asks a data set for, the random state of the augmentations included."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch


@dataclass(frozen=True, slots=True)
class SampleRequest:
    """One image to load.

    Attributes:
        index: Its position in the data set.
        subnet: The sub-network it is loaded for, if batches belong to sub-networks.
        seed: Seed of its augmentations, which makes a sample independent of the worker that loads it.
    """

    index: int
    subnet: str | None
    seed: int


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Seed every generator that transforms use, and give the process its own states back."""
    states = random.getstate(), np.random.get_state(), torch.get_rng_state()
    random.seed(seed)
    np.random.seed(seed)
    torch.default_generator.manual_seed(seed)  # the CPU's alone: transforms run there
    try:
        yield
    finally:
        random.setstate(states[0])
        np.random.set_state(states[1])
        torch.set_rng_state(states[2])
