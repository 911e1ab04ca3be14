"""A resumed training must count steps as the one that wrote the checkpoint did."""

from __future__ import annotations

from typing import Any

from mmengine.dist import get_world_size
from mmengine.hooks import Hook
from mmengine.runner import Runner

from mmssl_dynamic.errors import ConfigError
from mmssl_dynamic.registry import HOOKS

_KEY = "images_per_step"


@HOOKS.register_module()
class ResumeCheckHook(Hook):
    """Refuses to resume with another number of images per step, whatever number of processes shares them.

    Our batch samplers draw what belongs to (seed, step) and give every process its part. With the same number of
    images per step a run goes on as if it had never stopped, on more or fewer processes; with another, phases,
    learning rates and the images of an epoch would be other ones.
    :class:`~mmssl_dynamic.engine.runner.Runner` registers this hook by itself.
    """

    def before_save_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        """Write the number down."""
        checkpoint[_KEY] = _batch(runner).total_batch

    def after_load_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        """Compare the numbers.

        Raises:
            ConfigError: they differ.
        """
        if not runner._resume:  # weights alone fit any batch
            return
        written, sampler = checkpoint.get(_KEY), _batch(runner)
        if written is not None and written != sampler.total_batch:
            processes = get_world_size()
            remedy = (
                f"set train_dataloader.batch_size={written // processes}"
                if written % processes == 0
                else f"use a number of processes that divides {written}"
            )
            raise ConfigError(
                f"the checkpoint was written with {written} images per step, this run has {sampler.total_batch} "
                f"({processes} x {sampler.batch_size}); {remedy}."
            )


def _batch(runner: Runner) -> Any:
    return runner.train_dataloader.batch_sampler
