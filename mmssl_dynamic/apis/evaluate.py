"""Accuracy and cost of every network of a checkpoint: what ``tools/evaluate.py`` does."""

from __future__ import annotations

import os
import platform
import shutil
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Protocol

import mmcv
import mmengine
import mmpretrain
import torch
from mmengine.dist import barrier, broadcast_object_list, is_main_process
from torch import nn

from mmssl_dynamic.calibration.statistics import OWN, apply_bank
from mmssl_dynamic.downstream.task import Task
from mmssl_dynamic.engine.processes import start_processes, stop_processes, wait_of
from mmssl_dynamic.errors import ConfigError
from mmssl_dynamic.evaluation.complexity import complexity
from mmssl_dynamic.evaluation.evaluation_result import EvaluationResult, NetworkResult, by_cost
from mmssl_dynamic.evaluation.knn import KNNProtocol
from mmssl_dynamic.evaluation.latency import Latency, latency
from mmssl_dynamic.evaluation.nearest_neighbours import NearestNeighbours, evaluation_pipeline
from mmssl_dynamic.evaluation.probing import Probe, TrainedProtocol
from mmssl_dynamic.features.networks import Network, network_names, single_network
from mmssl_dynamic.fileio import weights_fingerprint
from mmssl_dynamic.fingerprints import precision
from mmssl_dynamic.loading import load_backbone, load_config, normalisation_of, select_device
from mmssl_dynamic.locks import locks_folder
from mmssl_dynamic.outputs import check_output_folder
from mmssl_dynamic.result_cache import Key, ResultCache, kept_line
from mmssl_dynamic.version import __version__
from mmssl_dynamic.visualization.accuracy_cost import Curve, accuracy_cost
from mmssl_dynamic.visualization.routing_plots import save_figure

PathLike = str | os.PathLike[str]


class _Method(Protocol):
    """How one network is evaluated."""

    size: tuple[int, int]

    def record(self) -> dict[str, Any]:
        """Everything that can change a result."""
        ...

    def __call__(self, network: Network, folder: Path, label: str) -> tuple[float, float | None]:
        """Top-1 and top-5 accuracy in percent."""
        ...


