"""The whole of SDR in minutes: SimSiam, features, clusters, SDR, BN bank, routing, export, and a report.

Every step is the one that the command lines in ``tools/`` run, at a size that two cores finish while a person waits.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from mmssl_dynamic.apis.route import route
from mmssl_dynamic.calibration.calibrate import load_statistics, pooled_statistics
from mmssl_dynamic.calibration.sample import draw_images, sample_batches
from mmssl_dynamic.clustering import ClusterReport, cluster_features
from mmssl_dynamic.clusters import Clusters
from mmssl_dynamic.datasets.batches import build_dataset
from mmssl_dynamic.datasets.normalisation import Normalisation
from mmssl_dynamic.demo.sdr_report import DemoResults, TaskFigures, write_report
from mmssl_dynamic.demo.steps import Clock, claim, demo_images, demo_settings, random_backbone, train_to_end
from mmssl_dynamic.downstream import Splits
from mmssl_dynamic.downstream.task import Task
from mmssl_dynamic.evaluation import KNNProtocol, knn_accuracy, leave_one_out_accuracy
from mmssl_dynamic.features import Features
from mmssl_dynamic.features.extract import extract_features
from mmssl_dynamic.features.feature_store import OtherFeaturesError
from mmssl_dynamic.features.pooling import pooled_features
from mmssl_dynamic.fileio import read_json
from mmssl_dynamic.fingerprints import precision
from mmssl_dynamic.loading import find_config, load_backbone, load_config, normalisation_of, select_device
from mmssl_dynamic.locks import locks_folder
from mmssl_dynamic.result_cache import KeptFiles, Key
from mmssl_dynamic.subnets import FULL
from mmssl_dynamic.visualization.montage import cluster_montage

_PATHS = 16
_BATCH = 64
_CALIBRATION = 512
_PROTOCOL = KNNProtocol(k=20)


@locks_folder()
def run_demo(
    out: str | Path = "work_dirs/demo",
    data: str | Path | None = None,
    epochs: int = 16,
    seed: int = 0,
    max_images: int = 2048,
    again: bool = False,
) -> Path:
    """Pre-train, cluster, train the super-network, route three tasks, export the winners, and write a report.

    Run again, it goes on where it stopped, and does again only what anything has changed of.

    Args:
        out: Folder of everything that is written.
        data: Folder of images to pre-train on instead of the photographs inside scikit-image. If it has ``train/`` and
            ``test/`` folders of classes, it is routed to as a task of its own, too.
        epochs: Of SimSiam; SDR has half as many again.
        seed: Of everything random.
        max_images: Images to pre-train on at most.
        again: Do every step anew.

    Returns:
        The report, ``out/report.html``.

    Raises:
        UserError: the images cannot be used, or ``out`` holds a demo with other settings.
    """
    folder = Path(out)
    target = select_device()
    settings = demo_settings(data, epochs, seed, max_images)
    claim(folder, settings)
    clock, steps = Clock(7), KeptFiles(folder / "kept", again)

    with clock.step("images"):
        images, tasks = demo_images(steps, folder, data, seed, max_images, minimum=_PATHS * _BATCH)
    options: dict[str, Any] = dict(data_root=str(images), max_epochs=epochs)

    with clock.step("SimSiam on all images"):
        simsiam_config = find_config("demo/simsiam_demo.py")
        checkpoint = train_to_end(steps, simsiam_config, folder / "simsiam", seed, options)

    with clock.step("features and clusters"):
        config = load_config(simsiam_config, options)
        simsiam = load_backbone(config, checkpoint, target)
        dataset = build_dataset(config.extract_dataloader.dataset)
        normalisation = normalisation_of(config)
        features = _features(simsiam, dataset, normalisation, folder / "features.npy", target, again)
        clusters_file = folder / "clusters.npz"
        clustering: dict[str, Any] = dict(method="sinkhorn", min_size=_BATCH, seed=seed)
        key = {"features": features.meta["identity"], "settings": {"K": _PATHS, **clustering}}
        steps(
            "clustering",
            Key("clusters", {**key, "precision": precision(target)}),
            [clusters_file],
            lambda _: cluster_features(features, _PATHS, device=target, **clustering).save(clusters_file),
        )
        clusters = Clusters.load(clusters_file)
        print(ClusterReport.of(clusters, None, seed).text())
        montage = cluster_montage(clusters, images, folder / "clusters.png", samples=12, seed=seed)

    with clock.step(f"SDR: {_PATHS} sub-networks and the full network"):
        sdr_config = find_config("demo/sdr_demo.py")
        options["clusters_file"] = str(clusters_file)
        options["max_epochs"] = epochs * 3 // 2  # W_0 has only a part of the steps
        sdr_checkpoint = train_to_end(steps, sdr_config, folder / "sdr", seed, options)

    results = DemoResults(
        clusters=clusters, montage=montage, settings=settings, health=read_json(folder / "sdr/collapse.json", "report")
    )
    with clock.step("routing and export for every task"):
        for name, root in tasks.items():
            results.tasks[name] = TaskFigures(
                *route(
                    sdr_config,
                    sdr_checkpoint,
                    folder / "sdr/bn_bank.safetensors",
                    folder / "routing" / name,
                    data_roots=[root],
                    protocol=_PROTOCOL,
                    batch_size=128,
                    cfg_options=options,
                    again=again,
                )[0]
            )

    with clock.step("baselines: random weights and SimSiam"):
        sdr = load_config(sdr_config, options)
        networks = {"random weights": random_backbone(config, seed).to(target), "SimSiam": simsiam}
        sample = draw_images(np.arange(len(dataset)), _CALIBRATION, seed, FULL)
        calibration = sample_batches(dataset, sample, normalisation, 128, device=target)
        for label, network in networks.items():
            load_statistics(network, pooled_statistics(network, calibration))  # as the sub-networks get them
            for name, root in tasks.items():
                splits = Task.from_folder(root, sdr.eval_pipeline).splits(normalisation, 128, 0, target)
                results.tasks[name].baselines[label] = _accuracies(network, splits)

    with clock.step("report"):
        results.seconds = clock.seconds
        report = write_report(results, folder / "report.html")
    clock.announce_end(report)
    return report


def _features(
    network: nn.Module, dataset: Any, normalisation: Normalisation, out: Path, device: torch.device, again: bool
) -> Features:
    """Features of a network; those of another one that lie there are the demo's own, and are replaced."""
    options: dict[str, Any] = dict(batch_size=128, num_workers=1, device=device)
    try:
        return extract_features(network, dataset, normalisation, out, again=again, **options)
    except OtherFeaturesError:
        return extract_features(network, dataset, normalisation, out, again=True, **options)


def _accuracies(network: nn.Module, splits: Splits) -> tuple[float, float]:
    """KNN accuracy in percent on train (each image left out in turn) and on test."""
    bank, labels = pooled_features(network, splits.train)
    assert splits.test is not None
    queries, truth = pooled_features(network, splits.test)
    assert labels is not None
    assert truth is not None
    return (
        leave_one_out_accuracy(bank, labels, _PROTOCOL),
        knn_accuracy(bank, labels, queries, truth, _PROTOCOL),
    )
