"""A bar with the time left, for runs that a person watches."""

from __future__ import annotations

from typing import Any

import torch
from mmengine.dist import is_main_process
from mmengine.hooks import Hook
from mmengine.runner import Runner
from tqdm import tqdm

from mmssl_dynamic.registry import HOOKS


@HOOKS.register_module()
class ProgressBarHook(Hook):
    """Shows the steps of the training and the loss as a bar; set ``log_level='WARNING'`` to have it alone.

    Args:
        label: What stands before the bar.
    """

    def __init__(self, label: str = "training") -> None:
        self.label = label
        self._bar: tqdm | None = None

    def before_train(self, runner: Runner) -> None:
        """Open the bar where the training goes on."""
        hidden = not is_main_process()
        self._bar = tqdm(total=runner.max_iters, initial=runner.iter, desc=self.label, unit="step", disable=hidden)

    def after_train_iter(
        self, runner: Runner, batch_idx: int, data_batch: dict | None = None, outputs: dict[str, Any] | None = None
    ) -> None:
        """One step on."""
        if self._bar is not None:
            if outputs and "loss" in outputs:
                self._bar.set_postfix(loss=f"{float(torch.as_tensor(outputs['loss']).detach()):.3f}", refresh=False)
            self._bar.update()

    def after_train(self, runner: Runner) -> None:
        """Close the bar."""
        self.close()

    def close(self) -> None:
        """Leave the bar's line, also where a training stops on the way: an error begins on a line of its own."""
        if self._bar is not None:
            self._bar.close()
            self._bar = None
