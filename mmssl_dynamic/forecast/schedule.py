"""Which networks the steps of a training go through, phase by phase, out of its config."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from mmengine.config import Config
from torch import nn

from mmssl_dynamic.datasets.subnet_batch_sampler import UNIFORM, draw_probabilities, read_share
from mmssl_dynamic.engine.hooks.progressive_phase_hook import phase_ends
from mmssl_dynamic.errors import ConfigError
from mmssl_dynamic.models.sandwich import SandwichTraining
from mmssl_dynamic.models.selfsup import SDR
from mmssl_dynamic.subnets import FULL, PathSpace

#: What stands for the network of a model that has but one.
WHOLE = "the network"
#: What a sandwich computes once for all networks of a step.
SHARED = "targets"


@dataclass(frozen=True)
class Phase:
    """A part of a training.

    Attributes:
        name: For people.
        steps: How many it has.
        networks: How many networks its steps draw from.
        trained: How often, on average, a step trains each kind of network; all paths of SDR multiply as much, and
            the last one of a phase, which stands for them, launches a few per cent more than the mean.
    """

    name: str
    steps: int
    networks: int
    trained: Mapping[str, float]


def phases_of(config: Config, model: nn.Module, steps: int, epochs: int) -> list[Phase]:
    """The phases of a training.

    Args:
        config: Pre-training config.
        model: What it builds.
        steps: Of the whole training.
        epochs: In which they are.

    Raises:
        ConfigError: a hook has impossible settings.
    """
    unknown = [name for name in ("dynamic_sampling", "favour_small") if _hook(config, "SandwichHook").get(name)]
    if (isinstance(model, SDR) and isinstance(model, SandwichTraining)) or unknown or _any_width(model):
        raise ConfigError(
            f"no forecast of {type(model).__name__} with {', '.join(unknown) or 'this backbone'}: which widths a step "
            "trains changes from step to step; time some steps instead."
        )
    if isinstance(model, SDR):
        return _growing(config, model, steps)
    if isinstance(model, SandwichTraining):
        return _sandwich(config, model, steps, epochs)
    return [Phase("all steps", steps, 1, {WHOLE: 1.0})]


def _growing(config: Config, model: SDR, steps: int) -> list[Phase]:
    """SDR's: the space grows from phase to phase."""
    space, hook = model.backbone.space, _hook(config, "ProgressivePhaseHook")
    assert isinstance(space, PathSpace)
    numbers = range(space.num_phases) if hook.get("progressive", True) else [space.num_phases - 1]
    ends = phase_ends(hook.get("lengths"), len(numbers), steps)
    sampler = config.train_dataloader.get("batch_sampler") or {}
    share = read_share(sampler.get("full_share", UNIFORM))
    shares = share if isinstance(share, tuple) else [share] * len(numbers)
    if len(shares) != len(numbers):
        raise ConfigError(f"full_share={list(shares)} must hold {len(numbers)} values, one for each phase.")
    found = []
    for position, (number, end, own) in enumerate(zip(numbers, ends, shares)):
        names = space.phase(number)
        full = draw_probabilities(names, own)[FULL]
        trained = {FULL: full, **({names[-1]: 1 - full} if len(names) > 1 else {})}
        start = ends[position - 1] if position else 0
        found.append(Phase(f"phase {position + 1}", end - start, len(names), trained))
    return found


def _sandwich(config: Config, model: SandwichTraining, steps: int, epochs: int) -> list[Phase]:
    """DSPNet's: the full network alone, then several networks in every step."""
    names, hook = model.backbone.subnets, _hook(config, "SandwichHook")
    count = min(hook.get("num_networks", 4), len(names))
    warm_up = min(steps, steps * hook.get("warmup_epochs", 10) // epochs) if len(names) > 1 else 0
    trained = {names[-1]: 1.0, SHARED: 1.0}
    found = [Phase("warm-up", warm_up, 1, dict(trained))] if warm_up else []
    if count > 1:
        trained[names[0]] = 1.0
    for name in names[1:-1]:
        trained[name] = max(0, count - 2) / (len(names) - 2)
    return [*found, Phase("sandwich" if count > 1 else "all steps", steps - warm_up, len(names), trained)]


def _any_width(model: nn.Module) -> bool:
    return bool(getattr(getattr(getattr(model, "backbone", None), "space", None), "any_width", False))


def _hook(config: Config, kind: str) -> Mapping[str, Any]:
    """The settings of a hook; none if the config does not have it."""
    hooks = config.get("custom_hooks") or []
    return next((hook for hook in hooks if str(hook.get("type")).split(".")[-1] == kind), {})
