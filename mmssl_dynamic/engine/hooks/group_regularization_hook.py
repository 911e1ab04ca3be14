"""Weaker weight decay for channels that few networks have (US3L Sec. 3.4, "group regularization")."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from mmengine.hooks import Hook
from mmengine.runner import Runner
from torch import Tensor

from mmssl_dynamic.engine.unwrap import bare_model
from mmssl_dynamic.errors import ConfigError
from mmssl_dynamic.models.elastic import ElasticBatchNorm, ElasticConv2d
from mmssl_dynamic.registry import HOOKS


@HOOKS.register_module()
class GroupRegularizationHook(Hook):
    """Splits the output channels of every convolution and norm layer into groups, and decays later ones less.

    The first channels are in every network and get the most gradients; the last ones are in the largest alone. Group i,
    counted from 0, has the weight decay (1 - alpha i) times that of its optimiser. Alpha grows from 0 after
    ``warmup_epochs`` to its value in the middle of the training. For optimisers that add weight decay to gradients,
    as SGD does; LARS reckons the rate of a layer with the gradient that this has changed.

    Args:
        alpha: By how much a group's weight decay is smaller than that of the group before, as a share of the first's.
        groups: G, of every layer; one with fewer channels has as many groups as channels.
        warmup_epochs: Epochs with one weight decay for all.

    Raises:
        ConfigError: a weight decay would be negative; at the start of the run, an optimiser that does
            not add weight decay to gradients.
    """

    def __init__(self, alpha: float = 0.05, groups: int = 8, warmup_epochs: int = 0) -> None:
        if groups < 1 or not 0 <= alpha * (groups - 1) <= 1:
            raise ConfigError(
                f"GroupRegularizationHook needs alpha={alpha} and groups={groups} with 0 <= alpha * (groups - 1) <= 1."
            )
        self.alpha, self.groups, self.warmup_epochs = alpha, groups, warmup_epochs
        self._now = 0.0
        self._handle: Any = None

    def before_train(self, runner: Runner) -> None:
        """Change gradients right before the optimiser's step: whole, averaged and without a loss scale."""
        optimizer = getattr(runner.optim_wrapper, "optimizer", None)
        if not isinstance(optimizer, torch.optim.Optimizer):
            raise ConfigError("GroupRegularizationHook needs a training with one optimiser.")
        if self.alpha and not _adds_decay_to_gradients(optimizer):
            raise ConfigError(
                f"GroupRegularizationHook.alpha={self.alpha} (group_alpha) needs an optimiser that adds weight decay "
                f"to gradients, as SGD does, and {type(optimizer).__name__} does not; take SGD, LARS or Adam, or an "
                "alpha of 0."
            )
        members = dict(self._members(bare_model(runner.model)))

        def weaken(optimizer: torch.optim.Optimizer, args: Any, kwargs: Any) -> None:
            for group in optimizer.param_groups if self._now else ():
                for parameter in group["params"]:
                    if parameter in members and parameter.grad is not None and group["weight_decay"]:
                        share = self._now * members[parameter].to(parameter.dtype)
                        parameter.grad.addcmul_(parameter.detach(), share, value=-group["weight_decay"])

        self._handle = optimizer.register_step_pre_hook(weaken)

    def before_train_iter(self, runner: Runner, batch_idx: int, data_batch: dict | None = None) -> None:
        """Set alpha."""
        steps_per_epoch = runner.max_iters / max(1, runner.max_epochs)
        start, middle = self.warmup_epochs * steps_per_epoch, runner.max_iters / 2
        share = 1.0 if middle <= start else min(1.0, (runner.iter - start) / (middle - start))
        self._now = self.alpha * share if runner.iter >= start else 0.0

    def after_train(self, runner: Runner) -> None:
        """Leave the optimiser as it was."""
        self._handle.remove()

    def _members(self, model: Any) -> Iterator[tuple[Tensor, Tensor]]:
        """Parameters with the number of the group of each output channel, in a shape that multiplies them.

        They lie beside the parameters: a copy from the CPU in every step would wait for the card.
        """
        for module in model.backbone.modules():
            if isinstance(module, ElasticConv2d | ElasticBatchNorm):
                for parameter in module.parameters(recurse=False):
                    channels = parameter.shape[0]
                    if parameter.ndim in (1, 4):
                        size = max(1, channels // self.groups)
                        index = (torch.arange(channels, device=parameter.device) // size).clamp(max=self.groups - 1)
                        yield parameter, index.view(-1, *[1] * (parameter.ndim - 1))


def _adds_decay_to_gradients(optimizer: torch.optim.Optimizer) -> bool:
    if isinstance(optimizer, torch.optim.AdamW) or any(g.get("decoupled_weight_decay") for g in optimizer.param_groups):
        return False
    return isinstance(optimizer, torch.optim.SGD | torch.optim.Adam) or type(optimizer).__name__ == "LARS"
