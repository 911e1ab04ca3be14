"""Evaluation mode that is always given back: the state of a model before is its state afterwards."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn


@contextmanager
def eval_mode(module: nn.Module) -> Iterator[None]:
    """Put ``module`` in eval mode without gradients; give every part of it its own training flag back on leaving.

    ``module.train(was_training)`` would not do: frozen stages and ``norm_eval`` keep parts of a training model in
    eval mode.
    """
    flags = [(part, part.training) for part in module.modules()]
    module.eval()
    try:
        with torch.no_grad():
            yield
    finally:
        for part, training in flags:
            part.training = training
