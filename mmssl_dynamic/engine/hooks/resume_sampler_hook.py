"""Resumed trainings draw the images that they would have drawn."""

from __future__ import annotations

from mmengine.hooks import Hook
from mmengine.runner import Runner

from mmssl_dynamic.datasets.resumable_batch_sampler import ResumableBatchSampler
from mmssl_dynamic.registry import HOOKS


@HOOKS.register_module()
class ResumeSamplerHook(Hook):
    """Points a :class:`~mmssl_dynamic.datasets.ResumableBatchSampler` at the next step.

    :class:`~mmssl_dynamic.engine.runner.Runner` registers it by itself; a config needs it under mmengine's own Runner.
    """

    # Before hooks that read from the loader.
    priority = "HIGH"

    def before_train_epoch(self, runner: Runner) -> None:
        """After a resume the next step may lie inside an epoch."""
        batch_sampler = getattr(runner.train_dataloader, "batch_sampler", None)
        if isinstance(batch_sampler, ResumableBatchSampler):
            batch_sampler.start_at(runner.iter, runner.epoch)
