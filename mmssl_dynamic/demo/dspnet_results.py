"""What DSPNet's demo measures: trainings at once and alone, accuracies on the tasks, and what they say."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from mmssl_dynamic.evaluation.evaluation_result import EvaluationResult, NetworkResult
from mmssl_dynamic.export import ExportReport

Results = Mapping[str, EvaluationResult]
"""Results by task."""

AT_ONCE = "at once"
EQUAL_TIME = "alone, in the same time"
EQUAL_STEPS = "alone, for as many steps"


@dataclass
class Training:
    """One training: its log, and collapse measure and number of steps of every network."""

    log: list[dict[str, Any]]
    health: dict[str, float]
    steps: dict[str, int]

    @property
    def seconds(self) -> float:
        """Of all its steps, from the mean over what was logged; a training that went on later had no more of them."""
        times = [record["time"] for record in self.log if "time" in record]
        return statistics.mean(times) * max(self.steps.values()) if times else 0.0

    @property
    def seconds_per_step(self) -> float | None:
        """Median over the second half of what was logged, in which every network trains."""
        times = [record["time"] for record in self.log if "time" in record]
        return statistics.median(times[len(times) // 2 :]) if times else None


@dataclass
class DSPNetDemoResults:
    """Everything the report shows.

    Attributes:
        names: Of the networks, the smallest first.
        dspnet: Results of all networks out of one training.
        alone: Results of each alone, by :data:`EQUAL_TIME` and :data:`EQUAL_STEPS`, and by name.
        random: Results of all networks before any training.
        trainings: The one training of :data:`AT_ONCE`, and those of the others by name.
        exports: One per network.
        batch_size: Images per step.
        settings: Of the demo.
        seconds: Of every step.
    """

    names: Sequence[str]
    dspnet: Results
    alone: Mapping[str, Mapping[str, Results]]
    random: Results
    trainings: Mapping[str, Mapping[str, Training]]
    exports: Sequence[ExportReport]
    batch_size: int
    settings: Mapping[str, Any]
    seconds: Mapping[str, float]

    def training_seconds(self, kind: str) -> float:
        """Of all trainings of a kind together."""
        return sum(training.seconds for training in self.trainings[kind].values())


@dataclass(frozen=True)
class SmallGain:
    """Networks out of one training minus the same alone, in percentage points.

    Attributes:
        points: Mean of the pairs.
        error: Standard error of the mean over the pairs.
        pairs: Networks times tasks.
    """

    points: float
    error: float
    pairs: int

    def __str__(self) -> str:
        return f"{self.points:+.1f} ± {self.error:.1f} points"


def small_gain(dspnet: Results, alone: Mapping[str, Results]) -> SmallGain:
    """Compare all networks but the largest with themselves alone, network by network and task by task."""
    small = list(alone)[:-1]
    mine = dict(zip(dspnet, task_scores(dspnet)))
    pairs = [mine[task][n] - dict(zip(alone[n], task_scores(alone[n])))[task][n] for n in small for task in dspnet]
    error = statistics.stdev(pairs) / math.sqrt(len(pairs)) if len(pairs) > 1 else math.nan
    return SmallGain(statistics.mean(pairs), error, len(pairs))


def average(found: Results) -> dict[str, NetworkResult]:
    """The networks by name, each with its mean accuracy over the tasks; the latency is of the first task."""
    first = next(iter(found.values()))
    scores = task_scores(found)
    return {
        network.name: replace(network, top1=statistics.mean(task[network.name] for task in scores))
        for network in first.networks
    }


def comparison(results: DSPNetDemoResults) -> str:
    """What the figures say of the small networks, in words: nothing but them decides which words."""
    same_time = small_gain(results.dspnet, results.alone[EQUAL_TIME])
    same_steps = small_gain(results.dspnet, results.alone[EQUAL_STEPS])
    seconds = {kind: results.training_seconds(kind) for kind in results.trainings}
    text = (
        f"At equal cost ({seconds[AT_ONCE]:.0f} s at once, {seconds[EQUAL_TIME]:.0f} s for all alone) the small "
        f"networks, all but the largest, are {same_time} against themselves alone, mean and standard error of "
        f"{same_time.pairs} pairs of networks and tasks. Against each alone for as many steps, which takes "
        f"{seconds[EQUAL_STEPS]:.0f} s together, they are {same_steps}."
    )
    return text if same_time.points >= 0 else f"{text} {_reason(results)}"


def _reason(results: DSPNetDemoResults) -> str:
    """Why the small networks are below themselves alone at equal cost."""
    (at_once,) = results.trainings[AT_ONCE].values()
    own = statistics.mean(at_once.steps.get(name, 0) for name in results.names[:-1])
    alone = statistics.mean(max(training.steps.values()) for training in results.trainings[EQUAL_TIME].values())
    if own < alone:
        return f"At once a small network has {own:.0f} steps of its own, alone {alone:.0f} in the same time."
    return (
        f"Steps are not the reason: a small network has {own:.0f} of its own at once, alone {alone:.0f}. Weights that "
        f"fit {len(results.names)} networks fit each less."
    )


def standard_error(found: Results, name: str) -> float:
    """Of a network's mean accuracy over the tasks, from the number of test images alone, in percentage points."""
    shares = [scores[name] / 100 for scores in task_scores(found)]
    counts = [result.data["test"]["images"] for result in found.values()]
    variance = sum(share * (1 - share) / count for share, count in zip(shares, counts))
    return 100 * math.sqrt(variance) / len(found)


def task_scores(found: Results) -> list[dict[str, float]]:
    """Accuracy by network, of every task."""
    return [{network.name: network.top1 for network in result.networks} for result in found.values()]
