"""The moving average of BYOL's target, once per optimiser step (DSPNet Eq. 6, 7)."""

from __future__ import annotations

from math import cos, pi

from mmengine.hooks import Hook
from mmengine.runner import Runner

from mmssl_dynamic.engine.unwrap import bare_model, passes_per_update
from mmssl_dynamic.errors import ConfigError
from mmssl_dynamic.registry import HOOKS


@HOOKS.register_module()
class TargetEMAHook(Hook):
    """Moves the target towards the online network after every update of the optimiser.

    Inside ``loss()``, where mmpretrain's BYOL does it, the target would move several times a step with several
    networks or with gradient accumulation. tau = 1 - momentum follows BYOL's cosine,
    tau = 1 - (1 - tau_base) (cos(pi k / K) + 1) / 2 after step k of K, and ends at 1. The m of momentum BN goes from
    1 to 0 alongside.

    Args:
        base_momentum: 1 - tau_base, the weight of the online network at the start. BYOL's preset for 300 epochs is
            0.01, for 1000 epochs 0.004.
        end_momentum: The same at the end.

    Raises:
        ConfigError: a momentum that is not between 0 and 1; at the start of the run, a model without a target.
    """

    def __init__(self, base_momentum: float = 0.004, end_momentum: float = 0.0) -> None:
        if not 0 <= end_momentum <= base_momentum <= 1:
            raise ConfigError(
                f"TargetEMAHook needs 0 <= end_momentum={end_momentum} <= base_momentum={base_momentum} <= 1."
            )
        self.base_momentum, self.end_momentum = base_momentum, end_momentum

    def before_train(self, runner: Runner) -> None:
        """Refuse a model without a target."""
        if not hasattr(bare_model(runner.model), "update_target"):
            raise ConfigError("TargetEMAHook needs a model with a moving-average target, such as mmssl_dynamic.DSPNet.")

    def before_train_iter(self, runner: Runner, batch_idx: int, data_batch: dict | None = None) -> None:
        """Advance momentum BN."""
        model = bare_model(runner.model)
        if hasattr(model, "set_momentum_bn"):
            model.set_momentum_bn(half_cosine(runner.iter, runner.max_iters))

    def after_train_iter(
        self, runner: Runner, batch_idx: int, data_batch: dict | None = None, outputs: dict | None = None
    ) -> None:
        """Move the target if the optimiser has moved."""
        done = runner.iter + 1
        if done % passes_per_update(runner) and done != runner.max_iters:
            return
        momentum = self.end_momentum + (self.base_momentum - self.end_momentum) * half_cosine(done, runner.max_iters)
        bare_model(runner.model).update_target(momentum)
        runner.message_hub.update_scalar("train/target_momentum", momentum)


def half_cosine(step: int, steps: int) -> float:
    """From 1 at the start to 0 after the last step."""
    return (cos(pi * step / steps) + 1) / 2
