"""Routing from files to files: what ``mmssl-dynamic route`` does."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path

from mmengine.config import Config
from torch import nn

from mmssl_dynamic.calibration import BNBank
from mmssl_dynamic.calibration.statistics import find_bank
from mmssl_dynamic.clusters import Clusters
from mmssl_dynamic.datasets.kept_images import ImageKeeper
from mmssl_dynamic.datasets.named_images import holds
from mmssl_dynamic.datasets.normalisation import Normalisation
from mmssl_dynamic.downstream.task import Task
from mmssl_dynamic.errors import ConfigError, UserError
from mmssl_dynamic.evaluation.nearest_neighbours import evaluation_pipeline
from mmssl_dynamic.execution import Execution
from mmssl_dynamic.export import ExportReport, InputImages, export_subnet
from mmssl_dynamic.export.formats import default_file_name, find_format
from mmssl_dynamic.export.static_export import provenance
from mmssl_dynamic.features.networks import Networks
from mmssl_dynamic.fileio import read_json
from mmssl_dynamic.loading import device_of, load_super_network, loaded, need, source_of
from mmssl_dynamic.locks import locks_folder
from mmssl_dynamic.models.backbones import SDRResNet
from mmssl_dynamic.outputs import beside, check_output_folder
from mmssl_dynamic.processes import Processes, joined, wait_of
from mmssl_dynamic.records import plain
from mmssl_dynamic.routing import Router, RoutingResult
from mmssl_dynamic.routing.baselines import RANDOM, BaselineTask, random_path
from mmssl_dynamic.routing.kept_ranking import KeptRanking
from mmssl_dynamic.routing.method import RoutingMethod, RoutingOutput
from mmssl_dynamic.routing.result import Baseline
from mmssl_dynamic.visualization.routing_plots import gains_histogram, save_figure
from mmssl_dynamic.visualization.routing_report import ClusterPictures, RoutedTask, write_routing_report

PathLike = str | os.PathLike[str]


@locks_folder(default="routing")
def route(
    config: PathLike | Config,
    checkpoint: PathLike,
    tasks: Sequence[PathLike | Task],
    out: PathLike | None = None,
    *,
    method: RoutingMethod | None = None,
    networks: Networks | None = None,
    output: RoutingOutput | None = None,
    execution: Execution | None = None,
) -> list[tuple[RoutingResult, ExportReport]]:
    """Find and export the best sub-network for each of some tasks, and write a report.

    Run again, a task is not routed again as long as nothing has changed that its ranking depends on; rankings of other
    settings are kept beside it in ``kept/``.

    Args:
        config: Pre-training config, or its file.
        checkpoint: File with the weights of the run.
        tasks: Labelled images: folders with ``train/`` and ``test/``, config files with the data sets ``train`` and
            ``test``, or :class:`~mmssl_dynamic.downstream.task.Task`.
        out: Folder for ``report.html`` and its figures, ``routing.json``, ``gains_histogram.png`` and ``.svg``, and the
            exported winner; of several tasks, the last ones go into a folder for each. ``routing`` beside the
            checkpoint when left out.
        method: How sub-networks are found and ranked.
        networks: Those to choose from, all paths when left out, and the bank with their BatchNorm statistics.
        output: What is written beside the ranking.
        execution: How to run: batches of 64 images and 2 workers when left out. ``memory_gib`` bounds features and
            stage outputs held at a time, ``image_memory_gib`` decoded images. With a ``launcher``, its processes share
            the work, and the first one writes.

    Returns:
        Ranking and export of every task; nothing in processes other than the first one.

    Raises:
        UserError: anything that does not fit.

    Example:
        >>> ((ranking, winner),) = route("config.py", "epoch_200.pth", tasks=["data/pets"])
        >>> ranking.best.name, winner.path
    """
    if isinstance(tasks, str | os.PathLike | Task):
        raise ConfigError(f"tasks is a list: give tasks=[{str(tasks)!r}].")
    if not tasks:
        raise ConfigError("routing needs the images of a task: give --data-root or --dataset-config.")
    folder = beside(out, checkpoint, "routing")
    check_output_folder(folder)
    method, networks, output = method or RoutingMethod(), networks or Networks(), output or RoutingOutput()
    execution, format = Execution.of(execution, launcher=True, workers=2), output.format or "mmpretrain"
    cfg = loaded(config)  # registers formats and scores of the user's own
    find_format(format)  # before hours of routing
    need(cfg, "eval_pipeline")
    found_tasks = _tasks(tasks, evaluation_pipeline(cfg, method.protocol.image_size))
    with joined(execution.launcher, wait_of(cfg)) as processes:
        execution = replace(execution, progress=execution.progress and processes.first)
        return _Routing(cfg, checkpoint, folder, method, networks, output, execution, processes)(found_tasks)


@dataclass(frozen=True)
class _Routing:
    """Routing in one of the processes that share it; :func:`route` has the attributes."""

    cfg: Config
    checkpoint: PathLike
    folder: Path
    method: RoutingMethod
    networks: Networks
    output: RoutingOutput
    execution: Execution
    processes: Processes

    def __call__(self, tasks: Sequence[Task]) -> list[tuple[RoutingResult, ExportReport]]:
        """Route all tasks, and write what came of it."""
        bn, checkpoint = self.networks.bn or "path", self.checkpoint
        cfg, net = load_super_network(self.cfg, checkpoint, device_of(self.execution.device, self.processes))
        images = InputImages.of(cfg)
        if not isinstance(net, SDRResNet):
            raise ConfigError(
                "routing chooses among the paths of SDR; compare the sizes of a slimmable network with "
                "tools/evaluate.py."
            )
        bank = find_bank(net, checkpoint, self.networks.bank, self.networks.names or net.space.candidates, bn)
        if bank is None:
            raise ConfigError("routing compares sub-networks by the statistics of one BN bank; give --bank.")
        limits = {"memory_gib": self.execution.memory_gib, "progress": self.execution.progress}
        router = self.method.router(
            net, BNBank.load(bank), images.normalisation, bn, processes=self.processes, **limits
        )
        others = _baselines(self.method, net, images.normalisation)
        found: list[tuple[RoutingResult, ExportReport]] = []
        routed = []
        for task in tasks:
            place = self.folder / task.name if len(tasks) > 1 else self.folder
            with closing(ImageKeeper(self.execution.image_memory_gib, place)) as keeper:
                rank = KeptRanking(task, images.normalisation, self.execution, keeper)
                result = rank(router, self.networks.names, place / "kept")
                file, options = source_of(cfg)
                result = replace(
                    result,
                    config=file,
                    checkpoint=str(checkpoint),
                    bank=str(bank),
                    cfg_options=plain(options),
                    statistics=router.bank.fingerprints(result.ranked, bn),
                )
                baselines = self._measured(others, task, images.normalisation, place / "kept", keeper)
                start = next((baseline for baseline in baselines if baseline.name != RANDOM), None)
                result = replace(result, start=start)
                if self.processes.first:
                    found.append((result, self._written(task, result, router, images, place)))
            if self.processes.first:
                report = found[-1][1]
                reference = next((entry for entry in self.output.references if entry.task == task.name), None)
                counts = {part: len(dataset) for part, dataset in task.datasets.items()}
                routed.append(RoutedTask(result, str(report), reference, report.snippet, baselines, counts))
        if self.processes.first:
            pictures = _pictures(self.method, net, cfg)
            page = self.folder / "report.html"
            write_routing_report(routed, page, pictures, self.output.command, _steps(checkpoint))
        return found

    def _measured(
        self,
        others: Mapping[str, nn.Module],
        task: Task,
        normalisation: Normalisation,
        kept: Path,
        keeper: ImageKeeper,
    ) -> list[Baseline]:
        """Networks that are no sub-networks, on the same images."""
        batch_size, workers = self.execution.loading
        measure = BaselineTask(
            task,
            normalisation,
            self.method.protocol,
            kept,
            batch_size,
            workers,
            self.execution.again,
            self.processes,
            keeper,
        )
        return [measure(name, network) for name, network in others.items()]

    def _written(
        self, task: Task, result: RoutingResult, router: Router, images: InputImages, place: Path
    ) -> ExportReport:
        """Write the ranking of a task and its winner."""
        (file, options), winner = source_of(self.cfg), result.best.name
        bn, format = self.networks.bn or "path", self.output.format or "mmpretrain"
        result.save(place / "routing.json")
        save_figure(gains_histogram(result), place / "gains_histogram")
        router.bank.apply(router.net, [winner], bn)
        return export_subnet(
            router.net,
            winner,
            place / default_file_name(winner, format),
            format,
            images=images,
            bn=bn,
            provenance=provenance(file, self.checkpoint, result.bank, task.name, options, result.fingerprints),
        )


def _baselines(method: RoutingMethod, net: SDRResNet, normalisation: Normalisation) -> dict[str, nn.Module]:
    """Networks that stand beside the sub-networks: the base network, where one was given, and random weights."""
    found = {RANDOM: random_path(net)}
    if method.base_config is None or method.base_checkpoint is None:
        return found
    base = method.base(normalisation, next(net.parameters()).device)
    return {Path(source_of(loaded(method.base_config))[0]).stem: base, **found}


def _steps(checkpoint: PathLike) -> dict[str, int]:
    """Training steps of every network, from ``collapse.json`` beside the checkpoint; empty if it is not there."""
    file = Path(checkpoint).parent / "collapse.json"
    try:
        steps = read_json(file, "collapse report").get("steps", {}) if file.is_file() else {}
        return {str(name): int(count) for name, count in steps.items()}
    except (UserError, AttributeError, TypeError, ValueError):
        return {}  # a remark of the report, not worth ending a routing for


def _tasks(given: Sequence[PathLike | Task], pipeline: Sequence[dict]) -> list[Task]:
    """All tasks, checked before the first of them is routed.

    Raises:
        ConfigError: two tasks have the same name.
        DataError: a task's images are missing.
    """
    tasks = [Task.given(task, pipeline) for task in given]
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
    return ClusterPictures(clusters, net.space.paths, Path(root), holds(root, clusters.names[0]))
