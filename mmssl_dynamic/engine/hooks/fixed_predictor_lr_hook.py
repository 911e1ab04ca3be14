"""The predictor's constant learning rate (SimSiam Sec. 4.2: the predictor's rate does not decay)."""

from __future__ import annotations

from mmengine.hooks import Hook
from mmengine.runner import Runner

from mmssl_dynamic.errors import ConfigError
from mmssl_dynamic.registry import HOOKS


@HOOKS.register_module()
class FixedPredictorLrHook(Hook):
    """Holds the parameter groups marked ``fix_lr`` at the rate they started with.

    mmpretrain's ``SimSiamHook`` writes a number of its own, once per epoch: it misses ``--auto-scale-lr`` and schedules
    that step every iteration. This one takes the group's initial rate, every iteration.
    """

    # After the schedule's own hook has run at the end of the last step, before this step's update.
    priority = "HIGH"

    def before_train(self, runner: Runner) -> None:
        """Refuse a config that marks nothing."""
        if not any(group.get("fix_lr") for group in runner.optim_wrapper.optimizer.param_groups):
            raise ConfigError(
                "FixedPredictorLrHook finds no parameter marked fix_lr; set "
                "optim_wrapper.paramwise_cfg=dict(custom_keys={'predictor': dict(fix_lr=True)})."
            )

    def before_train_iter(self, runner: Runner, batch_idx: int, data_batch: dict | None = None) -> None:
        """Undo what the schedule did to the marked groups."""
        for group in runner.optim_wrapper.optimizer.param_groups:
            if group.get("fix_lr"):
                group["lr"] = group.get("initial_lr", group["lr"])
