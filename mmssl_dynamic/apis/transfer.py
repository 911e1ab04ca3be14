"""Many-shot transfer of every network of a checkpoint: what ``tools/transfer.py`` does."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import scipy
import sklearn
from tqdm import tqdm

from mmssl_dynamic.apis.evaluate import duration, statistics_text, versions
from mmssl_dynamic.calibration.statistics import apply_bank
from mmssl_dynamic.downstream.task import Task
from mmssl_dynamic.downstream.transfer_sets import TRANSFER_SETS, found_below, read_all
from mmssl_dynamic.errors import ConfigError, DataError
from mmssl_dynamic.evaluation.checkpoint_networks import CheckpointNetworks
from mmssl_dynamic.evaluation.many_shot import ManyShotProtocol, many_shot
from mmssl_dynamic.evaluation.search_labels import SearchLabels
from mmssl_dynamic.evaluation.transfer_result import TransferResult, TransferScore
from mmssl_dynamic.features.feature_cache import FeatureCache
from mmssl_dynamic.features.networks import network_names
from mmssl_dynamic.fileio import weights_fingerprint
from mmssl_dynamic.loading import load_backbone, load_config, normalisation_of, select_device
from mmssl_dynamic.locks import locks_folder
from mmssl_dynamic.outputs import check_output_folder
from mmssl_dynamic.result_cache import Key, ResultCache, kept_line
from mmssl_dynamic.visualization.routing_plots import save_figure
from mmssl_dynamic.visualization.transfer_plots import transfer_gains, transfer_scores

PathLike = str | os.PathLike[str]


def transfer_pipeline(image_size: int) -> list[dict]:
    """The protocol's: short side to ``image_size`` by bicubic interpolation, centre crop."""
    if image_size < 1:
        raise ConfigError(f"--image-size {image_size} must be positive.")
    return [
        dict(type="ResizeEdge", scale=image_size, edge="short", backend="pillow", interpolation="bicubic"),
        dict(type="CenterCrop", crop_size=image_size),
        dict(type="PackInputs"),
    ]


@locks_folder()
@locks_folder("features", "--features")
def transfer(
    config: PathLike,
    checkpoint: PathLike,
    out: PathLike,
    *,
    data_root: PathLike,
    datasets: Sequence[str] | None = None,
    subnets: Sequence[str] | None = None,
    bank: PathLike | None = None,
    bn: str = "path",
    protocol: ManyShotProtocol | None = None,
    image_size: int = 224,
    batch_size: int = 64,
    num_workers: int = 2,
    memory_gib: float = 4.0,
    features: PathLike | None = None,
    keep_features: bool = True,
    device: str | None = None,
    cfg_options: dict[str, Any] | None = None,
    again: bool = False,
    progress: bool = True,
) -> TransferResult:
    """Fit logistic regression to frozen features; write ``results.json``, ``scores`` and ``gains`` (.png, .svg).

    A network that is finished on a data set is kept in ``out`` and not evaluated again as long as nothing has changed
    that its score depends on. Features are kept as well, and go on where a run was stopped.

    Args:
        config: Pre-training config, of a super-network or of any backbone.
        checkpoint: Of the run, or the backbone's own weights.
        out: Folder of the results.
        data_root: Folder of the data sets.
        datasets: Their names; the eleven of the protocol by default, ``['found']`` for all that are there.
        subnets: Names of sub-networks; all by default.
        bank: BN bank of the checkpoint, for networks without statistics of their own; the one beside the checkpoint
            when left out.
        bn: ``'path'`` or ``'prefix'``: which of the bank's statistics.
        protocol: The search; the paper's by default.
        image_size: Side of the images.
        batch_size: Images per batch.
        num_workers: Loader processes.
        memory_gib: For the weights of networks that share one pass over the images.
        features: Folder of the features, ``out/features`` when left out.
        keep_features: Leave a network's features on disk after it is finished on a data set.
        device: Such as ``'cuda:0'``.
        cfg_options: Overrides of ``config``.
        again: Compute features and scores anew that are kept from an earlier run.
        progress: Show bars with the time left.

    Raises:
        UserError: anything that does not fit, before anything is computed.
    """
    check_output_folder(out)
    if features is not None:
        check_output_folder(features, "--features")
    if not memory_gib > 0:
        raise ConfigError(f"--memory-gib {memory_gib} must be positive.")
    pipeline = transfer_pipeline(image_size)
    protocol = protocol or ManyShotProtocol()
    if datasets is not None and list(datasets) == ["found"]:
        datasets = found_below(data_root) if Path(data_root).is_dir() else ["found"]
    steps = [dict(type="mmssl_dynamic.LoadImage"), *pipeline]
    tasks = read_all(datasets or list(TRANSFER_SETS), data_root, steps)
    labels = {task.name: SearchLabels.of(task, protocol) for task in tasks}
    cfg = load_config(config, cfg_options)
    normalisation = normalisation_of(cfg)
    target = select_device(device)
    net = load_backbone(cfg, checkpoint, target)
    names = network_names(net, subnets, Path(config).stem)
    bank, statistics = apply_bank(net, names, checkpoint, bank, bn)
    record = {
        **protocol.record(),
        "image_size": image_size,
        "pipeline": pipeline,
        "normalisation": normalisation.record(),
        "bn_statistics": statistics_text(statistics),
    }
    fingerprint = weights_fingerprint(net.state_dict())
    cache = FeatureCache(
        Path(features) if features is not None else Path(out) / "features",
        fingerprint,
        normalisation,
        batch_size,
        num_workers,
        target,
        progress,
        again=again,
    )
    networks = CheckpointNetworks(net, cfg.model.backbone, names, image_size)
    kept = ResultCache(Path(out) / "networks", TransferScore.from_record, again)
    run = _Transfer(networks, cache, kept, protocol, labels, memory_gib, keep_features, progress)
    scores = run(tasks)
    result = TransferResult(
        record,
        {task.name: labels[task.name].record(task) for task in tasks},
        fingerprint,
        networks.costs,
        networks.full,
        scores,
        {**versions(), "scikit-learn": sklearn.__version__, "scipy": scipy.__version__},
        str(config),
        str(checkpoint),
        None if bank is None else str(bank),
    )
    result.save(Path(out) / "results.json")
    save_figure(transfer_scores(result), Path(out) / "scores")
    if result.full is not None and len(names) > 1:
        save_figure(transfer_gains(result), Path(out) / "gains")
    return result


def _file_name(network: str, dataset: str) -> str:
    return f"{network}-{dataset}"


class _Transfer:
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
        progress: bool,
    ) -> None:
        self.networks, self.cache, self.kept = networks, cache, kept
        self.protocol, self.labels, self.memory_gib = protocol, labels, memory_gib
        self.keep_features, self.progress = keep_features, progress

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
