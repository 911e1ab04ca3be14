"""A training goes on from a checkpoint, under the schedule that its config has now.

mmengine takes learning rates, weight decay and schedules from the checkpoint, whatever the config says. Here the config
counts: the schedule is what it would be at this step had the training begun with it, and what has changed is said.
"""

from __future__ import annotations

import copy
import warnings
from collections.abc import Iterator, Mapping
from typing import Any

from mmengine.optim import OptimWrapperDict
from mmengine.runner import Runner
from torch import Tensor

from mmssl_dynamic.errors import ArtifactError, ConfigError, first_line

# What changes in a schedule while it runs; everything else is how it was built.
_RUNNING = ("last_step", "_global_step", "_last_value", "verbose")


def restore(runner: Runner, checkpoint: Mapping[str, Any], source: str) -> None:
    """Set a runner to where a checkpoint was written; its weights are loaded already.

    Args:
        runner: With loop, optimiser and schedules as its config builds them.
        checkpoint: What the file holds.
        source: The file, for messages.

    Raises:
        ArtifactError: the file holds no state of a training.
        ConfigError: this training cannot go on from there; the message names both values.
    """
    _check_is_training(checkpoint, source)
    meta, loop = checkpoint["meta"], runner.train_loop
    for what in ("epoch", "iter"):
        most = getattr(loop, f"_max_{what}s", None)
        if most is not None and meta[what] > most:
            raise ConfigError(
                f"{source} was written after {what} {meta[what]}, and max_{what}s={most} ends the training before; set "
                f"train_cfg.max_{what}s to at least {meta[what]}."
            )
    loop._epoch, loop._iter = meta["epoch"], meta["iter"]
    runner.message_hub.load_state_dict(checkpoint["message_hub"])
    configured = _Schedule(runner)
    if "optimizer" in checkpoint:
        _load_optimizer(runner, checkpoint["optimizer"], source)
    saved = checkpoint.get("param_schedulers", {})
    for name, states in (saved if isinstance(saved, dict) else {"": saved}).items():
        for scheduler, state in zip(configured.schedulers.get(name, ()), states):
            scheduler.load_state_dict(state)
        configured.counts_saved[name] = len(states)
    changes = configured.changes()
    if changes or configured.is_elsewhere(runner):
        configured.put_back_and_replay(runner)
    if changes:
        runner.logger.warning(
            f"The config differs from the one that {source} was written with, and counts from here on: "
            f"{'; '.join(changes)}. Learning rates are those that the whole training would have had with it."
        )


def _check_is_training(checkpoint: Mapping[str, Any], source: str) -> None:
    meta = checkpoint.get("meta")
    if (
        not isinstance(meta, Mapping)
        or not all(isinstance(meta.get(key), int) for key in ("epoch", "iter"))
        or not isinstance(checkpoint.get("message_hub"), Mapping)
    ):
        raise ArtifactError(
            f"{source} holds weights and no state of a training, so none can go on from it; begin one with its weights "
            f"by --cfg-options load_from={source}."
        )


def _load_optimizer(runner: Runner, state: dict[str, Any], source: str) -> None:
    try:
        runner.optim_wrapper.load_state_dict(state)
    except (ValueError, KeyError, TypeError) as error:
        raise ConfigError(
            f"the optimiser of {source} does not fit the config's ({first_line(error)}); leave "
            "optim_wrapper.optimizer.type and paramwise_cfg as they were."
        ) from error


