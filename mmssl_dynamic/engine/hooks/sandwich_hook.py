"""Draws the networks of every step (DSPNet Sec. 4.1 and 5.1)."""

from __future__ import annotations

from mmengine.hooks import Hook
from mmengine.runner import Runner

from mmssl_dynamic.engine.unwrap import bare_model, passes_per_update, shared_seed
from mmssl_dynamic.errors import ConfigError
from mmssl_dynamic.models.sandwich import SandwichTraining, draw_networks
from mmssl_dynamic.registry import HOOKS


@HOOKS.register_module()
class SandwichHook(Hook):
    """Smallest, largest and random networks in every optimiser step; the full network alone while warming up.

    Args:
        num_networks: n, networks per step. Cut to the number of networks that there are.
        warmup_epochs: Epochs in which the full network trains alone, "for robust training".

    Raises:
        ConfigError: fewer than one network or epochs below zero; at the start of the run, a model without sandwich
            training or a warm-up that never ends.
    """

    priority = "HIGH"

    def __init__(self, num_networks: int = 4, warmup_epochs: int = 10) -> None:
        if num_networks < 1 or warmup_epochs < 0:
            raise ConfigError(
                f"SandwichHook needs num_networks={num_networks} >= 1 and warmup_epochs={warmup_epochs} >= 0."
            )
        self.num_networks, self.warmup_epochs = num_networks, warmup_epochs
        self._announced = False

    def before_train(self, runner: Runner) -> None:
        """Refuse a run in which the sandwich could never start."""
        model = bare_model(runner.model)
        if not isinstance(model, SandwichTraining):
            raise ConfigError(
                f"SandwichHook needs a model with sandwich training, such as mmssl_dynamic.DSPNet, not "
                f"{type(model).__name__}."
            )
        if len(model.backbone.subnets) > 1 and 0 < runner.max_epochs <= self.warmup_epochs:
            raise ConfigError(
                f"SandwichHook.warmup_epochs={self.warmup_epochs} leaves none of the {runner.max_epochs} epochs for "
                "the smaller networks; lower it."
            )

    def before_train_iter(self, runner: Runner, batch_idx: int, data_batch: dict | None = None) -> None:
        """Set the networks of this step."""
        model = bare_model(runner.model)
        names = model.backbone.subnets
        if runner.epoch < self.warmup_epochs:
            model.networks = names[-1:]
            return
        if not self._announced:
            self._announced = True
            runner.logger.info(f"Sandwich of {self.count(names)} out of {len(names)} networks from here on.")
        # The networks of a large batch: all passes that are accumulated into one update train the same ones.
        step = runner.iter // passes_per_update(runner)
        model.networks = draw_networks(names, self.count(names), shared_seed(runner), step)

    def count(self, names: tuple[str, ...]) -> int:
        """Networks per step."""
        return min(self.num_networks, len(names))
