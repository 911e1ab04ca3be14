"""A training that has diverged stops."""

from __future__ import annotations

import math
from typing import Any

import torch
from mmengine.dist import all_reduce, get_world_size
from mmengine.hooks import Hook
from mmengine.runner import Runner

from mmssl_dynamic.errors import DivergedError
from mmssl_dynamic.registry import HOOKS


@HOOKS.register_module()
class FiniteLossHook(Hook):
    """Ends the training at the first loss that is NaN or infinite, on any process.

    What comes after would be wasted, and would push the good checkpoints out.
    :class:`~mmssl_dynamic.engine.runner.Runner` registers this hook by itself.

    Raises:
        DivergedError: a loss is not finite.
    """

    # Before anything is made of the step.
    priority = "VERY_HIGH"

    def after_train_iter(
        self, runner: Runner, batch_idx: int, data_batch: dict | None = None, outputs: dict[str, Any] | None = None
    ) -> None:
        """Look at all that is called a loss."""
        losses = {
            key: torch.as_tensor(value).detach().item() for key, value in (outputs or {}).items() if "loss" in key
        }
        bad = {key: value for key, value in losses.items() if not math.isfinite(value)}
        if get_world_size() > 1:
            flag = torch.tensor([float(bool(bad))], device=next(runner.model.parameters()).device)
            all_reduce(flag, op="max")
            if flag.item() and not bad:
                bad = {"loss of another process": math.nan}
        if bad:
            name = "loss" if "loss" in bad else next(iter(bad))
            last = runner.message_hub.runtime_info.get("last_ckpt")
            kept = f"; {last} is the last checkpoint" if last else ", before the first checkpoint"
            raise DivergedError(
                f"the {name} is {bad[name]} at step {runner.iter + 1} (epoch {runner.epoch + 1}): the training has "
                f"diverged{kept}. Lower the learning rate (optim_wrapper.optimizer.lr) or warm it up, and look for "
                "broken images."
            )
