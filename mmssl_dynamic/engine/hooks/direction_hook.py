"""Draws the direction of every step, for methods that train one of the two."""

from __future__ import annotations

from mmengine.hooks import Hook
from mmengine.runner import Runner

from mmssl_dynamic.engine.unwrap import bare_model, shared_seed
from mmssl_dynamic.errors import ConfigError
from mmssl_dynamic.models.selfsup.directions import Directed, draw_first_view
from mmssl_dynamic.registry import HOOKS


@HOOKS.register_module()
class DirectionHook(Hook):
    """Says before every step which of the two views predicts the other one; of a model that trains both, nothing.

    Raises:
        ConfigError: at the start of the run, the model has no directions to choose from.
    """

    priority = "HIGH"

    def before_train(self, runner: Runner) -> None:
        """Refuse a model for which this would mean nothing."""
        model = bare_model(runner.model)
        if not isinstance(model, Directed):
            raise ConfigError(
                f"DirectionHook needs a model with directions, such as mmssl_dynamic.SDR, not {type(model).__name__}."
            )

    def before_train_iter(self, runner: Runner, batch_idx: int, data_batch: dict | None = None) -> None:
        """Draw it, alike in all processes."""
        model = bare_model(runner.model)
        if model.directions != "both":
            model.first_view = draw_first_view(shared_seed(runner), runner.iter)
