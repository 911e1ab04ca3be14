"""Routing from files to files: what ``tools/route.py`` does."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from mmengine.config import Config
from torch import nn

from mmssl_dynamic.calibration import BNBank
from mmssl_dynamic.calibration.statistics import find_bank
from mmssl_dynamic.clusters import Clusters
from mmssl_dynamic.datasets.normalisation import Normalisation
from mmssl_dynamic.downstream.task import Task
from mmssl_dynamic.errors import ConfigError, UserError
from mmssl_dynamic.evaluation import KNNProtocol
from mmssl_dynamic.export import ExportReport, InputImages, export_subnet
from mmssl_dynamic.export.formats import default_file_name, find_format
from mmssl_dynamic.export.static_export import provenance
from mmssl_dynamic.fileio import read_json
from mmssl_dynamic.loading import load_super_network, need
from mmssl_dynamic.locks import locks_folder
from mmssl_dynamic.models.backbones import SDRResNet
from mmssl_dynamic.outputs import check_output_folder
from mmssl_dynamic.routing import RoutingResult
from mmssl_dynamic.routing.baselines import RANDOM, BaselineTask, random_path
from mmssl_dynamic.routing.kept_ranking import KeptRanking
from mmssl_dynamic.routing.method import RoutingMethod
from mmssl_dynamic.visualization.routing_plots import gains_histogram, save_figure
from mmssl_dynamic.visualization.routing_report import ClusterPictures, RoutedTask, write_routing_report

PathLike = str | os.PathLike[str]


@locks_folder()
def route(
    config: PathLike,
    checkpoint: PathLike,
    bank: PathLike | None,
    out: PathLike,
    *,
    data_roots: Sequence[PathLike] = (),
    dataset_configs: Sequence[PathLike] = (),
    method: RoutingMethod | None = None,
    protocol: KNNProtocol | None = None,
    references: Sequence[RoutingResult] = (),
    batch_size: int = 64,
    num_workers: int = 0,
    memory_gib: float | None = None,
    format: str = "mmpretrain",
    device: str | None = None,
    cfg_options: dict[str, Any] | None = None,
    again: bool = False,
    progress: bool = True,
    command: str | None = None,
) -> list[tuple[RoutingResult, ExportReport]]:
    """Find and export the best sub-network for each of some tasks, and write a report.

    Run again, a task is not routed again as long as nothing has changed that its ranking depends on; rankings of other
    settings are kept beside it in ``kept/``.

    Args:
        config: Pre-training config.
        checkpoint: Of the run.
        bank: Its BN bank; the one beside the checkpoint if ``None``.
        out: Folder for ``report.html`` and its figures, ``routing.json``, ``gains_histogram.png`` and ``.svg``, and the
            exported winner; of several tasks, the last ones go into a folder for each.
        data_roots: Image folders with ``train/`` and ``test/``, one for each task.
        dataset_configs: Configs with the data sets ``train`` and ``test``, one for each further task.
        method: How sub-networks are found.
        protocol: How to classify.
        references: Rankings of all sub-networks on the same tasks, for the regret of a faster
            method.
        batch_size: Images per batch.
        num_workers: Loader processes.
        memory_gib: Bound on features and stage outputs held at a time.
        format: Of the exported winners.
        device: Such as ``'cuda:0'``.
        cfg_options: Overrides of the config.
        again: Route anew what was kept from an earlier run.
        progress: Show a bar with the time left, and say what was kept.
        command: The command line, for the report.

    Returns:
        Ranking and export of every task.

    Raises:
        UserError: anything that does not fit.
    """
    if not data_roots and not dataset_configs:
        raise ConfigError("routing needs the images of a task: give --data-root or --dataset-config.")
    find_format(format)  # before hours of routing
    check_output_folder(out)
    method, protocol = method or RoutingMethod(), protocol or KNNProtocol()
    cfg, net = load_super_network(config, checkpoint, device, cfg_options)
    need(cfg, "eval_pipeline")
    images = InputImages.of(cfg)
    normalisation = images.normalisation
    if not isinstance(net, SDRResNet):
        raise ConfigError(
            "routing chooses among the paths of SDR; compare the sizes of a slimmable network with tools/evaluate.py."
        )
    tasks = _tasks(data_roots, dataset_configs, cfg)
    bank = find_bank(net, checkpoint, bank, method.subnets or net.space.paths, method.bn)
    if bank is None:
        raise ConfigError("routing compares sub-networks by the statistics of one BN bank; give --bank.")
    router = method.router(
        net, BNBank.load(bank), normalisation, protocol=protocol, memory_gib=memory_gib, progress=progress
    )
    others = _baselines(method, net, normalisation)
    sources: dict[str, Any] = dict(config=str(config), checkpoint=str(checkpoint), bank=str(bank))
    found: list[tuple[RoutingResult, ExportReport]] = []
    routed = []
    for task in tasks:
        folder = Path(out) / task.name if len(tasks) > 1 else Path(out)
        ranking = KeptRanking(task, normalisation, batch_size, num_workers, again, progress)
        result = replace(ranking(router, method.subnets, folder / "kept"), **sources)
        result.save(folder / "routing.json")
        save_figure(gains_histogram(result), folder / "gains_histogram")
        router.bank.apply(net, [result.best.name], method.bn)
        report = export_subnet(
            net,
            result.best.name,
            folder / default_file_name(result.best.name, format),
            format,
            images=images,
            bn=method.bn,
            provenance=provenance(config, checkpoint, bank, task.name, cfg_options, result.fingerprints),
        )
        found.append((result, report))
        reference = next((entry for entry in references if entry.task == task.name), None)
        measure = BaselineTask(task, normalisation, protocol, folder / "kept", batch_size, num_workers, again)
        baselines = [measure(name, network) for name, network in others.items()]
        counts = {part: len(dataset) for part, dataset in task.datasets.items()}
        routed.append(RoutedTask(result, str(report), reference, report.snippet, baselines, counts))
    pictures = _pictures(method, net, cfg)
    write_routing_report(routed, Path(out) / "report.html", pictures, command, _steps(checkpoint))
    return found


def _baselines(method: RoutingMethod, net: SDRResNet, normalisation: Normalisation) -> dict[str, nn.Module]:
    """Networks that stand beside the sub-networks: the base network, where one was given, and random weights."""
    found = {RANDOM: random_path(net)}
    if method.base_config is None or method.base_checkpoint is None:
        return found
    base = method.base(normalisation, next(net.parameters()).device)
    return {Path(method.base_config).stem: base, **found}


def _steps(checkpoint: PathLike) -> dict[str, int]:
    """Training steps of every network, from ``collapse.json`` beside the checkpoint; empty if it is not there."""
    file = Path(checkpoint).parent / "collapse.json"
    try:
        steps = read_json(file, "collapse report").get("steps", {}) if file.is_file() else {}
        return {str(name): int(count) for name, count in steps.items()}
    except (UserError, AttributeError, TypeError, ValueError):
        return {}  # a remark of the report, not worth ending a routing for


def _tasks(data_roots: Sequence[PathLike], dataset_configs: Sequence[PathLike], cfg: Config) -> list[Task]:
    """All tasks, checked before the first of them is routed.

    Raises:
        ConfigError: two tasks have the same name.
        DataError: a task's images are missing.
    """
    tasks = [Task.from_folder(root, cfg.eval_pipeline) for root in data_roots]
    tasks += [Task.from_config(file, cfg.eval_pipeline) for file in dataset_configs]
    names = [task.name for task in tasks]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise ConfigError(f"two tasks are called '{twice}', and their results would overwrite each other; rename one.")
    return tasks


def _pictures(method: RoutingMethod, net: SDRResNet, cfg: Config) -> ClusterPictures | None:
    if method.clusters is None:
        return None
    # The images of extract_dataloader are those that were clustered.
    root = cfg.get("extract_dataloader", {}).get("dataset", {}).get("data_root") or cfg.get("data_root")
    clusters = Clusters.load(method.clusters)
    if root is None:
        return ClusterPictures(clusters, net.space.paths, None, found=False)
    return ClusterPictures(clusters, net.space.paths, Path(root), (Path(root) / clusters.names[0]).is_file())
