"""Steps that the pipeline and the demos share: their folder, trainings that go on, features and clusters."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from mmengine.config import Config
from torch import nn

from mmssl_dynamic.calibration.bn_bank import BANK_FILE
from mmssl_dynamic.clustering import ClusterReport, cluster_features
from mmssl_dynamic.clusters import Clusters
from mmssl_dynamic.datasets.batches import build_dataset
from mmssl_dynamic.datasets.normalisation import Normalisation
from mmssl_dynamic.datasets.packed_folders import images_fingerprint
from mmssl_dynamic.downstream.folders import labelled_folders
from mmssl_dynamic.engine.launch import TrainingOptions, prepare_config, run_training
from mmssl_dynamic.errors import ConfigError
from mmssl_dynamic.execution import Execution
from mmssl_dynamic.features import Features
from mmssl_dynamic.features.extract import write_features
from mmssl_dynamic.features.feature_store import OtherFeaturesError
from mmssl_dynamic.fileio import read_json
from mmssl_dynamic.fingerprints import content_fingerprint, fingerprint, precision
from mmssl_dynamic.loading import load_backbone, load_config, normalisation_of, select_device
from mmssl_dynamic.locks import LEFT, empty_folders, locked_file
from mmssl_dynamic.outputs import check_output_folder
from mmssl_dynamic.result_cache import NOT_USED, KeptFiles, Key
from mmssl_dynamic.visualization.montage import cluster_montage
from mmssl_dynamic.writing import write_json

# Options that name weights to start from.
_STARTS = ("init_from", "load_from")
# Faster on processors, too: a sixth for the narrow ResNet-18 of the demo, a quarter for a ResNet-50 at 224 px.
_HOW = TrainingOptions(channels_last=True)


def claim(folder: Path, settings: dict[str, Any], what: str = "demo") -> None:
    """Note the settings in the folder, or refuse a folder with others.

    Args:
        folder: Of all results.
        settings: What it must agree on.
        what: What makes them, for the note and for messages.

    Raises:
        ConfigError: the folder holds one with other settings, or other files.
    """
    check_output_folder(folder)
    note = folder / f"{what}.json"
    if note.is_file():
        found = read_json(note, f"{what} settings")
        if found != settings:
            raise ConfigError(
                f"{folder} holds a {what} with other settings ({found}); choose another --out or delete the folder."
            )
    elif folder.is_dir() and any(path.name not in LEFT for path in folder.iterdir()):
        raise ConfigError(f"{folder} holds other files; choose an empty or new folder with --out.")
    else:
        write_json(note, settings)


def check_tasks(tasks: Sequence[str | os.PathLike[str]]) -> None:
    """Refuse tasks that could not be routed, before anything is trained.

    Raises:
        ConfigError: there is none, or two have the same name.
        DataError: images are missing.
    """
    if not tasks:
        raise ConfigError("give the folder of at least one task with --tasks; it has train/CLASS/ and test/CLASS/.")
    names = [Path(task).resolve().name for task in tasks]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise ConfigError(f"two tasks are called '{twice}', and their results would overwrite each other; rename one.")
    for task in tasks:
        labelled_folders(task)


@contextmanager
def a_core_for_the_loader() -> Iterator[None]:
    """Train with one thread less than there are cores.

    Threads that wait for one that the loader has displaced lose more than they gain: on two cores small networks train
    faster with one thread.
    """
    threads = torch.get_num_threads()
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    torch.set_num_threads(max(1, min(threads, cores - 1)))
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def train_to_end(steps: KeptFiles, config: Path, work_dir: Path, seed: int, options: Mapping[str, Any]) -> Path:
    """Train to the end, going on from what is there of the same training; returns the last checkpoint.

    Args:
        steps: Does what has not been done.
        config: Pre-training config.
        work_dir: Where logs and checkpoints go.
        seed: Of everything random.
        options: Overrides of the config.
    """
    epochs = options.get("max_epochs") or load_config(config, dict(options)).train_cfg.max_epochs
    final = work_dir / f"epoch_{epochs}.pth"

    def fit() -> None:
        overrides = {**options, "randomness.seed": seed, "log_level": "WARNING"}
        with a_core_for_the_loader():
            run_training(prepare_config(config, str(work_dir), "auto", cfg_options=overrides, options=_HOW))

    def clear() -> None:
        empty_folders([work_dir])

    files = [final, work_dir / "collapse.json", work_dir / BANK_FILE]
    steps(f"training {work_dir.name}", Key("training", training_inputs(config, seed, options)), files, fit, clear)
    return final


def training_inputs(config: Path, seed: int, options: Mapping[str, Any]) -> dict[str, Any]:
    """What weights depend on; images, clusters and weights by what they hold, wherever their folder lies."""
    clusters = options.get("clusters_file")
    start = next((options[key] for key in _STARTS if key in options), None)
    others = {key: value for key, value in options.items() if key not in ("data_root", "clusters_file", *_STARTS)}
    return {
        "config": {"file": fingerprint(load_config(config).to_dict(), f"config {config}"), "options": others},
        "images": images_fingerprint(options["data_root"]),
        "clusters": NOT_USED if clusters is None else Clusters.load(clusters).fingerprint,
        "start": NOT_USED if start is None else content_fingerprint(start),
        "seed": seed,
        "precision": precision(select_device()),
    }


def cluster_images(
    steps: KeptFiles,
    config: Config,
    checkpoint: Path,
    out: Path,
    num_clusters: int,
    min_size: int,
    seed: int,
    again: bool = False,
) -> Path:
    """Features of a network, clusters of them, and a picture of those.

    Args:
        steps: Does what has not been done.
        config: Of the network, with its images in ``extract_dataloader``.
        checkpoint: Its weights.
        out: File of the clusters; ``features.npy`` and the picture go beside it.
        num_clusters: How many.
        min_size: Images of a cluster at least: a batch of the training.
        seed: Of prototypes and picture.
        again: Throw away what was kept.

    Returns:
        The picture.
    """
    device = select_device()
    network = load_backbone(config, checkpoint, device)
    dataset = build_dataset(config.extract_dataloader.dataset)
    features = _features(network, dataset, normalisation_of(config), out.with_name("features.npy"), again)
    settings: dict[str, Any] = dict(method="sinkhorn", min_size=min_size, seed=seed)
    key = {"features": features.meta["identity"], "settings": {"K": num_clusters, **settings}}
    steps(
        "clustering",
        Key("clusters", {**key, "precision": precision(device)}),
        [out],
        lambda: cluster_features(features, num_clusters, **settings).save(out),
    )
    clusters = Clusters.load(out)
    print(ClusterReport.of(clusters, None, seed).text())
    root = config.extract_dataloader.dataset.data_root
    return cluster_montage(clusters, root, out.with_suffix(".png"), samples=12, seed=seed)


def _features(network: nn.Module, dataset: Any, normalisation: Normalisation, out: Path, again: bool) -> Features:
    """Features of a network; those of another one that lie there are of an earlier run, and are replaced."""
    how = Execution(batch_size=128, workers=1, again=again)
    with locked_file(out):  # as extract-features, which may be writing there
        try:
            return write_features(network, dataset, normalisation, out, execution=how)
        except OtherFeaturesError:
            return write_features(network, dataset, normalisation, out, execution=replace(how, again=True))
