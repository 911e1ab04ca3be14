"""Accuracy and cost of every network of a checkpoint: what ``mmssl-dynamic evaluate`` does."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from mmengine.config import Config

from mmssl_dynamic.calibration.statistics import apply_bank
from mmssl_dynamic.datasets.kept_images import ImageKeeper
from mmssl_dynamic.downstream.task import Task
from mmssl_dynamic.errors import ConfigError
from mmssl_dynamic.evaluation.evaluation_result import EvaluationResult, NetworkResult, by_cost
from mmssl_dynamic.evaluation.knn import KNNProtocol
from mmssl_dynamic.evaluation.nearest_neighbours import NearestNeighbours, evaluation_pipeline
from mmssl_dynamic.evaluation.network_evaluation import Method, NetworkEvaluation, Timing, statistics_record, versions
from mmssl_dynamic.evaluation.probing import Probe, TrainedProtocol
from mmssl_dynamic.execution import Execution
from mmssl_dynamic.features.networks import Networks, network_names, statistics_of_networks
from mmssl_dynamic.fingerprints import precision
from mmssl_dynamic.loading import device_of, load_backbone, loaded, normalisation_of, select_device, source_of
from mmssl_dynamic.locks import locks_folder
from mmssl_dynamic.outputs import beside, check_output_folder
from mmssl_dynamic.processes import joined, wait_of
from mmssl_dynamic.records import plain
from mmssl_dynamic.result_cache import ResultCache
from mmssl_dynamic.visualization.accuracy_cost import Curve, accuracy_cost
from mmssl_dynamic.visualization.routing_plots import save_figure

PathLike = str | os.PathLike[str]


@dataclass(frozen=True)
class Comparison:
    """What accuracies are laid beside.

    Args:
        timing: How latency is measured.
        baselines: (name, ``results.json``) of other evaluations, for the plot; files of the same name become one curve.
    """

    timing: Timing = Timing()
    baselines: Sequence[tuple[str, PathLike]] = ()


@locks_folder(default="evaluation")
def evaluate(
    config: PathLike | Config,
    checkpoint: PathLike,
    task: PathLike | Task,
    out: PathLike | None = None,
    *,
    protocol: KNNProtocol | TrainedProtocol | None = None,
    networks: Networks | None = None,
    comparison: Comparison | None = None,
    execution: Execution | None = None,
) -> EvaluationResult:
    """Evaluate the networks of a checkpoint; write ``results.json``, ``accuracy_cost.png`` and ``.svg``.

    A network that is finished is kept in ``out`` and not evaluated again as long as nothing has changed that its result
    depends on; a training that was stopped goes on from its last epoch.

    Args:
        config: Pre-training config, or its file, of a super-network or of any backbone.
        checkpoint: File with the weights of the run, or with the backbone's own.
        task: Labelled images: a folder with ``train/`` and ``test/`` (or ``val/``), a config file with the data sets
            ``train`` and ``test``, or a :class:`~mmssl_dynamic.downstream.task.Task`.
        out: Folder of the results; ``evaluation`` beside the checkpoint when left out.
        protocol: k nearest neighbours, or a classifier that is trained; the default of kNN when left out.
        networks: Those to evaluate, all when left out, and their BatchNorm statistics.
        comparison: Latency, and other evaluations.
        execution: How to run; a batch of 64 images and 2 workers (kNN) or the protocol's when left out. ``memory_gib``
            bounds the features of kNN and their comparison, ``image_memory_gib`` its decoded images. With a
            ``launcher``, its processes share the work, and the first one writes.

    Returns:
        The results, cheapest network first.

    Raises:
        UserError: anything that does not fit.
    """
    protocol, networks, comparison = protocol or KNNProtocol(), networks or Networks(), comparison or Comparison()
    execution = Execution.of(execution, launcher=True)
    trained = protocol if isinstance(protocol, TrainedProtocol) else None
    folder = beside(out, checkpoint, "evaluation")
    check_output_folder(folder)
    others = _curves(comparison.baselines, trained.kind if trained else "knn")
    cfg = loaded(config)
    name = Path(source_of(cfg)[0]).stem
    pipeline = trained.test_pipeline if trained else evaluation_pipeline(cfg, protocol.image_size)
    labelled = Task.given(task, pipeline, ("train", "test"))
    normalisation = normalisation_of(cfg)
    target = _device(execution.device, protocol)
    with ExitStack() as stack:
        processes = stack.enter_context(joined(execution.launcher, wait_of(cfg)))
        target = device_of(execution.device, processes) if processes.count > 1 else target
        execution = replace(execution, progress=execution.progress and processes.first)
        net = load_backbone(cfg, checkpoint, target)
        names = network_names(net, networks.names, name)
        bank, statistics = apply_bank(net, names, checkpoint, networks.bank, networks.bn)
        method: Method
        if isinstance(protocol, TrainedProtocol):
            method = Probe(protocol, labelled, normalisation, execution)
        else:
            if execution.memory_gib is not None:
                protocol = replace(protocol, memory_gib=execution.memory_gib)
            memory = execution.image_memory_gib if len(names) > 1 else 0.0  # one network goes through images once
            keeper = stack.enter_context(closing(ImageKeeper(memory, folder)))
            method = NearestNeighbours(protocol, labelled, normalisation, execution, target, processes, keeper)
        data, how = labelled.record(), method.record()  # of as many processes as there are now
        inputs = {"precision": precision(target), "protocol": how, **labelled.inputs(normalisation)}
        kept = ResultCache(folder / "networks", NetworkResult.from_record, execution.again)
        evaluation = NetworkEvaluation(method, net, cfg.model.backbone, kept, inputs, execution.progress, processes)
        found, measured = evaluation(names, comparison.timing), statistics_of_networks(net, names)
    file, options = source_of(cfg)
    files = file, str(checkpoint), None if bank is None else str(bank), plain(options)
    record = {**how, **statistics_record(statistics)}
    result = EvaluationResult(record, data, evaluation.weights, by_cost(found), versions(), *files, measured)
    if execution.first:
        result.save(folder / "results.json")
        save_figure(accuracy_cost([Curve(name, result.networks), *others], _axis(result)), folder / "accuracy_cost")
    return result


def _device(name: str | None, protocol: KNNProtocol | TrainedProtocol) -> torch.device:
    """Where to evaluate; mmengine's Runner trains on the current CUDA device if there is one."""
    target = select_device(name)
    if isinstance(protocol, TrainedProtocol):
        if target.type != "cuda" and torch.cuda.is_available():
            raise ConfigError(f"--device {name}: a training takes the GPU it sees; hide it, CUDA_VISIBLE_DEVICES=''.")
        if target.index is not None and target.type == "cuda":
            torch.cuda.set_device(target)
    return target


def _curves(baselines: Iterable[tuple[str, PathLike]], kind: str) -> list[Curve]:
    found: dict[str, list[NetworkResult]] = {}
    for name, file in baselines:
        result = EvaluationResult.load(file)
        if result.protocol.get("kind") != kind:
            raise ConfigError(
                f"--baseline {file} was evaluated by '{result.protocol.get('kind')}' and cannot be compared with "
                f"'{kind}'; evaluate it by the same --protocol."
            )
        found.setdefault(name, []).extend(result.networks)
    return [Curve(name, by_cost(networks)) for name, networks in found.items()]


def _axis(result: EvaluationResult) -> str:
    kind, data = result.protocol["kind"], result.data["name"]
    if kind == "knn":
        return f"kNN accuracy on {data} (%)"
    if kind == "linear":
        return f"top-1 of a linear probe on {data} (%)"
    return f"top-1 on {data} with {result.protocol['labels']['images']:,} labels (%)"
