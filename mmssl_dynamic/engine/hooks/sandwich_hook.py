"""Draws the networks of every step (DSPNet Sec. 4.1 and 5.1; US3L, SlimCLR and POA)."""

from __future__ import annotations

from mmengine.hooks import Hook
from mmengine.runner import Runner

from mmssl_dynamic.engine.unwrap import bare_model, passes_per_update, shared_seed
from mmssl_dynamic.errors import ConfigError
from mmssl_dynamic.models.sandwich import SandwichTraining
from mmssl_dynamic.models.sandwich_draws import (
    LOSS_WEIGHTS,
    draw_any_widths,
    draw_networks,
    loss_weights,
    lowest_width,
)
from mmssl_dynamic.registry import HOOKS
from mmssl_dynamic.subnets import SlimmableSpace, WidthsOfPath


@HOOKS.register_module()
class SandwichHook(Hook):
    """Smallest, largest and random networks in every optimiser step; the full network alone while warming up.

    Where a batch belongs to a path of SDR, they are those of the path, and the path itself is the largest.

    Args:
        num_networks: n, networks per step. Cut to the number of networks that there are, unless any width is one.
        warmup_epochs: Epochs in which the full network trains alone, "for robust training"; SlimCLR's slow start.
        dynamic_sampling: US3L: the range of widths opens with the training, in four equal parts from the largest width
            alone to all.
        favour_small: POA draws small networks more often: here in proportion to width ** -favour_small (our reading).
            0: all equally often.
        loss_weights: SlimCLR: ``'equal'``, ``'width'`` or ``'largest'``, see
            :func:`mmssl_dynamic.models.sandwich_draws.loss_weights`.

    Raises:
        ConfigError: fewer than one network or epochs below zero, an option that there is not; at the start of the run,
            a model without sandwich training or a warm-up that never ends.
    """

    priority = "HIGH"

    def __init__(
        self,
        num_networks: int = 4,
        warmup_epochs: int = 10,
        dynamic_sampling: bool = False,
        favour_small: float = 0.0,
        loss_weights: str = "equal",
    ) -> None:
        for name, value, least in (
            ("num_networks", num_networks, 1),
            ("warmup_epochs", warmup_epochs, 0),
            ("favour_small", favour_small, 0),
        ):
            if not isinstance(value, int | float) or not value >= least:
                raise ConfigError(f"SandwichHook.{name}={value!r} must be a number, {least} or more.")
        if isinstance(dynamic_sampling, str):
            raise ConfigError(f"SandwichHook.dynamic_sampling={dynamic_sampling!r} must be True or False.")
        if loss_weights not in LOSS_WEIGHTS:
            raise ConfigError(f"SandwichHook.loss_weights={loss_weights!r} must be one of {', '.join(LOSS_WEIGHTS)}.")
        self.num_networks, self.warmup_epochs = num_networks, warmup_epochs
        self.dynamic_sampling, self.favour_small, self.loss_weights = dynamic_sampling, favour_small, loss_weights
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
        """Set the networks of this step, and the weights of their losses."""
        model = bare_model(runner.model)
        space = model.sandwich_space(data_batch.get("data_samples") if isinstance(data_batch, dict) else None)
        if runner.epoch < self.warmup_epochs:
            model.networks = space.names[-1:]
        else:
            if not self._announced and len(space.names) > 1:
                self._announced = True
                runner.logger.info(
                    f"Sandwich of {self.count(space.names)} out of {len(space.names)} networks from here on."
                )
            model.networks = self._drawn(space, runner)
        equal = self.loss_weights == "equal"
        model.loss_weights = {} if equal else loss_weights(space, model.networks, self.loss_weights)

    def _drawn(self, space: SlimmableSpace | WidthsOfPath, runner: Runner) -> tuple[str, ...]:
        # The networks of a large batch: all passes that are accumulated into one update train the same ones.
        passes = passes_per_update(runner)
        seed, step = shared_seed(runner), runner.iter // passes
        lowest = space.widths[0]
        if self.dynamic_sampling:
            lowest = lowest_width(space, step * passes / runner.max_iters)
        if isinstance(space, SlimmableSpace) and space.any_width:
            return draw_any_widths(space, self.num_networks, seed, step, lowest, self.favour_small)
        names, chances = space.names, None
        if self.dynamic_sampling:
            inside = [name for name in names if space.member(name)[0] >= lowest - 1e-9]
            names = tuple(inside) if lowest < space.widths[-1] else names[-1:]
        if self.favour_small:
            chances = [space.member(name)[0] ** -self.favour_small for name in names]
        return draw_networks(names, self.count(names), seed, step, chances)

    def count(self, names: tuple[str, ...]) -> int:
        """Networks per step."""
        return min(self.num_networks, len(names))
