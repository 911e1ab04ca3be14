"""Watches every sub-network for collapse, the failure of naive sub-net training (SDR Sec. 4.2)."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

from mmengine.dist import is_main_process
from mmengine.hooks import Hook
from mmengine.runner import Runner

from mmssl_dynamic.engine.unwrap import bare_model
from mmssl_dynamic.errors import ConfigError
from mmssl_dynamic.models.selfsup import batch_subnet
from mmssl_dynamic.registry import HOOKS
from mmssl_dynamic.writing import write_json


@HOOKS.register_module()
class CollapseMonitorHook(Hook):
    """Follows the std of the L2-normalised projections of every network, times sqrt(D): 1 is healthy, 0 is collapse.

    Logs the smallest value over all networks, warns once about each network that falls below the threshold, and writes
    ``collapse.json`` into the work directory. The values travel with the checkpoints.

    Args:
        threshold: Warn below this share of the healthy value.
        momentum: Weight of the past in the running mean of every network.
        warm_up: Steps of a network before it can be warned about.
    """

    priority = "LOW"
    _KEY = "mmssl_dynamic_collapse"

    def __init__(self, threshold: float = 0.2, momentum: float = 0.9, warm_up: int = 10) -> None:
        if not 0 <= threshold < 1 or not 0 <= momentum < 1:
            raise ConfigError(
                f"CollapseMonitorHook needs 0 <= threshold={threshold} < 1 and 0 <= momentum={momentum} < 1."
            )
        self.threshold, self.momentum, self.warm_up = threshold, momentum, warm_up
        self.health: dict[str, float] = {}
        self.steps: dict[str, int] = {}
        self._warned: set[str] = set()

    def after_train_iter(
        self, runner: Runner, batch_idx: int, data_batch: dict | None = None, outputs: dict[str, Any] | None = None
    ) -> None:
        """Fold the step's value into the running mean of its network."""
        if data_batch is None or outputs is None:
            return
        model = bare_model(runner.model)
        scale = math.sqrt(model.neck.out_channels)
        for name, value in _stds(model, data_batch, outputs).items():
            self._follow(runner, name, value * scale)
        if self.health:
            runner.message_hub.update_scalar("train/collapse_min", min(self.health.values()))

    def _follow(self, runner: Runner, name: str, value: float) -> None:
        before = self.health.get(name)
        self.health[name] = value if before is None else self.momentum * before + (1 - self.momentum) * value
        self.steps[name] = self.steps.get(name, 0) + 1
        if self.health[name] < self.threshold and self.steps[name] >= self.warm_up and name not in self._warned:
            self._warned.add(name)
            runner.logger.warning(
                f"sub-network '{name}' is collapsing: the std of its projections is {self.health[name]:.2f} of "
                "the healthy value; check the learning rate and, of a path of SDR, the size of its cluster and that "
                "SiamKD is on."
            )

    def before_save_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        """Keep the values with the checkpoint."""
        checkpoint[self._KEY] = {"health": dict(self.health), "steps": dict(self.steps)}

    def after_load_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        """Go on from a checkpoint's values."""
        kept = checkpoint.get(self._KEY, {})
        self.health, self.steps = dict(kept.get("health", {})), dict(kept.get("steps", {}))

    def after_train(self, runner: Runner) -> None:
        """Write ``collapse.json``."""
        if is_main_process():
            write_json(
                Path(runner.work_dir) / "collapse.json",
                {
                    "healthy": 1.0,
                    "health": dict(sorted(self.health.items())),
                    "steps": dict(sorted(self.steps.items())),
                },
            )


def _stds(model: Any, data_batch: dict, outputs: dict[str, Any]) -> dict[str, float]:
    """The values of this step by network: one, of the batch's network, or those of a sandwich."""
    if "std" not in outputs:
        return {key.removeprefix("std_"): float(value) for key, value in outputs.items() if key.startswith("std_")}
    name = batch_subnet(data_batch["data_samples"])
    found = {name: float(outputs["std"])}
    for key, value in outputs.items():  # of the same path at other widths
        if key.startswith("std@"):
            found[model.backbone.space.at_width(name, key.removeprefix("std@"))] = float(value)
    return found
