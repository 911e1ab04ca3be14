"""Fine-tuning of a pruned network: what was pruned stays zero."""

from __future__ import annotations

import torch
from mmengine.hooks import Hook
from mmengine.runner import Runner
from torch import Tensor

from mmssl_dynamic.engine.unwrap import bare_model
from mmssl_dynamic.errors import ConfigError
from mmssl_dynamic.models.pruning import num_nonzero, prunable
from mmssl_dynamic.registry import HOOKS


@HOOKS.register_module()
class KeepPrunedHook(Hook):
    """Keeps the zeros with which the backbone's convolutions and linear layers start the training.

    ``tools/prune.py`` writes such weights; name its file in ``load_from``. A resumed training finds the same zeros in
    its checkpoint.

    Raises:
        ConfigError: nothing is pruned.
    """

    def before_train(self, runner: Runner) -> None:
        """Remember the zeros."""
        backbone = bare_model(runner.model).backbone
        weights = [getattr(module, name) for module, name in prunable(backbone)]
        self._kept: list[tuple[Tensor, Tensor]] = [(weight, weight != 0) for weight in weights]
        if all(kept.all() for _, kept in self._kept):
            raise ConfigError("nothing of the backbone is pruned; set load_from to a file written by tools/prune.py.")
        runner.logger.info(f"{num_nonzero(backbone):,} parameters of the backbone are left after pruning.")

    def after_train_iter(
        self, runner: Runner, batch_idx: int, data_batch: dict | None = None, outputs: dict | None = None
    ) -> None:
        """Undo what the step did to them."""
        with torch.no_grad():
            for weight, kept in self._kept:
                weight.mul_(kept)
