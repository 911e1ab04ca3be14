"""Optimiser steps that leave what did not take part untouched ("Optimize W_i", SDR Algorithm 1, line 10).

The gradient of an inactive group is zero, but weight decay and momentum would move it all the same, and an optimiser
that scales a layer's step by the norm of its weights, such as LARS, would take the norm of all groups. Whatever the
optimiser, it finds zeros there for the length of the step, and then weights and optimiser state are put back to the
bit: the step is that of the sub-network alone, as its static twin would take it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from mmengine.optim import AmpOptimWrapper, OptimWrapper
from torch import Tensor, nn

from mmssl_dynamic.engine.bf16_optim_wrapper import Bf16OptimWrapper
from mmssl_dynamic.engine.rare_weights import longer_steps, step_factors
from mmssl_dynamic.engine.unwrap import bare_model
from mmssl_dynamic.errors import ConfigError
from mmssl_dynamic.models.elastic import SetAside
from mmssl_dynamic.models.elastic.channels import Region
from mmssl_dynamic.registry import OPTIM_WRAPPERS


@contextmanager
def untouched(optimizer: torch.optim.Optimizer, regions: Mapping[Tensor, Region]) -> Iterator[None]:
    """Make parameters and their optimiser state zero outside ``regions`` inside the block, and put them back after it.

    Args:
        optimizer: Any optimiser; state tensors of a parameter's shape (momentum) are part of its state.
        regions: The part of each parameter that may move. Parameters that are not named may move as a whole.
    """
    held = [(t, r) for p, r in regions.items() for t in (p, *_state_tensors(optimizer, p))]
    known = {id(tensor) for tensor, _ in held}
    aside = SetAside(held)
    try:
        yield
    finally:
        aside.put_back()
        # Made by this very step: nothing has happened there yet.
        made = [(t, r) for p, r in regions.items() for t in _state_tensors(optimizer, p) if id(t) not in known]
        SetAside(made)  # not put back: zero


def _state_tensors(optimizer: torch.optim.Optimizer, parameter: Tensor) -> list[Tensor]:
    state = optimizer.state.get(parameter, {})
    return [value for value in state.values() if isinstance(value, Tensor) and value.shape == parameter.shape]


class SubnetStep:
    """Mixin for optimiser wrappers: restricts a step to what the last loss trained.

    The model says what that was (``trained_regions``); models that do not are trained as a whole.

    Args:
        args: As of mmengine's wrapper.
        rarity_power: The learning rate of a weight that a share q of a phase's steps trains is multiplied by
            q ** -rarity_power (our reading; the paper has one rate for all). 0: one rate; 1: a weight moves over a
            phase as far as if every step trained it.
        kwargs: As of mmengine's wrapper.

    Raises:
        ConfigError: ``rarity_power`` is not between 0 and 1.
    """

    _regions: Mapping[Tensor, Region] = {}
    _trained: str | None = None

    def __init__(self, *args: Any, rarity_power: float = 0.0, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if not 0 <= rarity_power <= 1:
            raise ConfigError(f"optim_wrapper.rarity_power={rarity_power} must lie between 0 and 1.")
        self.rarity_power = rarity_power
        self._factors: Mapping[Tensor, Tensor] = {}

    def begin_phase(self, model: nn.Module, shares: Mapping[str, float]) -> None:
        """Say how often the networks are drawn from here on.

        Args:
            model: The model, wrapped or not.
            shares: Share of the steps by network.
        """
        if self.rarity_power > 0:
            self._factors = step_factors(bare_model(model), shares, self.rarity_power)

    @property
    def accumulative_counts(self) -> int:
        """Losses whose gradients make one step."""
        return self._accumulative_counts  # type: ignore[attr-defined]

    @contextmanager
    def optim_context(self, model: nn.Module) -> Iterator[None]:
        """Ask the model, once its loss is computed, which parts it trained."""
        with super().optim_context(model):  # type: ignore[misc]
            yield
        network = bare_model(model)
        if not hasattr(network, "trained_regions"):
            return
        if self._trained not in (None, network.trained_subnet):
            raise ConfigError(
                f"gradients of sub-networks '{self._trained}' and '{network.trained_subnet}' would be accumulated "
                "into one step; set batch_sampler.repeats to optim_wrapper.accumulative_counts."
            )
        self._trained, self._regions = network.trained_subnet, network.trained_regions()

    def step(self, **kwargs: Any) -> None:
        """One optimiser step on the trained parts."""
        with untouched(self.optimizer, self._regions), longer_steps(self._factors):  # type: ignore[attr-defined]
            super().step(**kwargs)  # type: ignore[misc]
        self._trained = None


@OPTIM_WRAPPERS.register_module()
class SubnetOptimWrapper(SubnetStep, OptimWrapper):
    """mmengine's ``OptimWrapper`` that steps only the sub-network that was trained."""


@OPTIM_WRAPPERS.register_module()
class SubnetAmpOptimWrapper(SubnetStep, AmpOptimWrapper):
    """The same with automatic mixed precision."""


@OPTIM_WRAPPERS.register_module()
class SubnetBf16OptimWrapper(SubnetStep, Bf16OptimWrapper):
    """The same in bf16 on a processor."""