@locks_folder()
def evaluate(
    config: PathLike,
    checkpoint: PathLike,
    out: PathLike,
    *,
    protocol: KNNProtocol | TrainedProtocol | None = None,
    subnets: Sequence[str] | None = None,
    data_root: PathLike | None = None,
    dataset_config: PathLike | None = None,
    bank: PathLike | None = None,
    bn: str = "path",
    image_size: int | None = None,
    batch_size: int | None = None,
    num_workers: int | None = None,
    seed: int = 0,
    latency_batch: int = 1,
    latency_repeats: int = 50,
    baselines: Iterable[tuple[str, PathLike]] = (),
    device: str | None = None,
    launcher: str = "none",
    cfg_options: dict[str, Any] | None = None,
    again: bool = False,
    progress: bool = True,
) -> EvaluationResult:
    """Evaluate the networks of a checkpoint; write ``results.json``, ``accuracy_cost.png`` and ``.svg``.

    A network that is finished is kept in ``out`` and not evaluated again as long as nothing has changed that its result
    depends on; a training that was stopped goes on from its last epoch.

    Args:
        config: Pre-training config, of a super-network or of any backbone.
        checkpoint: Of the run, or the backbone's own weights.
        out: Folder of the results.
        protocol: k nearest neighbours, or a classifier that is trained; the default of kNN when left out.
        subnets: Names of sub-networks; all by default.
        data_root: Image folder with ``train/`` and ``test/`` (or ``val/``); or give ``dataset_config``.
        dataset_config: Config with the data sets ``train`` and ``test``.
        bank: BN bank of the checkpoint, for networks without statistics of their own; the one beside the checkpoint
            when left out.
        bn: ``'path'`` or ``'prefix'``: which of the bank's statistics.
        image_size: Side of the images; that of the config's ``eval_pipeline`` (kNN) or of the protocol when left out.
        batch_size: Images per batch (and process, in training); 64 (kNN) or the protocol's when left out.
        num_workers: Loader processes; 2 (kNN) or the protocol's when left out.
        seed: Of a training.
        latency_batch: Images per pass that is timed.
        latency_repeats: Passes that are timed; 0 leaves the latency out.
        baselines: (name, ``results.json``) of other evaluations to lay beside in the plot; files of the same name
            become one curve.
        device: Such as ``'cuda:0'``.
        launcher: ``'pytorch'``, ``'slurm'`` or ``'mpi'`` in processes of theirs, for a training on several GPUs.
        cfg_options: Overrides of ``config``.
        again: Evaluate anew what is kept from an earlier run, and begin trainings anew.
        progress: Show bars with the time left.

    Returns:
        The results, cheapest network first.

    Raises:
        UserError: anything that does not fit.
    """
    protocol = protocol or KNNProtocol()
    kind = protocol.kind if isinstance(protocol, TrainedProtocol) else "knn"
    check_output_folder(out)
    others = _curves(baselines, kind)
    cfg = load_config(config, cfg_options)
    trained = protocol if isinstance(protocol, TrainedProtocol) else None
    pipeline = trained.test_pipeline if trained else evaluation_pipeline(cfg, image_size)
    task = Task.of(data_root, dataset_config, pipeline, ("train", "test"))
    normalisation = normalisation_of(cfg)
    target = _device(device, protocol, launcher)
    start_processes(launcher, wait_of(cfg))
    try:
        if launcher != "none" and target.type == "cuda":
            target = torch.device("cuda", torch.cuda.current_device())
        shown = progress and is_main_process()
        net = load_backbone(cfg, checkpoint, target)
        names = network_names(net, subnets, Path(config).stem)
        bank, statistics = apply_bank(net, names, checkpoint, bank, bn)
        method: _Method
        if isinstance(protocol, TrainedProtocol):
            sizes = image_size, batch_size, num_workers
            method = Probe(protocol, task, normalisation, *sizes, seed, launcher, shown)
        else:
            method = NearestNeighbours(protocol, task, normalisation, batch_size, num_workers, target, shown)
        data, how = task.record(), method.record()  # of as many processes as there are now
        inputs = {"precision": precision(target), "protocol": how, **task.inputs(normalisation)}
        kept = ResultCache(Path(out) / "networks", NetworkResult.from_record, again)
        evaluation = _Evaluation(method, net, cfg.model.backbone, kept, inputs, shown)
        networks = evaluation(names, latency_batch, latency_repeats)
        main = is_main_process()
    finally:
        stop_processes()
    files = str(config), str(checkpoint), None if bank is None else str(bank)
    record = {**how, "bn_statistics": statistics_text(statistics)}
    result = EvaluationResult(record, data, evaluation.weights, by_cost(networks), versions(), *files)
    if main:
        result.save(Path(out) / "results.json")
        own = Curve(Path(config).stem, result.networks)
        save_figure(accuracy_cost([own, *others], _axis(result)), Path(out) / "accuracy_cost")
    return result


def _device(name: str | None, protocol: KNNProtocol | TrainedProtocol, launcher: str) -> torch.device:
    """Where to evaluate; mmengine's Runner trains on the current CUDA device if there is one."""
    target = select_device(name)
    if isinstance(protocol, TrainedProtocol):
        if target.type != "cuda" and torch.cuda.is_available():
            raise ConfigError(f"--device {name}: a training takes the GPU it sees; hide it, CUDA_VISIBLE_DEVICES=''.")
        if target.index is not None and target.type == "cuda":
            torch.cuda.set_device(target)
    elif launcher != "none":
        raise ConfigError("--launcher is for protocols that train; kNN runs on one device.")
    return target