class _Schedule:
    """Options of the optimiser and schedules as the config builds them, before a checkpoint's are loaded."""

    def __init__(self, runner: Runner) -> None:
        wrapper = runner.optim_wrapper
        wrappers = dict(wrapper.items()) if isinstance(wrapper, OptimWrapperDict) else {"": wrapper}
        self.optimizers = {name: one.optimizer for name, one in wrappers.items()}
        self.wrappers = wrappers
        built = runner.param_schedulers or []
        self.schedulers: dict[str, list[Any]] = built if isinstance(built, dict) else {"": built}
        self.counts_saved: dict[str, int] = {}
        self.options = {name: [_options(group) for group in one.param_groups] for name, one in self.optimizers.items()}
        self.base = {name: _options(getattr(one, "base_param_settings", None) or {}) for name, one in wrappers.items()}
        self.states = {name: [copy.deepcopy(s.state_dict()) for s in some] for name, some in self.schedulers.items()}

    def changes(self) -> list[str]:
        """What the loaded state has otherwise, as ``'weight_decay 0.0001 -> 0.0005'``, each once."""
        found: dict[str, None] = {}
        for name, groups in self.options.items():
            for own, loaded in zip(groups, self.optimizers[name].param_groups):
                for key in sorted({*own, *_options(loaded)}):
                    # The rate itself follows the schedule; where there is one, initial_lr is what the config says.
                    if f"initial_{key}" in own and f"initial_{key}" in loaded:
                        continue
                    if _differ(own.get(key), loaded.get(key)):
                        found[f"{key.removeprefix('initial_')} {loaded.get(key)} -> {own.get(key)}"] = None
        for name, states in self.states.items():
            before = self.counts_saved.get(name, 0)
            if before != len(states):
                found[f"number of schedules {before} -> {len(states)}"] = None
            for own, scheduler in zip(states[:before], self.schedulers[name]):
                loaded = scheduler.state_dict()
                differs = [
                    key
                    for key in sorted({*own, *loaded} - {*_RUNNING, "base_values"})
                    if _differ(own.get(key), loaded.get(key))
                ]
                if differs and getattr(scheduler, "need_val_args", False):
                    raise ConfigError(
                        f"{type(scheduler).__name__} depends on what has been measured, so a training cannot go on "
                        f"with another one: {differs[0]} was {loaded.get(differs[0])} and is {own.get(differs[0])}."
                    )
                kind = type(scheduler).__name__
                found |= dict.fromkeys(f"{key} of {kind} {loaded.get(key)} -> {own.get(key)}" for key in differs)
        return list(found)

    def is_elsewhere(self, runner: Runner) -> bool:
        """Whether the loaded schedules have taken other steps than the training, whose steps were counted anew."""
        return any(
            scheduler._global_step != (runner.epoch if scheduler.by_epoch else runner.iter)
            for some in self.schedulers.values()
            for scheduler in some
        )

    def put_back_and_replay(self, runner: Runner) -> None:
        """Set everything as the config has it, and take all steps that were taken."""
        for name, groups in self.options.items():
            for own, group in zip(groups, self.optimizers[name].param_groups):
                group.update(own)
            base = getattr(self.wrappers[name], "base_param_settings", None)
            if base is not None:
                base.update(self.base[name])
        for name, states in self.states.items():
            for scheduler, state in zip(self.schedulers[name], states):
                scheduler.load_state_dict(state)
        schedulers = [scheduler for some in self.schedulers.values() for scheduler in some]
        by_epoch = [s for s in schedulers if s.by_epoch and not getattr(s, "need_val_args", False)]
        by_step = [s for s in schedulers if not s.by_epoch]
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # the optimiser has not moved in between
            for ends_epoch in _steps(runner, bool(by_step)):
                for scheduler in by_epoch if ends_epoch else by_step:
                    scheduler.step()


def _steps(runner: Runner, each: bool) -> Iterator[bool]:
    """What has been taken, in order: False for a step, if each counts, and True for the end of an epoch."""
    epochs, length = runner.epoch, len(runner.train_dataloader)
    if each:
        for step in range(1, runner.iter + 1):
            yield False
            if step % length == 0 and step <= epochs * length:
                yield True
    else:
        yield from [True] * epochs


def _options(group: Mapping[str, Any]) -> dict[str, Any]:
    return {key: copy.deepcopy(value) for key, value in group.items() if key != "params"}


def _differ(one: Any, other: Any) -> bool:
    if isinstance(one, Tensor) or isinstance(other, Tensor):
        return not (isinstance(one, Tensor) and isinstance(other, Tensor) and bool((one == other).all()))
    # A checkpoint holds lists where an optimiser was given tuples.
    plain = lambda value: list(value) if isinstance(value, list | tuple) else value  # noqa: E731
    return bool(plain(one) != plain(other))
