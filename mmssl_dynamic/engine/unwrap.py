"""What hooks ask about a run: the model inside its wrapper, and how many passes make one update."""

from __future__ import annotations

from typing import Any

from mmengine.model import is_model_wrapper
from mmengine.runner import Runner
from torch import nn


def bare_model(model: nn.Module) -> Any:
    """The model itself, whether or not a wrapper for several devices is around it."""
    return model.module if is_model_wrapper(model) else model


def passes_per_update(runner: Runner) -> int:
    """Batches whose gradients make one step of the optimiser."""
    return runner.optim_wrapper._accumulative_counts  # mmengine has no public name for it
