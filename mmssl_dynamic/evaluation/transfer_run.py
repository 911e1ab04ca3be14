"""Logistic regression on frozen features, network by network and task by task; each score is kept at once.

N images.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

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
from mmssl_dynamic.features.feature_cache import FeatureCache
from mmssl_dynamic.result_cache import Key, ResultCache, kept_line


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


class TransferRun:
    """Evaluates networks on data sets and keeps each result as soon as it is there."""

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
        self.keep_features, self.progress = keep_features, cache.progress

    def __call__(self, tasks: Sequence[Task]) -> list[TransferScore]:
        """Scores of every network on every data set."""
        keys = {(name, task.name): self._key(name, task) for name in self.networks.names for task in tasks}
        found = {
            pair: kept for pair, key in keys.items() if (kept := self.kept.load(key, _file_name(*pair))) is not None
        }
        if found:
            what = f"{len(found)} of {len(keys)} scores are"
            self._say(kept_line(what, found.values(), next(iter(keys.values()))))
        done = {pair: kept.value for pair, kept in found.items()}
        clock, total, fitted = time.monotonic(), len(keys) - len(done), 0
        for task in tasks:
            pending = [name for name in self.networks.names if (name, task.name) not in done]
            for group in self.networks.groups(pending, self.memory_gib):
                networks = [self.networks(name) for name in group]
                rows = {
                    part: self.cache.compute(networks, dataset, f"{task.name} {part}")
                    for part, dataset in task.datasets.items()
                }
                for network in networks:
                    pair = network.name, task.name
                    score = self._fit(network.name, task, {part: rows[part].pop(network.name) for part in rows})
                    self.kept.save(keys[pair], _file_name(*pair), asdict(score))
                    done[pair] = score
                    if not self.keep_features:
                        for part, dataset in task.datasets.items():
                            self.cache.discard(network, dataset, f"{task.name} {part}")
                    fitted += 1
                    left = (time.monotonic() - clock) / fitted * (total - fitted)
                    self._say(
                        f"{task.name} {network.name}: {score.score:.2f} %"
                        + (f", about {duration(left)} left" if left else "")
                    )
        return [done[pair] for pair in keys]

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

    def _fit(self, name: str, task: Task, rows: dict[str, Any]) -> TransferScore:
        began = time.monotonic()
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
