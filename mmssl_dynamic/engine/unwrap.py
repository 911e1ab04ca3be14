"""What hooks ask about a run: the model in its wrapper, passes that make an update, the seed of all processes."""

from __future__ import annotations

from typing import Any

from mmengine.dist import get_rank
from mmengine.model import is_model_wrapper
from mmengine.runner import Runner
from torch import nn


def bare_model(model: nn.Module) -> Any:
    """The model itself, whether or not a wrapper for several devices is around it."""
    return model.module if is_model_wrapper(model) else model


def passes_per_update(runner: Runner) -> int:
    """Batches whose gradients make one step of the optimiser."""
    # mmengine has no public name for it, and its wrapper for several optimisers does not accumulate.
    return getattr(runner.optim_wrapper, "_accumulative_counts", 1)


def shared_seed(runner: Runner) -> int:
    """The seed of what all processes must draw alike, whatever ``randomness.diff_rank_seed`` says."""
    seed = runner.seed or 0
    return seed - get_rank() if runner._randomness_cfg.get("diff_rank_seed") else seed
