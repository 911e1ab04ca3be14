"""What all routers share: sub-networks evaluated by kNN on frozen features, and the result made of it (SDR Sec. 4.3).

The choice is made on the training images alone: every one is classified by its nearest neighbours among the others.
(With a validation split, that is classified instead.) The test images are classified with the training images as bank,
reported in a column of their own, and never take part in the choice.
"""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain
from math import prod
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from tqdm import tqdm

from mmssl_dynamic.calibration.bn_bank import KINDS, BNBank
from mmssl_dynamic.cpu import free_memory_gib
from mmssl_dynamic.datasets.batches import share_of
from mmssl_dynamic.downstream.splits import Splits, count_images
from mmssl_dynamic.errors import ConfigError, DataError
from mmssl_dynamic.evaluation.complexity import complexity
from mmssl_dynamic.evaluation.knn import KNNProtocol
from mmssl_dynamic.fingerprints import architecture_fingerprint, precision
from mmssl_dynamic.models.backbones import SDRResNet
from mmssl_dynamic.processes import Processes
from mmssl_dynamic.result_cache import NOT_USED
from mmssl_dynamic.routing.judging import Accuracies, Judge, Judged
from mmssl_dynamic.routing.prefix_tree import PathFeatures, stage_runs
from mmssl_dynamic.routing.result import DroppedSubnet, RoutingResult, SubnetScore, rank
from mmssl_dynamic.routing.scores import KNN, build_score
from mmssl_dynamic.subnets import FULL, split_width

SELECT_ON_TRAIN = "leave-one-out on train"
SELECT_ON_VAL = "val, with train as bank"


@dataclass
class Effort:
    """What a routing has cost so far.

    Attributes:
        image_stages: Images times the stages that each ran through.
        start: When it began.
    """

    image_stages: int = 0
    start: float = field(default_factory=time.monotonic)

    def record(self, images: int, one_by_one: int) -> dict[str, float]:
        """For the result: ``stage_runs`` per image of the task, beside those of evaluating everything one by one."""
        per_image = self.image_stages / images
        return {
            "images": images,
            "image_stages": self.image_stages,
            "stage_runs": int(per_image) if per_image == int(per_image) else round(per_image, 2),
            "stage_runs_one_by_one": one_by_one,
            "seconds": round(time.monotonic() - self.start, 2),
        }


