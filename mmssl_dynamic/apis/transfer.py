"""Many-shot transfer of every network of a checkpoint: what ``tools/transfer.py`` does."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import scipy
import sklearn
from tqdm import tqdm

from mmssl_dynamic.apis.evaluate import apply_bank, duration, versions
from mmssl_dynamic.downstream.listed_images import ListedImages
from mmssl_dynamic.downstream.transfer_sets import TRANSFER_SETS, TransferData, found_below, read_all
from mmssl_dynamic.errors import ConfigError, DataError
from mmssl_dynamic.evaluation.checkpoint_networks import CheckpointNetworks
from mmssl_dynamic.evaluation.many_shot import ManyShotProtocol, check_labels, many_shot, split_indices
from mmssl_dynamic.evaluation.transfer_result import TransferResult, TransferScore
from mmssl_dynamic.features.feature_cache import FeatureCache
from mmssl_dynamic.features.networks import network_names
from mmssl_dynamic.fileio import weights_fingerprint
from mmssl_dynamic.loading import load_backbone, load_config, normalisation_of, select_device
from mmssl_dynamic.result_cache import ResultCache
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
    progress: bool = True,
) -> TransferResult:
    """Fit logistic regression to frozen features; write ``results.json``, ``scores`` and ``gains`` (.png, .svg).

    A network that is finished on a data set is kept in ``out`` and never evaluated again under the same weights,
    BatchNorm statistics, protocol and images. Features are kept as well, and go on where a run was stopped.

    Args:
        config: Pre-training config, of a super-network or of any backbone.
        checkpoint: Of the run, or the backbone's own weights.
        out: Folder of the results.
        data_root: Folder of the data sets.
        datasets: Their names; the eleven of the protocol by default, ``['found']`` for all that are there.
        subnets: Names of sub-networks; all by default.
        bank: BN bank of the checkpoint, for networks without statistics of their own.
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
        progress: Show bars with the time left.

    Raises:
        UserError: anything that does not fit, before anything is computed.
    """
    if not memory_gib > 0:
        raise ConfigError(f"--memory-gib {memory_gib} must be positive.")
    pipeline = transfer_pipeline(image_size)
    protocol = protocol or ManyShotProtocol()
    if datasets is not None and list(datasets) == ["found"]:
        datasets = found_below(data_root) if Path(data_root).is_dir() else ["found"]
    data = [_Prepared.of(entry, protocol) for entry in read_all(datasets or list(TRANSFER_SETS), data_root)]
    cfg = load_config(config, cfg_options)
    normalisation = normalisation_of(cfg)
    target = select_device(device)
    net = load_backbone(cfg, checkpoint, target)
    names = network_names(net, subnets, Path(config).stem)
    statistics = apply_bank(net, bank, names, bn)
    record = {
        **protocol.record(),
        "image_size": image_size,
        "pipeline": pipeline,
        "normalisation": normalisation.record(),
        "bn_statistics": statistics,
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
    )
    networks = CheckpointNetworks(net, cfg.model.backbone, names, image_size)
    run = _Transfer(networks, cache, Path(out), protocol, record, memory_gib, keep_features, progress)
    scores = run(data, pipeline)
    result = TransferResult(
        record,
        {entry.data.name: entry.record for entry in data},
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


@dataclass(frozen=True, eq=False)
class _Prepared:
    """A data set with its validation images.

    Attributes:
        data: The data set.
        val: Positions among the training images that validate.
        record: For results.
    """

    data: TransferData
    val: np.ndarray
    record: dict[str, Any]

    @classmethod
    def of(cls, data: TransferData, protocol: ManyShotProtocol) -> _Prepared:
        splits, drawn = data.splits, data.splits.val is None
        val = splits.val
        try:
            if val is None:
                val = split_indices(len(splits.train), protocol.val_fraction, protocol.seed)
            check_labels(splits.train.labels, val, splits.test.labels)
        except DataError as error:
            raise DataError(f"data set {data.name}: {error}") from error
        how = f"drawn: {protocol.val_fraction:g} of train, seed {protocol.seed}" if drawn else "predefined"
        record = {
            "metric": data.metric,
            "split": splits.split,
            "validation": {"images": len(val), "from": how},
            "train": splits.train.record(),
            "test": splits.test.record(),
        }
        return cls(data, val, record)


class _Transfer:
    """Evaluates networks on data sets and keeps each result as soon as it is there."""

    def __init__(
        self,
        networks: CheckpointNetworks,
        cache: FeatureCache,
        out: Path,
        protocol: ManyShotProtocol,
        record: dict[str, Any],
        memory_gib: float,
        keep_features: bool,
        progress: bool,
    ) -> None:
        self.networks, self.cache, self.out = networks, cache, out
        self.protocol, self.record, self.memory_gib = protocol, record, memory_gib
        self.keep_features, self.progress = keep_features, progress

    def __call__(self, data: Sequence[_Prepared], pipeline: Sequence[dict]) -> list[TransferScore]:
        """Scores of every network on every data set."""
        keys = self._keys(data)
        kept = ResultCache(self.out / "networks", TransferScore.from_record)
        done = {pair: score for pair, key in keys.items() if (score := kept.load(key)) is not None}
        if done:
            self._say(f"{len(done)} of {len(keys)} results are finished from before.")
        clock, total, fitted = time.monotonic(), len(keys) - len(done), 0
        for entry in data:
            pending = [name for name in self.networks.names if (name, entry.data.name) not in done]
            parts = {
                "train": ListedImages(entry.data.splits.train, pipeline),
                "test": ListedImages(entry.data.splits.test, pipeline),
            }
            for group in self.networks.groups(pending, self.memory_gib):
                networks = [self.networks(name) for name in group]
                rows = {
                    part: self.cache.compute(networks, images, f"{entry.data.name} {part}")
                    for part, images in parts.items()
                }
                for network in networks:
                    pair = network.name, entry.data.name
                    score = self._fit(network.name, entry, {part: rows[part].pop(network.name) for part in rows})
                    kept.save(keys[pair], asdict(score))
                    done[pair] = score
                    if not self.keep_features:
                        for part, images in parts.items():
                            self.cache.discard(network, images, f"{entry.data.name} {part}")
                    fitted += 1
                    left = (time.monotonic() - clock) / fitted * (total - fitted)
                    self._say(
                        f"{entry.data.name} {network.name}: {score.score:.2f} %"
                        + (f", about {duration(left)} left" if left else "")
                    )
        return [done[pair] for pair in keys]

    def _keys(self, data: Sequence[_Prepared]) -> dict[tuple[str, str], dict[str, Any]]:
        """What the result of a network on a data set depends on."""
        return {
            (name, entry.data.name): {
                "network": name,
                "weights_fingerprint": self.cache.weights,
                "statistics_fingerprint": statistics,
                "protocol": self.record,
                "dataset": entry.data.name,
                "data": entry.record,
            }
            for name, statistics in self.networks.statistics.items()
            for entry in data
        }

    def _fit(self, name: str, entry: _Prepared, rows: dict[str, Any]) -> TransferScore:
        began = time.monotonic()
        splits = entry.data.splits
        total = self.protocol.wd_count + 1
        with tqdm(total=total, desc=f"{entry.data.name} {name}: C", disable=not self.progress, leave=False) as bar:
            try:
                found = many_shot(
                    rows["train"],
                    splits.train.labels,
                    entry.val,
                    rows["test"],
                    splits.test.labels,
                    entry.data.metric,
                    self.protocol,
                    self.networks.device,
                    bar.update,
                )
            except DataError as error:
                raise DataError(f"data set {entry.data.name}, network '{name}': {error}") from error
        return TransferScore(
            name,
            entry.data.name,
            entry.data.metric,
            found.metrics[entry.data.metric],
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
