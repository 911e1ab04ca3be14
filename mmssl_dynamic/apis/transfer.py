"""Many-shot transfer of every network of a checkpoint: what ``tools/transfer.py`` does."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import scipy
import sklearn
from tqdm import tqdm

from mmssl_dynamic.apis.evaluate import duration, statistics_text, versions
from mmssl_dynamic.calibration.statistics import apply_bank
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
    data = [_Prepared.of(entry, protocol) for entry in read_all(datasets or list(TRANSFER_SETS), data_root)]
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
    run = _Transfer(networks, cache, kept, protocol, memory_gib, keep_features, progress)
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
            "train": splits.train.record.record(),
            "test": splits.test.record.record(),
        }
        return cls(data, val, record)


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
        memory_gib: float,
        keep_features: bool,
        progress: bool,
    ) -> None:
        self.networks, self.cache, self.kept = networks, cache, kept
        self.protocol, self.memory_gib = protocol, memory_gib
        self.keep_features, self.progress = keep_features, progress

    def __call__(self, data: Sequence[_Prepared], pipeline: Sequence[dict]) -> list[TransferScore]:
        """Scores of every network on every data set."""
        images = {
            entry.data.name: {
                "train": ListedImages(entry.data.splits.train, pipeline),
                "test": ListedImages(entry.data.splits.test, pipeline),
            }
            for entry in data
        }
        keys = {
            (name, entry.data.name): self._key(name, entry, images[entry.data.name])
            for name in self.networks.names
            for entry in data
        }
        found = {
            pair: kept for pair, key in keys.items() if (kept := self.kept.load(key, _file_name(*pair))) is not None
        }
        if found:
            what = f"{len(found)} of {len(keys)} scores are"
            self._say(kept_line(what, found.values(), next(iter(keys.values()))))
        done = {pair: kept.value for pair, kept in found.items()}
        clock, total, fitted = time.monotonic(), len(keys) - len(done), 0
        for entry in data:
            pending = [name for name in self.networks.names if (name, entry.data.name) not in done]
            parts = images[entry.data.name]
            for group in self.networks.groups(pending, self.memory_gib):
                networks = [self.networks(name) for name in group]
                rows = {
                    part: self.cache.compute(networks, listed, f"{entry.data.name} {part}")
                    for part, listed in parts.items()
                }
                for network in networks:
                    pair = network.name, entry.data.name
                    score = self._fit(network.name, entry, {part: rows[part].pop(network.name) for part in rows})
                    self.kept.save(keys[pair], _file_name(*pair), asdict(score))
                    done[pair] = score
                    if not self.keep_features:
                        for part, listed in parts.items():
                            self.cache.discard(network, listed, f"{entry.data.name} {part}")
                    fitted += 1
                    left = (time.monotonic() - clock) / fitted * (total - fitted)
                    self._say(
                        f"{entry.data.name} {network.name}: {score.score:.2f} %"
                        + (f", about {duration(left)} left" if left else "")
                    )
        return [done[pair] for pair in keys]

    def _key(self, name: str, entry: _Prepared, parts: Mapping[str, ListedImages]) -> Key:
        """What the score of a network on a data set depends on."""
        images = {part: self.cache.inputs(listed) for part, listed in parts.items()}
        inputs = {what: {part: found[what] for part, found in images.items()} for what in images["train"]}
        inputs["images"] |= {"validation": entry.val, "how": entry.record["validation"], "metric": entry.data.metric}
        return Key(
            "transfer",
            {
                "network": name,
                "data set": entry.data.name,
                "weights": self.cache.weights,
                **self.networks.inputs[name],
                **inputs,
                "protocol": self.protocol.record(),
                # scikit-learn changed what it minimises once, and with it what the same tolerance means.
                "solver": {"scikit-learn": sklearn.__version__, "scipy": scipy.__version__},
            },
        )

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