class _Evaluation:
    """Evaluates networks one after the other and keeps each result as soon as it is there."""

    def __init__(
        self,
        method: _Method,
        net: nn.Module,
        options: Mapping[str, Any],
        kept: ResultCache[NetworkResult],
        inputs: Mapping[str, Any],
        progress: bool,
    ) -> None:
        self.method, self.net, self.options, self.kept = method, net, options, kept
        self.inputs, self.progress = inputs, progress
        self.weights = weights_fingerprint(net.state_dict())
        self.device = next(net.parameters()).device
        self.main = is_main_process()

    def __call__(self, names: Sequence[str], latency_batch: int, latency_repeats: int) -> list[NetworkResult]:
        """Results in the order of ``names``."""
        keys = {name: self._key(self._network(name)) for name in names}  # refuses what lacks statistics, before all
        done = self._finished(keys)
        pending = [name for name in names if name not in done]

        def is_timed(name: str) -> bool:
            found = done[name].latency if name in done else None
            return found is not None and found.measured_on(self.device, latency_batch, latency_repeats)

        untimed = [name for name in names if not is_timed(name)]
        timed = self._latencies(untimed, latency_batch, latency_repeats)
        for name in [name for name in done if timed.get(name) is not None]:
            done[name] = replace(done[name], latency=timed[name])
            self._keep(keys[name], done[name])
        start = time.monotonic()
        for index, name in enumerate(pending):
            began = time.monotonic()
            network, folder = self._network(name), self.kept.file(keys[name], name).with_suffix("")
            if self.kept.again and self.main:
                shutil.rmtree(folder, ignore_errors=True)  # of a training, which would go on from its last epoch
            barrier()
            top1, top5 = self.method(network, folder, f"{name} ({index + 1} of {len(pending)})")
            cost = complexity(network.backbone, None, self.method.size)
            seconds = round(time.monotonic() - began, 2)
            done[name] = NetworkResult(name, top1, top5, cost.params, cost.macs, timed[name], seconds)
            self._keep(keys[name], done[name])
            left = (time.monotonic() - start) / (index + 1) * (len(pending) - index - 1)
            self._say(f"{name}: top-1 {top1:.2f} %" + (f", about {duration(left)} left" if left else ""))
        return [done[name] for name in names]

    def _network(self, name: str) -> Network:
        return single_network(self.net, name, self.options)

    def _key(self, network: Network) -> Key:
        """What a result depends on."""
        return Key("evaluation", {"network": network.name, "weights": self.weights, **network.inputs(), **self.inputs})

    def _finished(self, keys: Mapping[str, Key]) -> dict[str, NetworkResult]:
        """Results that are kept; the main process finds them, so that all processes train the same networks."""
        loaded = {name: self.kept.load(key, name) for name, key in keys.items()} if self.main else {}
        told = [{name: entry for name, entry in loaded.items() if entry is not None}]
        broadcast_object_list(told)
        found = told[0]
        if found:
            what = f"{len(found)} of {len(keys)} networks are"
            self._say(kept_line(what, found.values(), next(iter(keys.values()))))
        return {name: entry.value for name, entry in found.items()}

    def _keep(self, key: Key, result: NetworkResult) -> None:
        if self.main:
            self.kept.save(key, result.name, result.record())

    def _latencies(self, names: Sequence[str], batch: int, repeats: int) -> dict[str, Latency | None]:
        """All of them now, under the same conditions; networks of one shape, such as SDR's paths, once."""
        found: dict[tuple, Latency] = {}
        timed: dict[str, Latency | None] = dict.fromkeys(names)
        for name in names if repeats else ():
            network = self._network(name)
            if network.shape not in found:
                found[network.shape] = latency(network.backbone, self.method.size, batch, repeats)
            timed[name] = found[network.shape]
        return timed

    def _say(self, text: str) -> None:
        if self.progress:
            print(text, flush=True)


def statistics_text(source: str) -> str:
    """Where BatchNorm statistics are from, for a result."""
    return "the checkpoint's" if source == OWN else f"calibrated ({source})"


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


def versions() -> dict[str, str]:
    """Of the software that a result depends on."""
    modules: Mapping[str, Any] = {"torch": torch, "mmengine": mmengine, "mmcv": mmcv, "mmpretrain": mmpretrain}
    found = {name: str(module.__version__) for name, module in modules.items()}
    return {"mmssl_dynamic": __version__, "python": platform.python_version(), **found}


def duration(seconds: float) -> str:
    """Such as ``'40 s'`` or ``'3 min'``."""
    return f"{seconds / 60:.0f} min" if seconds >= 90 else f"{seconds:.0f} s"