class Router:
    """Base of the routers.

    Args:
        net: The super-network. The statistics of the bank are set in it, and stay.
        bank: BatchNorm statistics of its sub-networks.
        bn: ``'path'`` evaluates every sub-network with the statistics of its own D_i (the paper), one by one;
            ``'prefix'`` with those of its prefixes, computing common stages once.
        protocol: How to classify. ``k`` is cut, with a warning, to the number of possible neighbours; the memory is
            governed by ``memory_gib`` below.
        memory_gib: Bound on what is held at a time: half of it for stage outputs (on the device of ``net``), half for
            features (in main memory), of each process. The less there is, the more often images are gone through.
            Defaults to a quarter of the free main memory; stage outputs also take at most half of a GPU's free memory.
        share: Whether to compute common stages once; by default whenever it is exact, with ``bn='prefix'``.
        score: By what sub-networks are ranked: ``'knn'``, the accuracy of ``protocol``, or another of
            :data:`~mmssl_dynamic.registry.SCORES`, by its name or as a config. It judges the training images (and those
            of a validation split); kNN accuracies are reported beside it.
        progress: Show a bar with the time left.
        processes: Those that share the work out: batches of images while features are computed, sub-networks while
            they are compared. Every one gets the whole ranking.

    Raises:
        ConfigError: an impossible option.
        ArtifactError: the bank belongs to another checkpoint.
    """

    method: str
    """How sub-networks are found, for the result."""

    def __init__(
        self,
        net: SDRResNet,
        bank: BNBank,
        bn: str = "path",
        protocol: KNNProtocol | None = None,
        memory_gib: float | None = None,
        share: bool | None = None,
        score: str | Mapping[str, Any] = KNN,
        progress: bool = True,
        processes: Processes | None = None,
    ) -> None:
        if bn not in KINDS:
            raise ConfigError(f"unknown kind of BatchNorm statistics '{bn}'; choose one of {', '.join(KINDS)}.")
        if share and bn != "prefix":
            raise ConfigError("stages can only be shared with bn='prefix': with bn='path' their statistics differ.")
        if memory_gib is not None and not memory_gib > 0:
            raise ConfigError(f"memory_gib={memory_gib} must be positive.")
        bank.check(net)
        self.net, self.bank, self.bn = net, bank, bn
        self.protocol = protocol or KNNProtocol()
        self.processes = processes or Processes()
        # All make the same groups of sub-networks, so the first one's memory counts.
        self.memory_gib = self.processes.told(free_memory_gib() / 4 if memory_gib is None else memory_gib)
        self.share = bn == "prefix" if share is None else share
        self.score_config, self.score = score, None if score == KNN else build_score(score)
        self.progress = progress
        self._full_correct: NDArray[np.bool_] | None = None
        self.device = next(net.parameters()).device
        self._image_size: tuple[int, ...] = (0, 0)

    def route(self, splits: Splits, names: Sequence[str] | None = None, task: str = "task") -> RoutingResult:
        """Evaluate and rank sub-networks.

        Args:
            splits: The task's images with labels.
            names: Sub-networks to choose from; all but the full one by default, which is always evaluated beside them.
            task: Name of the task, for the result.

        Returns:
            The ranking; equally good sub-networks keep the order of their clusters.

        Raises:
            SubnetError: unknown names.
            MissingStatisticsError: the bank lacks statistics.
            DataError: an empty split, images without labels, fewer than two classes.
        """
        raise NotImplementedError

    def inputs(self, names: Sequence[str] | None = None) -> dict[str, Any]:
        """What a ranking depends on beside the images, by the names of a :class:`~mmssl_dynamic.result_cache.Key`.

        Args:
            names: Sub-networks to choose from; all by default.
        """
        chosen = self.ordered(names)
        return {
            "sub-networks": "all" if chosen == self.ordered(None) else chosen,
            "method": self.settings(),
            "clusters": NOT_USED,
            "weights": self.bank.fingerprint,
            "BN statistics": self.bank.statistics_fingerprint({FULL, *chosen}, self.bn),
            "architecture": architecture_fingerprint(self.net),
            "precision": precision(self.device),
            "protocol": self.protocol.record(),
        }

    def settings(self) -> dict[str, Any]:
        """How sub-networks are found: everything that can change a ranking."""
        score = self.score_config if self.score is None else [self.score_config, self.score]
        return {"name": self.method, "bn": self.bn, "score": score}

    def ordered(self, names: Sequence[str] | None) -> list[str]:
        """The names to choose from in the order of their clusters.

        Raises:
            ConfigError: there is none.
            SubnetError: unknown names.
        """
        if names is None:
            return list(self.net.space.candidates or (FULL,))
        if not names:
            raise ConfigError("there is no sub-network to route among; name at least one.")
        wanted = {self.net.space.check(name) for name in names}
        return [name for name in self.net.subnets if name in wanted]

    def measure(self, splits: Splits, names: Sequence[str], what: str, effort: Effort) -> Accuracies:
        """KNN accuracies of sub-networks.

        Args:
            splits: The images.
            names: Sub-networks.
            what: For the progress bar.
            effort: Is added to.

        Raises:
            MissingStatisticsError: the bank lacks statistics.
            DataError: an empty split, images without labels, fewer than two classes.
        """
        self.bank.apply(self.net, names, self.bn)
        self._full_correct = None
        parts = splits.parts()
        counts = _counts(splits)
        groups = self._groups(names, sum(counts.values()))
        accuracies: Accuracies = {}
        own = {part: share_of(batches, self.processes) for part, batches in parts.items()}
        runs = sum(stage_runs(self.net, group, self.share) for group in groups)
        with tqdm(
            total=runs * sum(map(count_images, own.values())),
            desc=what,
            bar_format="{desc}: {percentage:3.0f}%|{bar}| {elapsed} < {remaining}{postfix}",
            disable=not self.progress,
            smoothing=0.05,
        ) as bar:
            for group in groups:
                bar.set_postfix_str(f"{group[0]} to {group[-1]}", refresh=False)
                accuracies.update(self._evaluate(group, own, bar.update))
        effort.image_stages += runs * sum(counts.values())
        return accuracies

    def check_k(self, splits: Splits) -> int:
        """The k that can be used, with a warning where it is less than the protocol's."""
        num_train = _counts(splits)["train"]
        possible = num_train - (splits.val is None)  # neighbours of an image of the selection
        if self.protocol.k > possible >= 1:
            warnings.warn(
                f"k={self.protocol.k} is cut to the number of possible neighbours, {possible} of {num_train} training "
                "images.",
                stacklevel=3,
            )
        return min(self.protocol.k, possible)

    def result(
        self,
        task: str,
        splits: Splits,
        accuracies: Accuracies,
        candidates: Sequence[str],
        effort: Effort,
        dropped: Sequence[DroppedSubnet] = (),
        **details: Any,
    ) -> RoutingResult:
        """The ranking out of accuracies on all images.

        Args:
            task: Its name.
            splits: All images.
            accuracies: Of the full network and the sub-networks to rank.
            candidates: All sub-networks to choose from.
            effort: Of everything.
            dropped: Candidates that were not evaluated on all images.
            details: What a repetition needs to know of the method.
        """
        scores = self._scores(accuracies)
        record = {
            "method": self.method,
            **details,
            **self.protocol.record(),
            "k_used": self.check_k(splits),
            "bn": self.bn,
            "score": self.score_config,
            "selection": self._selection(splits),
            "test": "bank: train; reported only, never selected on",
            "gain_over_full": "select accuracy" if splits.test is None else "test accuracy",
            "image_size": list(self._image_size),
            "macs": "multiply-accumulates",
        }
        everything = stage_runs(self.net, dict.fromkeys((FULL, *candidates)), share=False)
        cost = effort.record(sum(_counts(splits).values()), everything)
        ranked = rank(scores[name] for name in candidates if name in scores)
        return RoutingResult(task, record, self.bank.fingerprint, ranked, scores[FULL], cost, list(dropped))

    def _selection(self, splits: Splits) -> str:
        """What the choice is made by, in words."""
        if self.score is None:
            return SELECT_ON_TRAIN if splits.val is None else SELECT_ON_VAL
        name = self.score_config if isinstance(self.score_config, str) else self.score_config["type"]
        return f"{name} on train" if splits.val is None else f"{name} on train and val"

    def _groups(self, names: Sequence[str], num_images: int) -> list[list[str]]:
        """Sub-networks whose features of all images fit into memory together; whole sub-trees where possible."""
        paths = [name for name in names if name != FULL]
        groups = [[FULL]] if FULL in names else []
        if not paths:
            return groups
        widest = max(map(self._feature_dim, (paths[0], paths[-1])))  # narrow ones come before wide ones
        # Of the images, every process has its share, and of one sub-network at a time all.
        held = self.memory_gib / 2 * 2**30 * self.processes.count
        fitting = max(1, int(held / (4 * num_images * widest)))
        if fitting < len(paths):
            below = [prod(self.net.space.stage_groups[stage:]) for stage in range(1, self.net.num_stages + 1)]
            subtree = max(size for size in below if size <= fitting)
            fitting -= fitting % subtree
        cut = [paths[i : i + fitting] for i in range(0, len(paths), fitting)]
        if len(cut) == 1 and groups:  # the usual case: one pass over the images for everything
            return [[FULL, *paths]]
        return groups + cut

    def _feature_dim(self, name: str) -> int:
        with self.net.subnet(name):
            return self.net.feature_channels.size

    def _evaluate(
        self, names: Sequence[str], own: dict[str, Iterable[Any]], on_stage: Callable[[int], Any]
    ) -> Accuracies:
        """Accuracies of sub-networks, from this process's batches and those of the others."""
        features, labels = self._features(names, own, on_stage)
        judge, judged = Judge(self.protocol, self.score, self.device), dict[str, Judged]()
        size = self.processes.count
        for turn in (names[start : start + size] for start in range(0, len(names), size)):
            for owner, name in enumerate(turn):
                parts = self.processes.gathered({part: rows.pop(name) for part, rows in features.items()}, to=owner)
                if parts:
                    whole = {part: _joined([rows[part] for rows in parts]) for part in own}
            if self.processes.rank < len(turn):
                name = turn[self.processes.rank]
                # No stage outputs are held now: their memory is free for comparing features.
                judged[name] = judge(name, whole, labels, self._stage_memory())
        found = {name: entry for part in self.processes.gathered(judged) for name, entry in part.items()}
        if FULL in found:  # with the first of all sub-networks
            self._full_correct = found[FULL].correct
        return {name: found[name].beside(self._full_correct) for name in names}

    def _features(
        self, names: Sequence[str], own: dict[str, Iterable[Any]], on_stage: Callable[[int], Any]
    ) -> tuple[dict[str, dict[str, NDArray[Any]]], dict[str, Tensor]]:
        """By part of the task, this process's features by name, and the labels of all images."""
        compute = PathFeatures(self.net, names, self.share, self._stage_memory(), on_stage)
        counts = {part: count_images(batches) for part, batches in own.items()}
        rows: dict[str, Tensor] = {name: torch.empty(0, self._feature_dim(name)) for name in names}
        labels: Tensor | None = torch.empty(0, dtype=torch.int64)
        if sum(counts.values()):  # of few images, there may be none for this process
            # All parts in one pass: the weights of a sub-network are gathered once for all of them.
            rows, labels = compute(chain.from_iterable(own.values()))
        told = self.processes.gathered((labels is None, compute.image_size, counts))
        if any(unlabelled for unlabelled, _, _ in told):
            raise DataError(f"routing needs labels, and some images of {' or '.join(own)} have none.")
        self._image_size = next(size for _, size, counts in told if sum(counts.values()))
        assert labels is not None
        cut = list(counts.values())
        split = {name: [part.numpy() for part in rows.pop(name).split(cut)] for name in list(rows)}
        features = {part: {name: split[name][index] for name in names} for index, part in enumerate(own)}
        parts = self.processes.gathered([part.numpy() for part in labels.split(cut)])
        return features, {part: _joined([known[index] for known in parts]) for index, part in enumerate(own)}

    def _stage_memory(self) -> float:
        half = self.memory_gib / 2
        if self.device.type == "cuda":
            half = min(half, torch.cuda.mem_get_info(self.device)[0] / 2 / 2**30)
        return half

    def _scores(self, accuracies: Accuracies) -> dict[str, SubnetScore]:
        macs: dict[str, int] = {}  # all paths of a width have the same shapes
        scores: dict[str, SubnetScore] = {}
        baseline = accuracies[FULL].reported
        for name, measured in accuracies.items():
            shape = FULL if name == FULL else split_width(name)[1]
            if shape not in macs:
                macs[shape] = complexity(self.net, name, self._image_size).macs
            scores[name] = SubnetScore(
                name,
                measured.select,
                measured.test,
                measured.reported - baseline,
                self.net.num_parameters(name),
                macs[shape],
                measured.score,
                measured.better,
                measured.worse,
            )
        return scores


def _joined(parts: Sequence[NDArray[Any]]) -> Tensor:
    """Rows of all processes in order."""
    return torch.from_numpy(parts[0] if len(parts) == 1 else np.concatenate(parts))


def _counts(splits: Splits) -> dict[str, int]:
    """Images of every part; a part without any is refused."""
    counts = {part: count_images(batches) for part, batches in splits.parts().items()}
    for part, count in counts.items():
        if count == 0:
            raise DataError(f"routing needs {part} images, and there are none; check the {part} split.")
    return counts
