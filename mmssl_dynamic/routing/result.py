"""The artifact ``routing.json``: how every sub-network did on a task, best first."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from scipy.stats import binomtest

from mmssl_dynamic.errors import ArtifactError
from mmssl_dynamic.records import Count, Percent, Points, read_record
from mmssl_dynamic.result_file import ResultFile

FILE = ResultFile("routing", 5, "tools/route.py")


@dataclass(frozen=True)
class SubnetScore:
    """One sub-network on one task.

    Attributes:
        name: Name of the sub-network.
        select_accuracy: kNN accuracy in percent on the images that the choice is made with (training images, each
            left out in turn, or a validation split).
        test_accuracy: kNN accuracy in percent on the test images, which never take part in the choice.
        gain_over_full: Percentage points above the full network, on the test images (SDR Fig. 4b).
        params: Learnable weights of the backbone.
        macs: Multiply-accumulates per image at the size routed with (what papers on ResNets call FLOPs).
        score: What it is ranked by, where that is another score than ``select_accuracy``.
        better: Images of the choice that kNN classifies rightly with it and wrongly with the full network.
        worse: The other way round.
    """

    name: str
    select_accuracy: Percent
    test_accuracy: Percent | None
    gain_over_full: Points
    params: Count
    macs: Count
    score: float | None = None
    better: Count = 0
    worse: Count = 0

    @property
    def ranking(self) -> float:
        """By which sub-networks are chosen; larger is better."""
        return self.select_accuracy if self.score is None else self.score


@dataclass(frozen=True)
class Baseline:
    """A plain network on a task, classified as the sub-networks are.

    Attributes:
        name: What it is called.
        select_accuracy: kNN accuracy in percent on the images of the choice.
        test_accuracy: kNN accuracy in percent on the test images.
    """

    name: str
    select_accuracy: Percent
    test_accuracy: Percent | None


@dataclass(frozen=True)
class DroppedSubnet:
    """A candidate that was not evaluated on all images.

    Attributes:
        name: Name of the sub-network.
        select_accuracy: kNN accuracy in percent on the images it was judged with; ``None`` if it was on none.
        images: How many training images that were.
        reason: Why it went no further.
    """

    name: str
    select_accuracy: Percent | None
    images: Count
    reason: str


def rank(scores: Iterable[SubnetScore]) -> list[SubnetScore]:
    """Best first, by the images of the choice alone; equal ones keep the order they came in."""
    return sorted(scores, key=lambda score: -score.ranking)


@dataclass(frozen=True)
class RoutingResult:
    """Ranking of sub-networks for a task, with everything needed to repeat it.

    Attributes:
        task: Name of the task.
        protocol: k, temperature, vote, kind of BN statistics, what the choice was made on, image size, ...
        weights_fingerprint: Of the super-network.
        subnets: Ranked scores.
        full: Score of the full network, the baseline of the gains.
        cost: Images, stage runs and seconds.
        dropped: Candidates that a faster method left out, the later ones first.
        config, checkpoint, bank: The files the result was computed from, where known.
        inputs: Fingerprints of everything the result depends on: a :class:`~mmssl_dynamic.result_cache.Key`'s record.
        cfg_options: Options that the config was read with.
        statistics: Fingerprints of the BatchNorm statistics that networks were ranked with, by their names.
        start: The plain network whose features were clustered, from which a training may have started, on the same
            images; where it was given.
    """

    task: str
    protocol: dict[str, Any]
    weights_fingerprint: str
    subnets: list[SubnetScore]
    full: SubnetScore
    cost: dict[str, float]
    dropped: list[DroppedSubnet] = field(default_factory=list)
    config: str | None = None
    checkpoint: str | None = None
    bank: str | None = None
    inputs: dict[str, Any] = field(default_factory=dict)
    cfg_options: dict[str, Any] = field(default_factory=dict)
    statistics: dict[str, str] = field(default_factory=dict)
    start: Baseline | None = None
    source: str = field(default="the routing result", compare=False)

    @property
    def best(self) -> SubnetScore:
        """The first of the sub-networks."""
        return self.subnets[0]

    @property
    def chosen(self) -> SubnetScore | Baseline:
        """The network to use: the first sub-network, or the full one or the start, where it does better than that.

        The images of the choice decide, as they do among the sub-networks.
        """
        if self.start is not None and self.start_is_better:
            return self.start
        return self.full if self.full_is_better else self.best

    @property
    def best_in_hindsight(self) -> SubnetScore:
        """The sub-network that turned out best on the test images (without them, the best one)."""
        return max(self.subnets, key=reported)  # the first of equally good ones

    def regret(self, reference: RoutingResult | None = None) -> float:
        """Percentage points of test accuracy that the choice lies below the best one there was.

        Args:
            reference: A ranking of all sub-networks on the same task, whose figures are used; this one by default.

        Raises:
            ArtifactError: the reference is of other weights or another task, was ranked with other statistics of the
                same kind, or does not cover the choice.
        """
        reference = reference or self
        reference.check(self.weights_fingerprint)
        # Another kind is on purpose: prefix statistics rank faster, and what they lose is told by path statistics.
        alike = self.protocol.get("bn") == reference.protocol.get("bn") and self.statistics and reference.statistics
        name = self.best.name
        if alike and self.statistics.get(name) != reference.statistics.get(name, self.statistics.get(name)):
            raise ArtifactError(
                f"{reference.source} was ranked with other BatchNorm statistics of {name} than those of now; write it "
                f"with {FILE.tool} again, with the same bank."
            )
        if reference.task != self.task:
            raise ArtifactError(f"{reference.source} is of task '{reference.task}', not '{self.task}'.")
        return reported(reference.best_in_hindsight) - reported(reference.score(self.best.name))

    @property
    def p_value(self) -> float | None:
        """How often chance alone would make the best of so many sub-networks so much better than the full network.

        The exact test of McNemar on the images of the choice, which both networks classified, one-sided, times the
        number of candidates (Bonferroni): the best of many is good by chance more often than one is. ``None`` where
        no image tells the two apart.
        """
        better, worse = self.best.better, self.best.worse
        if better + worse == 0:
            return None
        alone = binomtest(better, better + worse, alternative="greater").pvalue
        return float(min(1.0, alone * (len(self.subnets) + len(self.dropped))))

    @property
    def full_is_better(self) -> bool:
        """Whether the full network ranks above the chosen sub-network on the images of the choice."""
        return self.full.ranking > self.best.ranking

    @property
    def start_is_better(self) -> bool:
        """Whether the network of the start is above all others on the images of the choice.

        It has its kNN accuracy there and no other score, so rankings by another score do not tell.
        """
        if self.start is None or self.best.score is not None:
            return False
        return self.start.select_accuracy > max(self.best.select_accuracy, self.full.select_accuracy)

    def verdict(self, level: float = 0.05) -> str:
        """Whether the choice is better than the full network by more than chance, in a sentence."""
        if self.start is not None and self.start_is_better:
            figures = f"{self.start.select_accuracy:.4g} against {self.best.select_accuracy:.4g}"
            return (
                f"{self.start.name}, whose features were clustered, selects better than the chosen path "
                f"{self.best.name} ({figures}): use it for this task"
            )
        if self.full_is_better:
            figures = f"{self.full.ranking:.4g} against {self.best.ranking:.4g}"
            return (
                f"the full network selects better than the chosen path {self.best.name} ({figures}): use the full "
                "network for this task"
            )
        best, p = self.best, self.p_value
        count = len(self.subnets) + len(self.dropped)
        if p is None:
            return f"{best.name} classifies the images of the choice as the full network does"
        text = (
            f"of the images of the choice {best.name} classifies {best.better} rightly that the full network does not, "
            f"and {best.worse} the other way round"
        )
        if p <= level:
            return f"{text}: better than chance makes the best of {count} (p = {p:.2g})"
        return f"{text}: chance may make the best of {count} so good (p = {p:.2g}), and the full network do as well"

    def score(self, name: str) -> SubnetScore:
        """Score of one sub-network.

        Raises:
            ArtifactError: it was not evaluated.
        """
        for score in (*self.subnets, self.full):
            if score.name == name:
                return score
        raise ArtifactError(f"{self.source} does not cover sub-network '{name}'; route again with --subnets all.")

    def check(self, weights_fingerprint: str) -> None:
        """Refuse other weights.

        Raises:
            ArtifactError: the result was computed with other weights.
        """
        if weights_fingerprint != self.weights_fingerprint:
            raise ArtifactError(
                f"{self.source} was computed with other weights than this checkpoint's; give the checkpoint it names "
                f"({self.checkpoint}) or write it with {FILE.tool}."
            )

    @property
    def ranked(self) -> list[str]:
        """All sub-networks that have a score, and the full network."""
        return list(dict.fromkeys(score.name for score in (*self.subnets, self.full)))

    @property
    def names(self) -> list[str]:
        """All sub-networks that were candidates, and the full network."""
        return list(dict.fromkeys([*self.ranked, *(entry.name for entry in self.dropped)]))

    @property
    def fingerprints(self) -> dict[str, Any]:
        """Of :attr:`inputs` those that say what the winner was chosen by, for the file it is exported to."""
        told = ("weights", "BN statistics", "clusters", "images", "normalisation")
        return {name: self.inputs[name] for name in told if name in self.inputs}

    def record(self) -> dict[str, Any]:
        """As plain data."""
        data = {**asdict(self), "best": self.best.name}
        data.pop("source")
        return data

    @classmethod
    def from_record(cls, record: Mapping[str, Any], source: str = "the routing result") -> RoutingResult:
        """What :meth:`record` gave.

        Raises:
            RecordError: it is no such record.
            ValueError: it ranks nothing, or names another best sub-network than its ranking.
        """
        result = replace(read_record(cls, record, without=["source"]), source=source)
        if not result.subnets:
            raise ValueError("ranks no sub-network")
        if result.best.name != record.get("best"):
            raise ValueError("names another best sub-network than its ranking")
        return result

    def check_statistics(self, fingerprint: str, bank: str | None, bn: str | None) -> None:
        """Refuse BatchNorm statistics that the sub-networks were not ranked with.

        Args:
            fingerprint: Of the statistics of all :attr:`names`.
            bank: The file they are from; ``None`` for those of the checkpoint.
            bn: Which of the bank's they are.

        Raises:
            ArtifactError: they are others.
        """
        if fingerprint == self.inputs.get("BN statistics"):
            return
        ranked = self.protocol.get("bn")
        if bank is not None and bn != ranked:
            raise ArtifactError(
                f"{self.source} was ranked with --bn {ranked}, not {bn}; leave --bn out or route again."
            )
        what = "the checkpoint's own statistics are" if bank is None else f"BN bank {bank} is"
        remedy = (
            "route again with it" if self.bank in (None, bank) else f"give {self.bank}, or route again with this one"
        )
        raise ArtifactError(
            f"{what} not what {self.source} was ranked with (the BatchNorm statistics of its sub-networks differ); "
            f"{remedy}."
        )

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write ``routing.json``, atomically."""
        FILE.save(path, self.record())

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> RoutingResult:
        """Read ``routing.json``.

        Raises:
            ArtifactError: the file is missing, broken, no routing result, or of another schema version.
        """
        return FILE.load(path, cls.from_record)

    def table(self, rows: int | None = None) -> str:
        """The ranking as text, the full network in the last line; ``rows`` limits the sub-networks shown."""
        shown = self.subnets[:rows]
        width = max(len("sub-network"), *(len(score.name) for score in (*shown, self.full)))
        scored = any(score.score is not None for score in shown)
        head = "     score  " if scored else ""
        lines = [f"rank  {'sub-network':<{width}}  {head}select %  test %  gain over full  params M   GMACs"]
        entries = [(f"{position:4d}", score) for position, score in enumerate(shown, start=1)]
        for position, score in [*entries, ("   -", self.full)]:
            test = "     -" if score.test_accuracy is None else f"{score.test_accuracy:6.2f}"
            own = f"{score.ranking:10.4g}  " if scored else ""
            accuracies = f"{own}{score.select_accuracy:8.2f}  {test}  {score.gain_over_full:+14.2f}"
            cost = f"{score.params / 1e6:8.2f}  {score.macs / 1e9:6.3f}"
            lines.append(f"{position}  {score.name:<{width}}  {accuracies}  {cost}")
        if len(shown) < len(self.subnets):
            lines.insert(-1, f"      ... {len(self.subnets) - len(shown)} more")
        if self.dropped:
            lines.insert(-1, f"      ({len(self.dropped)} more were not evaluated on all images)")
        return "\n".join(lines)


def reported(network: SubnetScore | Baseline) -> float:
    """Its accuracy on the test images; on those of the choice, where there are none."""
    return network.select_accuracy if network.test_accuracy is None else network.test_accuracy
