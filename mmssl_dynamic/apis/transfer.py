"""Many-shot transfer of every network of a checkpoint: what ``mmssl-dynamic transfer`` does."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import scipy
import sklearn
from mmengine.config import Config

from mmssl_dynamic.calibration.statistics import apply_bank
from mmssl_dynamic.downstream.task import Task
from mmssl_dynamic.downstream.transfer_sets import read_all
from mmssl_dynamic.evaluation.checkpoint_networks import CheckpointNetworks
from mmssl_dynamic.evaluation.many_shot import ManyShotProtocol
from mmssl_dynamic.evaluation.network_evaluation import statistics_record, versions
from mmssl_dynamic.evaluation.search_labels import SearchLabels
from mmssl_dynamic.evaluation.transfer_result import TransferResult, TransferScore
from mmssl_dynamic.evaluation.transfer_run import TransferRun, transfer_pipeline
from mmssl_dynamic.execution import Execution
from mmssl_dynamic.features.feature_cache import FeatureCache
from mmssl_dynamic.features.networks import Networks, network_names, statistics_of_networks
from mmssl_dynamic.fileio import weights_fingerprint
from mmssl_dynamic.loading import device_of, load_backbone, loaded, normalisation_of, select_device, source_of
from mmssl_dynamic.locks import locked_folder, locks, locks_folder
from mmssl_dynamic.outputs import beside, check_output_folder
from mmssl_dynamic.processes import joined, wait_of
from mmssl_dynamic.records import plain
from mmssl_dynamic.result_cache import ResultCache
from mmssl_dynamic.visualization.routing_plots import save_figure
from mmssl_dynamic.visualization.transfer_plots import transfer_gains, transfer_scores

PathLike = str | os.PathLike[str]


@dataclass(frozen=True)
class KeptFeatures:
    """Where features wait on disk.

    Args:
        folder: Their folder; ``features`` in that of the results when left out.
        keep: Leave a network's features there after it is finished on a task.
    """

    folder: PathLike | None = None
    keep: bool = True


def _folder_of_features(given: Mapping[str, Any]) -> AbstractContextManager[None]:
    folder, execution = (given["features"] or KeptFeatures()).folder, given["execution"] or Execution()
    return nullcontext() if folder is None else locked_folder(folder, "--features", execution.launcher)


@locks_folder(default="transfer")
@locks(_folder_of_features)
def transfer(
    config: PathLike | Config,
    checkpoint: PathLike,
    tasks: Sequence[PathLike | Task],
    out: PathLike | None = None,
    *,
    protocol: ManyShotProtocol | None = None,
    networks: Networks | None = None,
    features: KeptFeatures | None = None,
    execution: Execution | None = None,
) -> TransferResult:
    """Fit logistic regression to frozen features; write ``results.json``, ``scores`` and ``gains`` (.png, .svg).

    A network that is finished on a task is kept in ``out`` and not evaluated again as long as nothing has changed that
    its score depends on. Features are kept as well, and go on where a run was stopped.

    Args:
        config: Pre-training config, or its file, of a super-network or of any backbone.
        checkpoint: File with the weights of the run, or with the backbone's own.
        tasks: Labelled images: folders ``ROOT/NAME`` of data sets, or tasks; those of the protocol's eleven data sets
            come from :func:`~mmssl_dynamic.downstream.transfer_sets.read_all`.
        out: Folder of the results; ``transfer`` beside the checkpoint when left out.
        protocol: The search; the paper's by default.
        networks: Those to evaluate, all when left out, and their BatchNorm statistics.
        features: Where they wait on disk.
        execution: How to run: batches of 64 images and 2 workers when left out; ``memory_gib``, 4 when left out, is for
            the weights of networks that share one pass over the images. With a ``launcher``, its processes share the
            images and the searches, and the first one writes results and pictures.

    Returns:
        The scores, in all processes.

    Raises:
        UserError: anything that does not fit, before anything is computed.
    """
    protocol, networks, features = protocol or ManyShotProtocol(), networks or Networks(), features or KeptFeatures()
    execution = Execution.of(execution, launcher=True, workers=2)
    folder = beside(out, checkpoint, "transfer")
    check_output_folder(folder)
    found = [_task(task, transfer_pipeline(protocol.image_size, load=True)) for task in tasks]
    labels = {task.name: SearchLabels.of(task, protocol) for task in found}
    cfg = loaded(config)
    normalisation = normalisation_of(cfg)
    select_device(execution.device)  # refuses one that is not there, before processes wait for one another
    with joined(execution.launcher, wait_of(cfg)) as processes:
        target = device_of(execution.device, processes)
        execution = replace(execution, progress=execution.progress and processes.first)
        net = load_backbone(cfg, checkpoint, target)
        names = network_names(net, networks.names, Path(source_of(cfg)[0]).stem)
        bank, statistics = apply_bank(net, names, checkpoint, networks.bank, networks.bn)
        record = {
            **protocol.record(),
            "pipeline": transfer_pipeline(protocol.image_size),
            "normalisation": normalisation.record(),
            **statistics_record(statistics),
        }
        fingerprint = weights_fingerprint(net.state_dict())
        cache = FeatureCache(
            folder / "features" if features.folder is None else Path(features.folder),
            fingerprint,
            normalisation,
            *execution.loading,
            target,
            execution.progress,
            again=execution.again,
            processes=processes,
        )
        nets = CheckpointNetworks(net, cfg.model.backbone, names, protocol.image_size)
        kept = ResultCache(folder / "networks", TransferScore.from_record, execution.again)
        run = TransferRun(nets, cache, kept, protocol, labels, execution.memory_gib or 4.0, features.keep)
        scores = run(found)
    file, options = source_of(cfg)
    result = TransferResult(
        record,
        {task.name: labels[task.name].record(task) for task in found},
        fingerprint,
        nets.costs,
        nets.full,
        scores,
        {**versions(), "scikit-learn": sklearn.__version__, "scipy": scipy.__version__},
        file,
        str(checkpoint),
        None if bank is None else str(bank),
        plain(options),
        statistics_of_networks(net, names),
    )
    if execution.first:
        result.save(folder / "results.json")
        save_figure(transfer_scores(result), folder / "scores")
        if result.full is not None and len(names) > 1:
            save_figure(transfer_gains(result), folder / "gains")
    return result


def _task(given: PathLike | Task, pipeline: Sequence[dict]) -> Task:
    """A task, or the data set of a folder: its name may be one of the protocol's, with a metric of its own."""
    if isinstance(given, Task):
        return Task.given(given, pipeline)
    folder = Path(given).absolute()
    return read_all([folder.name], folder.parent, pipeline)[0]
