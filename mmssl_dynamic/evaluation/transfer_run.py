"""Logistic regression on frozen features, network by network and task by task; each score is kept at once.

Several processes share out the batches of images that features are made of, and then the searches.

N images.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from math import prod

import numpy as np
import scipy
import sklearn
from tqdm import tqdm

from mmssl_dynamic.downstream.task import Task
from mmssl_dynamic.errors import DataError
from mmssl_dynamic.evaluation.checkpoint_networks import CheckpointNetworks
from mmssl_dynamic.evaluation.many_shot import ManyShotProtocol, many_shot
from mmssl_dynamic.evaluation.network_evaluation import duration
from mmssl_dynamic.evaluation.search_labels import SearchLabels
from mmssl_dynamic.evaluation.transfer_result import TransferScore
from mmssl_dynamic.features.feature_cache import FeatureCache, StoredRows
from mmssl_dynamic.result_cache import Key, ResultCache, kept_line

Pair = tuple[str, str]  # of a network and a data set, by their names


def transfer_pipeline(image_size: int, load: bool = False) -> list[dict]:
    """The protocol's: short side to ``image_size`` by bicubic interpolation, centre crop.

    Args:
        image_size: Side of the crop.
        load: Begin with reading the file.
    """
    return [
        *([dict(type="mmssl_dynamic.LoadImage")] if load else []),
        dict(type="ResizeEdge", scale=image_size, edge="short", backend="pillow", interpolation="bicubic"),
        dict(type="CenterCrop", crop_size=image_size),
        dict(type="PackInputs"),
    ]


def _file_name(network: str, dataset: str) -> str:
    return f"{network}-{dataset}"


@dataclass(frozen=True)
class _Search:
    """A search whose features are there.

    Attributes:
        network: Name of the network.
        task: The data set.
        rows: Features (N, D) of its parts, on disk.
    """

    network: str
    task: Task
    rows: dict[str, StoredRows]

    def cost(self, classes: int) -> int:
        """Multiply-accumulates of a step of L-BFGS, of which a search takes about as many as another."""
        return classes * sum(prod(rows.shape) for part, rows in self.rows.items() if part != "test")


class _TimeLeft:
    """What is left of a number of searches, by how long those took that are finished."""

    def __init__(self, total: int) -> None:
        self._total, self._finished, self._start = total, 0, time.monotonic()

    def after_one_more(self) -> str:
        """Such as ``', about 3 min left'``; nothing after the last one."""
        self._finished += 1
        left = (time.monotonic() - self._start) / self._finished * (self._total - self._finished)
        return f", about {duration(left)} left" if left > 0 else ""


class TransferRun:
    """Evaluates networks on data sets and keeps each result as soon as it is there.

    Args:
        networks: Those to evaluate.
        cache: Of their features; its processes share the searches out, too.
        kept: Of the scores.
        protocol: The search.
        labels: By the task's name.
        memory_gib: For the weights of networks that share one pass over the images.
        keep_features: Leave features on disk once their score is there.
    """

    def __init__(
        self,
        networks: CheckpointNetworks,
        cache: FeatureCache,
        kept: ResultCache[TransferScore],
        protocol: ManyShotProtocol,
        labels: Mapping[str, SearchLabels],
        memory_gib: float,
        keep_features: bool,
    ) -> None:
        self.networks, self.cache, self.kept = networks, cache, kept
        self.protocol, self.labels, self.memory_gib = protocol, labels, memory_gib
        self.keep_features, self.progress, self.processes = keep_features, cache.progress, cache.processes

    def __call__(self, tasks: Sequence[Task]) -> list[TransferScore]:
        """Scores of every network on every data set."""
        keys = {(name, task.name): self._key(name, task) for name in self.networks.names for task in tasks}
        done = self._finished(keys)
        left = _TimeLeft(-(-(len(keys) - len(done)) // self.processes.count))
        ready: list[_Search] = []
        for task in tasks:
            pending = [name for name in self.networks.names if (name, task.name) not in done]
            for group in self.networks.groups(pending, self.memory_gib):
                networks = [self.networks(name) for name in group]
                rows = {
                    part: self.cache.compute(networks, dataset, f"{task.name} {part}")
                    for part, dataset in task.datasets.items()
                }
                ready += [_Search(name, task, {part: rows[part].pop(name) for part in rows}) for name in group]
                if self._are_enough(ready):
                    done |= self._search(ready, keys, left)
                    ready = []
        done |= self._search(ready, keys, left)
        return [done[pair] for pair in keys]

    def _finished(self, keys: Mapping[Pair, Key]) -> dict[Pair, TransferScore]:
        """Scores that are kept; the first process finds them."""
        loaded = {pair: self.kept.load(key, _file_name(*pair)) for pair, key in keys.items() if self.processes.first}
        found = self.processes.told({pair: kept for pair, kept in loaded.items() if kept is not None})
        if found:
            what = f"{len(found)} of {len(keys)} scores are"
            self._say(kept_line(what, found.values(), next(iter(keys.values()))))
        return {pair: kept.value for pair, kept in found.items()}

    def _are_enough(self, ready: Sequence[_Search]) -> bool:
        """Whether to search now, or to wait for more features, so that searches can be divided more evenly."""
        if self.processes.count == 1:
            return True
        return not self.keep_features and len(ready) >= self.processes.count  # or the disk would hold them all

    def _search(self, ready: Sequence[_Search], keys: Mapping[Pair, Key], left: _TimeLeft) -> dict[Pair, TransferScore]:
        """The searches, each by one of the processes, which keeps its score and nobody else's."""
        found: dict[Pair, TransferScore] = {}
        costs = [search.cost(self.labels[search.task.name].classes) for search in ready]
        for search in (ready[position] for position in self.processes.own(costs)):
            pair = search.network, search.task.name
            score = self._fit(search)
            self.kept.save(keys[pair], _file_name(*pair), asdict(score))
            found[pair] = score
            if not self.keep_features:
                network = self.networks(search.network)
                for part, dataset in search.task.datasets.items():
                    self.cache.discard(network, dataset, f"{search.task.name} {part}")
            self._say(f"{search.task.name} {search.network}: {score.score:.2f} %{left.after_one_more()}")
        return {pair: score for part in self.processes.gathered(found) for pair, score in part.items()}

    def _key(self, name: str, task: Task) -> Key:
        """What the score of a network on a data set depends on."""
        images = {part: self.cache.inputs(dataset) for part, dataset in task.datasets.items()}
        inputs = {what: {part: found[what] for part, found in images.items()} for what in images["train"]}
        labels = self.labels[task.name]
        validation = {"validation": labels.val, "how": [len(labels.val), labels.how]}
        inputs["images"] |= {**validation, "metric": task.metric}
        return Key(
            "transfer",
            {
                "network": name,
                "data set": task.name,
                "weights": self.cache.weights,
                **self.networks.inputs[name],
                **inputs,
                "protocol": self.protocol.record(),
                # scikit-learn changed what it minimises once, and with it what the same tolerance means.
                "solver": {"scikit-learn": sklearn.__version__, "scipy": scipy.__version__},
            },
        )

    def _fit(self, search: _Search) -> TransferScore:
        began, name, task = time.monotonic(), search.network, search.task
        rows = {part: stored.load() for part, stored in search.rows.items()}
        labels = self.labels[task.name]
        train = np.concatenate([rows["train"], rows["val"]]) if "val" in rows else rows["train"]
        total = self.protocol.wd_count + 1
        with tqdm(total=total, desc=f"{task.name} {name}: C", disable=not self.progress, leave=False) as bar:
            try:
                found = many_shot(
                    train,
                    labels.train,
                    labels.val,
                    rows["test"],
                    labels.test,
                    task.metric,
                    self.protocol,
                    self.networks.device,
                    bar.update,
                )
            except DataError as error:
                raise DataError(f"data set {task.name}, network '{name}': {error}") from error
        return TransferScore(
            name,
            task.name,
            task.metric,
            found.metrics[task.metric],
            found.val_score,
            found.weight_decay,
            found.metrics,
            found.fits,
            found.iterations,
            round(time.monotonic() - began, 2),
        )

    def _say(self, text: str) -> None:
        if self.progress:
            print(text, flush=True)
