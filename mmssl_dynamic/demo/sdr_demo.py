"""The whole of SDR in minutes: SimSiam, features, clusters, SDR from its weights, routing, export, and a report.

Every step is the one that the command lines in ``tools/`` run, at a size that two cores finish while a person waits.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor, nn

from mmssl_dynamic.apis.route import route
from mmssl_dynamic.calibration import BNBank
from mmssl_dynamic.calibration.calibrate import load_statistics, pooled_statistics
from mmssl_dynamic.calibration.sample import draw_images, sample_batches
from mmssl_dynamic.clustering import recommend
from mmssl_dynamic.clusters import Clusters
from mmssl_dynamic.datasets.batches import build_dataset
from mmssl_dynamic.datasets.image_listing import list_images
from mmssl_dynamic.demo.budget_section import MeasuredCosts
from mmssl_dynamic.demo.sdr_report import Measured, SDRDemoResults, TaskFigures, write_sdr_report
from mmssl_dynamic.demo.steps import check_images, demo_images, demo_settings, random_backbone
from mmssl_dynamic.downstream import Splits
from mmssl_dynamic.downstream.task import Task
from mmssl_dynamic.evaluation import KNNProtocol
from mmssl_dynamic.evaluation.knn import knn_correct, leave_one_out_correct
from mmssl_dynamic.execution import Execution
from mmssl_dynamic.features.networks import Networks
from mmssl_dynamic.features.pooling import pooled_features
from mmssl_dynamic.fileio import read_json
from mmssl_dynamic.loading import (
    find_config,
    last_rate,
    load_backbone,
    load_config,
    load_super_network,
    normalisation_of,
    select_device,
)
from mmssl_dynamic.locks import locks_folder
from mmssl_dynamic.models.backbones import SDRResNet
from mmssl_dynamic.models.drift import path_distance
from mmssl_dynamic.pipeline.clock import Clock
from mmssl_dynamic.pipeline.steps import claim, cluster_images, train_to_end
from mmssl_dynamic.presets import RATE
from mmssl_dynamic.result_cache import KeptFiles
from mmssl_dynamic.routing.method import RoutingMethod
from mmssl_dynamic.subnets import FULL

_BATCH = 64
#: Images at least: as many as 4 paths are good for.
_IMAGES = 1024
#: More have too few steps each in minutes.
_MOST_PATHS = 16
_CALIBRATION = 512
_PROTOCOL = KNNProtocol(k=20)
#: Of what starts from trained weights: not the crops again that those have seen.
_OTHER_CROPS = 1000
#: Widths of SimSiam's stages. A stage with groups is 7/4 as wide, so that a path has SimSiam's width.
_WIDTHS = (32, 64, 128, 256)


@locks_folder()
def run_demo(
    out: str | Path = "work_dirs/demo",
    data: str | Path | None = None,
    epochs: int = 16,
    seed: int = 0,
    max_images: int = 2048,
    again: bool = False,
    tasks: Sequence[str | Path] | None = None,
) -> Path:
    """Pre-train, cluster, train the super-network, route three tasks, export the winners, and write a report.

    SimSiam trains on for as many steps as SDR has, so that the table compares what cost alike: both go on with the
    learning rate that the first half of the schedule left. Run again, the demo goes on where it stopped, and does again
    only what anything has changed of.

    Args:
        out: Folder of everything that is written.
        data: Folder of images to pre-train on instead of the photographs inside scikit-image. If it has ``train/`` and
            ``test/`` folders of classes, it is routed to as a task of its own, too.
        epochs: Of SimSiam, and of what starts from its weights: SDR, and SimSiam itself.
        seed: Of everything random.
        max_images: Images to pre-train on at most.
        again: Do every step anew.
        tasks: Labelled folders, in place of the photographs' tasks and of ``data``.

    Returns:
        The report, ``out/report.html``.

    Raises:
        UserError: the images cannot be used, or ``out`` holds a demo with other settings.
    """
    folder = Path(out)
    target = select_device()
    settings = demo_settings(data, epochs, seed, max_images)
    check_images(data, max_images, _IMAGES, tasks)
    claim(folder, settings)
    clock, steps = Clock(8), KeptFiles(folder / "kept", again)

    with clock.step("images"):
        images, found = demo_images(steps, folder, data, seed, max_images, _IMAGES, tasks)
    options: dict[str, Any] = dict(data_root=str(images), max_epochs=epochs)

    with clock.step("SimSiam on all images"):
        simsiam_config = find_config("demo/simsiam_demo.py")
        # One schedule for SimSiam and what goes on from it, as in the pipeline.
        halfway = {**options, "schedule_epochs": 2 * epochs}
        checkpoint = train_to_end(steps, simsiam_config, folder / "simsiam", seed, halfway)
        last = last_rate(checkpoint)
        assert last is not None  # of a run
        rate = {RATE: last.rate}

    with clock.step("features and clusters"):
        config = load_config(simsiam_config, halfway)
        recommendation = recommend(len(list_images(images)))
        assert recommendation.num_paths is not None  # of as many images as there are at least
        paths = min(recommendation.num_paths, _MOST_PATHS)
        print(f"{recommendation.reason()}.")
        clusters_file = folder / "clusters.npz"
        montage = cluster_images(steps, config, checkpoint, clusters_file, paths, _BATCH, seed, again)
        clusters = Clusters.load(clusters_file)

    with clock.step(f"SDR: {paths} sub-networks and the full network, from SimSiam's weights"):
        sdr_config = find_config("demo/sdr_demo.py")
        started = {**_with_paths(paths), "clusters_file": str(clusters_file), "init_from": str(checkpoint)}
        sdr_options = {**options, **started, **rate}
        sdr_checkpoint = train_to_end(steps, sdr_config, folder / "sdr", seed + _OTHER_CROPS, sdr_options)
        bank = folder / "sdr" / "bn_bank.safetensors"

    with clock.step("SimSiam trained on for as many steps, to compare with"):
        more = {**options, "load_from": str(checkpoint), **rate}
        longer = train_to_end(steps, simsiam_config, folder / "simsiam_longer", seed + _OTHER_CROPS, more)

    results = SDRDemoResults(
        clusters=clusters,
        montage=montage,
        settings=settings,
        collapse=read_json(folder / "sdr/collapse.json", "report"),
        epochs=epochs,
        num_paths=recommendation.reason(),
    )
    with clock.step("routing and export for every task"):
        for name, root in found.items():
            results.tasks[name] = TaskFigures(
                *route(
                    load_config(sdr_config, sdr_options),
                    sdr_checkpoint,
                    [root],
                    folder / "routing" / name,
                    method=RoutingMethod(protocol=_PROTOCOL),
                    networks=Networks(bank=bank),
                    execution=Execution(batch_size=128, workers=0, again=again),
                )[0]
            )

    with clock.step("the same images, one by one, and costs: random weights, SimSiam, SDR"):
        simsiam = load_backbone(config, checkpoint, target)
        dataset, normalisation = build_dataset(config.extract_dataloader.dataset), normalisation_of(config)
        plain = {
            "random weights": random_backbone(config, seed).to(target),
            results.start: simsiam,
            results.baseline: load_backbone(config, longer, target),
        }
        sample = draw_images(np.arange(len(dataset)), _CALIBRATION, seed, FULL)
        calibration = sample_batches(dataset, sample, normalisation, 128, device=target)
        for network in plain.values():
            load_statistics(network, pooled_statistics(network, calibration))  # as the sub-networks get them
        sdr, net = load_super_network(load_config(sdr_config, sdr_options), sdr_checkpoint, str(target))
        assert isinstance(net, SDRResNet)
        BNBank.load(bank).apply(net, net.space.names)
        results.distance = path_distance(net)
        height, width = dataset[0]["inputs"].shape[-2:]
        weights = next(iter(results.tasks.values())).routing.weights_fingerprint
        results.costs = MeasuredCosts.of(net, plain[results.baseline], (height, width), weights)
        for name, root in found.items():
            splits = Task.from_folder(root, sdr.eval_pipeline).splits(normalisation, 128, 0, target)
            figures = results.tasks[name]
            figures.plain = {label: _measured(network, splits) for label, network in plain.items()}
            figures.full, figures.routed = (
                _measured(net, splits, chosen) for chosen in (FULL, figures.routing.best.name)
            )

    with clock.step("report"):
        results.seconds = clock.seconds
        report = write_sdr_report(results, folder / "report.html")
    clock.announce_end(report)
    print(results.conclusion())
    return report


def _with_paths(number: int) -> dict[str, Any]:
    """Overrides that give SDR so many paths, each of SimSiam's widths."""
    split = next(stages for stages in range(len(_WIDTHS) + 1) if 4**stages == number)
    groups = (1,) * (len(_WIDTHS) - split) + (4,) * split
    widths = tuple(width if group == 1 else width * 7 // 4 for width, group in zip(_WIDTHS, groups))
    # Drawn as often as each of 4 paths, W_0 has 60 % of all steps, of 16 paths 42 %. With 768 steps that was too few:
    # in half of the steps once there are paths, it kept SimSiam's accuracy.
    share = "uniform" if number <= 4 else 0.5
    return {"stage_groups": groups, "stage_channels": widths, "full_share": share}


def _measured(network: nn.Module, splits: Splits, name: str | None = None) -> Measured:
    """Which images a network's nearest neighbours classify rightly; of a super-network the sub-network ``name``."""
    bank, labels = _rows(network, splits.train, name)
    queries, truth = _rows(network, splits.test, name)
    return Measured(
        train=leave_one_out_correct(bank, labels, _PROTOCOL).numpy(),
        test=knn_correct(bank, labels, queries, truth, _PROTOCOL).numpy(),
    )


def _rows(network: nn.Module, batches: Any, name: str | None) -> tuple[Tensor, Tensor]:
    """Features and labels."""
    features, labels = pooled_features(network, batches, name)
    assert labels is not None
    return features, labels
