"""Data-aware progressive training (SDR Sec. 4.2): the network space grows from phase to phase."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate

from mmengine.hooks import Hook
from mmengine.runner import Runner

from mmssl_dynamic.datasets.subnet_batch_sampler import SubnetBatchSampler
from mmssl_dynamic.engine.subnet_optim_wrapper import SubnetStep
from mmssl_dynamic.errors import ConfigError
from mmssl_dynamic.registry import HOOKS


@HOOKS.register_module()
class ProgressivePhaseHook(Hook):
    """Tells batch sampler and optimiser when the space grows, and where a resumed training goes on.

    Phase 0 trains W_0 alone; phase p adds the paths that differ only in the last p stages.

    Args:
        lengths: Relative lengths of the phases; equal by default (our reading of "until converge").
        progressive: ``False`` opens the whole space from the first step, the ablation without phases.

    Raises:
        ConfigError: the number of lengths is not that of the phases, or the run lacks the batch sampler or the
            optimiser wrapper that SDR needs.
    """

    priority = "VERY_HIGH"

    def __init__(self, lengths: Sequence[float] | None = None, progressive: bool = True) -> None:
        self.lengths, self.progressive = lengths, progressive
        self._ends: list[int] = []
        self._spaces: list[tuple[str, ...]] = []
        self._phase = -1

    def before_train(self, runner: Runner) -> None:
        """Lay the phases over the steps of the whole training."""
        sampler = _batch_sampler(runner)
        if not isinstance(runner.optim_wrapper, SubnetStep):
            raise ConfigError(
                "SDR trains one sub-network a step and needs "
                "optim_wrapper.type='mmssl_dynamic.SubnetOptimWrapper'; --amp puts its mixed precision in its place."
            )
        if sampler.repeats % runner.optim_wrapper.accumulative_counts:
            raise ConfigError(
                f"batch_sampler.repeats={sampler.repeats} must be a multiple of optim_wrapper.accumulative_counts="
                f"{runner.optim_wrapper.accumulative_counts}, so that one step trains one sub-network."
            )
        space = sampler.dataset.space
        phases = range(space.num_phases) if self.progressive else [space.num_phases - 1]
        self._spaces = [space.phase(p) for p in phases]
        self._ends = phase_ends(self.lengths, len(self._spaces), runner.max_iters, sampler.repeats)
        sampler.set_phases(self._spaces, self._ends)

    def before_train_epoch(self, runner: Runner) -> None:
        """Point the sampler at the next step, which after a resume may lie inside an epoch."""
        _batch_sampler(runner).start_at(runner.iter, runner.epoch)

    def before_train_iter(self, runner: Runner, batch_idx: int, data_batch: dict | None = None) -> None:
        """Announce a new phase."""
        phase = next(p for p, end in enumerate(self._ends) if runner.iter < end)
        if phase != self._phase:
            self._phase = phase
            assert isinstance(runner.optim_wrapper, SubnetStep)
            runner.optim_wrapper.begin_phase(runner.model, _batch_sampler(runner).draw_shares(phase))
            runner.logger.info(
                f"Phase {phase + 1} of {len(self._ends)}: {len(self._spaces[phase])} networks in the space, until step "
                f"{self._ends[phase]} of {runner.max_iters}."
            )
        runner.message_hub.update_scalar("train/phase", phase)


def phase_ends(lengths: Sequence[float] | None, count: int, steps: int, multiple: int = 1) -> list[int]:
    """The step at which every phase ends.

    Args:
        lengths: Relative lengths, or ``None`` for equal ones.
        count: Number of phases.
        steps: Steps of the whole training.
        multiple: Ends are multiples of this, but for the last.
    """
    lengths = list(lengths) if lengths is not None else [1.0] * count
    if len(lengths) != count or min(lengths) < 0 or sum(lengths) <= 0:
        raise ConfigError(
            f"ProgressivePhaseHook.lengths={lengths} must be {count} numbers, one for each phase, none of them "
            "negative."
        )
    total = sum(lengths)
    ends = [round(steps * part / total / multiple) * multiple for part in accumulate(lengths)]
    return [*ends[:-1], steps]


def _batch_sampler(runner: Runner) -> SubnetBatchSampler:
    sampler = getattr(runner.train_dataloader, "batch_sampler", None)
    if not isinstance(sampler, SubnetBatchSampler):
        raise ConfigError(
            "ProgressivePhaseHook needs train_dataloader.batch_sampler=dict(type='mmssl_dynamic.SubnetBatchSampler')."
        )
    return sampler
