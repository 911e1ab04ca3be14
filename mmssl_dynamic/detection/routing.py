"""Routing for detection: candidates are fine-tuned with early stopping and ranked by AP (SDR Sec. 4.3).

What the full ranking costs is a fine-tuning of every sub-network. Two things make it less: a short list of candidates,
found by routing on the objects that are cut out of the training images, and successive halving of the iterations.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from queue import Queue
from typing import Any

import numpy as np
from mmengine.config import Config
from tqdm import tqdm

from mmssl_dynamic.calibration import BNBank
from mmssl_dynamic.datasets.batches import ImageBatches, build_dataset
from mmssl_dynamic.detection.average_precision import check_evaluators
from mmssl_dynamic.detection.candidate import CandidateJob, detector_backbone, run_candidate
from mmssl_dynamic.detection.detector import check_normalisation, evaluators, prepare_detection
from mmssl_dynamic.detection.object_crops import write_object_crops
from mmssl_dynamic.detection.report import CandidateFigures, write_detection_report
from mmssl_dynamic.downstream.splits import Splits
from mmssl_dynamic.errors import ConfigError, UserError
from mmssl_dynamic.evaluation import KNNProtocol
from mmssl_dynamic.evaluation.complexity import complexity
from mmssl_dynamic.export import ExportReport, InputImages, export_subnet
from mmssl_dynamic.export.formats import default_file_name, find_format
from mmssl_dynamic.export.static_export import provenance
from mmssl_dynamic.fileio import weights_fingerprint
from mmssl_dynamic.loading import load_super_network, need, normalisation_of, select_device
from mmssl_dynamic.models.backbones import SDRResNet, SuperNetwork
from mmssl_dynamic.outputs import check_output_folder
from mmssl_dynamic.routing.method import RoutingMethod
from mmssl_dynamic.routing.result import DroppedSubnet, RoutingResult, SubnetScore, rank
from mmssl_dynamic.subnets import FULL

PathLike = str | os.PathLike[str]
SHORTLISTS = ("knn", "cluster", "halving", "random")


@dataclass(frozen=True)
class DetectionPlan:
    """How many candidates are fine-tuned, for how long, and which.

    Attributes:
        iterations: Of a candidate in the last round (the paper: 1,000).
        candidates: How many; ``None`` for all.
        shortlist: How fewer candidates than there are sub-networks are found: ``'knn'``, ``'cluster'`` or
            ``'halving'`` on cut-out objects, or ``'random'``.
        halving: With a factor of 2 or more, candidates are dropped in rounds: each round has so many times fewer of
            them, for so many times the iterations. 1 trains all of them to the end.
        finalists: Candidates in the last round of halving.
        kind: AP of ``'boxes'`` or ``'masks'``.
        crops: Cut-out objects for the short list at most.
        seed: Of everything random.
    """

    iterations: int = 1000
    candidates: int | None = None
    shortlist: str = "knn"
    halving: int = 1
    finalists: int = 2
    kind: str = "boxes"
    crops: int = 2000
    seed: int = 0

    def __post_init__(self) -> None:
        if self.iterations < 1 or self.halving < 1 or self.finalists < 1:
            raise ConfigError(
                f"--iters {self.iterations}, --halving {self.halving} and --finalists {self.finalists} must be at "
                "least 1."
            )
        if self.candidates is not None and self.candidates < 1:
            raise ConfigError(f"--candidates {self.candidates} must be at least 1, or all.")
        if self.shortlist not in SHORTLISTS:
            raise ConfigError(f"--shortlist {self.shortlist} is unknown; use one of {', '.join(SHORTLISTS)}.")
        if self.kind not in ("boxes", "masks"):
            raise ConfigError(f"AP is of boxes or masks, not of '{self.kind}'.")

    def rounds(self, count: int) -> list[tuple[int, int]]:
        """(candidates, iterations) of every round."""
        found = [(count, self.iterations)]
        if self.halving > 1:
            left, sizes = count, [count]
            while left > self.finalists:
                left = max(self.finalists, -(-left // self.halving))
                sizes.append(left)
            last = len(sizes) - 1
            found = [
                (size, max(1, round(self.iterations / self.halving ** (last - i)))) for i, size in enumerate(sizes)
            ]
        return found


def route_detection(
    config: PathLike,
    checkpoint: PathLike,
    bank: PathLike | None,
    out: PathLike,
    det_config: PathLike,
    *,
    plan: DetectionPlan | None = None,
    method: RoutingMethod | None = None,
    det_options: dict[str, Any] | None = None,
    cfg_options: dict[str, Any] | None = None,
    devices: Sequence[str] | None = None,
    batch_size: int = 64,
    num_workers: int = 2,
    format: str = "mmdet",
    progress: bool = True,
    command: str | None = None,
) -> tuple[RoutingResult, ExportReport]:
    """Fine-tune candidates in a detector, rank them by AP on its validation set, and export the best.

    Run again, it goes on candidate by candidate; a finished candidate never runs twice.

    Args:
        config: Pre-training config.
        checkpoint: Of the run.
        bank: Its BN bank; not needed if the checkpoint holds the statistics of all candidates.
        out: Folder for ``routing.json``, ``report.html``, the exported winner, and a folder for each candidate.
        det_config: mmdet config of the detector; its backbone is replaced.
        plan: Candidates and iterations.
        method: Clusters, base network and BN statistics, as for classification.
        det_options: Overrides of ``det_config``.
        cfg_options: Overrides of ``config``.
        devices: One process trains on each of them at a time, such as ``['cuda:0', 'cuda:1']``; all GPUs by default.
        batch_size: Images per batch of the short list.
        num_workers: Its loader processes.
        format: Of the exported winner.
        progress: Show a bar with the time left.
        command: The command line, for the report.

    Raises:
        UserError: anything that does not fit, or a candidate that failed; the message names its log.
    """
    start = time.monotonic()
    plan, method, folder = plan or DetectionPlan(), method or RoutingMethod(), Path(out)
    find_format(format)
    check_output_folder(folder)
    places = _devices(devices)
    cfg, net = load_super_network(config, checkpoint, "cpu", cfg_options)
    images = InputImages.of(cfg)
    detector = prepare_detection(det_config, cfg_options=det_options, training=False)
    need(detector, "train_dataloader", "val_dataloader", "val_evaluator")
    check_evaluators(evaluators(detector, "val"), "val", masks=plan.kind == "masks")
    check_normalisation(detector, det_config, images.normalisation, f"the super-network of {config}")
    if bank is not None:
        BNBank.load(bank).check(net)
    names = _all_names(net, method.subnets)
    chosen, preference = _shortlist(plan, method, cfg, net, bank, detector, names, folder, batch_size, num_workers)

    def job(name: str, iterations: int) -> CandidateJob:
        backbone, channels = detector_backbone(net, name, detector)
        return CandidateJob(
            name,
            iterations,
            str(folder / "candidates" / name),
            backbone,
            channels,
            str(checkpoint),
            None if bank is None else str(bank),
            method.bn,
            str(det_config),
            det_options or {},
            plan.seed,
        )

    rounds = plan.rounds(len(chosen))
    # The last round trains the full network, too, as the baseline of the gains.
    full = _full_name(net)
    total = sum(size for size, _ in rounds) + 1
    left, trained = list(chosen), 0
    figures: dict[str, dict[str, Any]] = {}
    dropped: list[DroppedSubnet] = []
    with tqdm(total=total, desc="fine-tuning candidates", unit="candidate", disable=not progress) as bar:
        before = 0
        for number, (_, iterations) in enumerate(rounds, start=1):
            last = number == len(rounds)
            running = list(dict.fromkeys([*left, full])) if last else left
            found = dict(_run_all([job(name, iterations) for name in running], places, bar, plan.kind))
            trained += len(left) * (iterations - before) + (iterations if len(running) > len(left) else 0)
            before = iterations
            if last:
                figures = found
                break
            keep = rounds[number][0]
            order = sorted(left, key=lambda name: -found[name]["AP"][plan.kind]["AP"])
            dropped = [
                DroppedSubnet(name, found[name]["AP"][plan.kind]["AP"], iterations, f"round {number}, iterations")
                for name in order[keep:]
            ] + dropped
            left = [name for name in chosen if name in order[:keep]]
    dropped += [
        DroppedSubnet(name, preference.get(name), 0, f"not on the short list ({plan.shortlist})")
        for name in names
        if name not in chosen
    ]
    result = _result(plan, method, net, full, left, figures, dropped, detector, det_config, rounds, trained, start)
    result = replace(result, config=str(config), checkpoint=str(checkpoint), bank=None if bank is None else str(bank))
    result.save(folder / "routing.json")
    if bank is not None:
        BNBank.load(bank).apply(net, [result.best.name], method.bn)
    origin = provenance(config, checkpoint, bank, result.task, cfg_options, result.fingerprints)
    report = export_subnet(
        net, result.best.name, folder / default_file_name(result.best.name, format), format,
        images=images, bn=method.bn if bank is not None else "checkpoint", provenance=origin,
    )  # fmt: skip
    write_detection_report(
        CandidateFigures(
            result, {name: entry["AP"] for name, entry in figures.items()}, preference, plan.shortlist, str(report),
            (len(names) + (full not in names)) * plan.iterations, trained,
        ),
        folder / "report.html", command,
    )  # fmt: skip
    return result, report


def _full_name(net: SuperNetwork) -> str:
    """Name of the full network among the sub-networks."""
    return next(name for name in net.subnets if net.space.check(name) == FULL)


def _all_names(net: SuperNetwork, subnets: Sequence[str] | None) -> list[str]:
    """The sub-networks to choose from, in their own order."""
    paths = list(getattr(net.space, "paths", ())) or list(net.subnets)
    if subnets is None:
        return paths
    for name in subnets:
        net.space.check(name)
    return [name for name in net.subnets if name in set(subnets)]


def _shortlist(
    plan: DetectionPlan,
    method: RoutingMethod,
    cfg: Config,
    net: SuperNetwork,
    bank: PathLike | None,
    detector: Config,
    names: list[str],
    folder: Path,
    batch_size: int,
    num_workers: int,
) -> tuple[list[str], dict[str, float]]:
    """Candidates in their own order, and the accuracy in percent on cut-out objects of those it was measured of."""
    count = plan.candidates
    if count is None or count >= len(names):
        return names, {}
    if plan.shortlist == "random":
        chosen = set(np.random.default_rng(plan.seed).permutation(names)[:count].tolist())
        return [name for name in names if name in chosen], {}
    if not isinstance(net, SDRResNet) or bank is None:
        raise ConfigError(
            f"--shortlist {plan.shortlist} routes among the paths of SDR by a BN bank; give --bank, or use --shortlist "
            "random or --candidates all."
        )
    need(cfg, "eval_pipeline")
    device = select_device(None)
    crops = write_object_crops(_training_set(detector), folder / "crops", plan.crops, seed=plan.seed)
    dataset = build_dataset(
        dict(type="mmssl_dynamic.ImageFolder", data_root=str(crops), with_label=True, pipeline=list(cfg.eval_pipeline))
    )
    normalisation = normalisation_of(cfg)
    batches = ImageBatches(dataset, normalisation, batch_size, num_workers, device)
    if plan.shortlist == "cluster":
        method = replace(method, name="cluster", candidates=count)
    else:
        method = replace(method, name=plan.shortlist, finalists=max(count, method.finalists))
    router = method.router(net.to(device), BNBank.load(bank), normalisation, protocol=KNNProtocol(k=20))
    result = router.route(Splits(batches), names, "cut-out objects")
    net.to("cpu")
    result.save(folder / "shortlist.json")
    chosen = {score.name for score in result.subnets[:count]}
    return [name for name in names if name in chosen], {s.name: s.select_accuracy for s in result.subnets}


def _training_set(detector: Config) -> Any:
    """The detector's training data with boxes, built by mmdet; of data sets that are repeated, the inner one."""
    from mmdet.registry import DATASETS
    from mmdet.utils import register_all_modules

    register_all_modules(init_default_scope=False)
    with DATASETS.switch_scope_and_registry("mmdet") as registry:
        dataset = registry.build(detector.train_dataloader.dataset)
    while not hasattr(dataset, "get_data_info") and hasattr(dataset, "dataset"):
        dataset = dataset.dataset
    dataset.full_init()
    return dataset


def _devices(given: Sequence[str] | None) -> list[str]:
    import torch

    if given is None:
        count = torch.cuda.device_count()
        return [f"cuda:{i}" for i in range(count)] or ["cpu"]
    if not given:
        raise ConfigError("--devices is empty; name at least one, such as cuda:0 or cpu.")
    for name in given:
        if name != "cpu" and name not in [f"cuda:{i}" for i in range(torch.cuda.device_count())]:
            raise ConfigError(f"--devices {name} is not there; this machine has {torch.cuda.device_count()} GPUs.")
    return list(given)


def _run_all(
    jobs: Sequence[CandidateJob], devices: Sequence[str], bar: tqdm, kind: str
) -> Iterator[tuple[str, dict[str, Any]]]:
    """Results by name as they come: in turn in this process on one device, else one process per device."""
    todo = []
    for job in jobs:
        known = job.finished()
        if known is None:
            todo.append(job)
        else:
            bar.update()
            yield job.name, known
    if len(devices) == 1:
        for job in todo:
            bar.set_postfix_str(job.name)
            with _only(devices[0]):
                found = run_candidate(job)
            bar.update()
            yield job.name, found
        return
    free: Queue[str] = Queue()
    for device in devices:
        free.put(device)
    with ThreadPoolExecutor(len(devices)) as pool:
        waiting: set[Future] = {pool.submit(_run_process, job, free) for job in todo}
        try:
            while waiting:
                done, waiting = wait(waiting, return_when=FIRST_COMPLETED)
                for future in done:
                    name, found = future.result()
                    bar.update()
                    bar.set_postfix_str(f"{name}: AP {found['AP'][kind]['AP']:.1f}")
                    yield name, found
        finally:
            for future in waiting:
                future.cancel()


@contextmanager
def _only(device: str) -> Iterator[None]:
    """Train on one device, where several would be visible."""
    import torch

    if device == "cpu":
        yield
        return
    with torch.cuda.device(device):
        yield


def _run_process(job: CandidateJob, free: Queue[str]) -> tuple[str, dict[str, Any]]:
    """One candidate in a process of its own on the next free device; what it prints goes into a log file."""
    device = free.get()
    folder = Path(job.folder)
    try:
        job.write(folder / "job.txt")
        visible = device.partition(":")[2]  # none on the CPU
        environment = {**os.environ, "CUDA_VISIBLE_DEVICES": visible}
        log = folder / "process.log"
        with log.open("w") as file:
            command = [sys.executable, "-m", "mmssl_dynamic.detection.candidate", str(folder / "job.txt")]
            done = subprocess.run(command, stdout=file, stderr=subprocess.STDOUT, env=environment, check=False)
        found = job.finished()
        if done.returncode or found is None:
            lines = [line for line in log.read_text(errors="replace").splitlines() if line.startswith("error: ")]
            reason = lines[-1].removeprefix("error: ") if lines else f"status {done.returncode}"
            raise UserError(f"candidate '{job.name}' failed: {reason} See {log}; run again to go on from here.")
        return job.name, found
    finally:
        free.put(device)


def _result(
    plan: DetectionPlan,
    method: RoutingMethod,
    net: SuperNetwork,
    full: str,
    left: Sequence[str],
    figures: dict[str, dict[str, Any]],
    dropped: list[DroppedSubnet],
    detector: Config,
    det_config: PathLike,
    rounds: Sequence[tuple[int, int]],
    trained: int,
    start: float,
) -> RoutingResult:
    baseline = figures[full]["AP"][plan.kind]["AP"]
    side = 224  # of images to count multiply-accumulates with: detectors see images of many sizes

    def score(name: str) -> SubnetScore:
        found = figures[name]["AP"][plan.kind]["AP"]
        return SubnetScore(
            name, found, None, found - baseline, net.num_parameters(name), complexity(net, name, side).macs
        )

    protocol = {
        "method": "fine-tuning with early stopping",
        "metric": f"AP of {plan.kind} in percent",
        "selection": "the detector's validation set",
        "gain_over_full": "AP",
        "iterations": plan.iterations,
        "rounds": [{"subnets": size, "iterations": iterations} for size, iterations in rounds],
        "shortlist": plan.shortlist if any(entry.images == 0 for entry in dropped) else None,
        "det_config": str(det_config),
        "bn": method.bn,
        "seed": plan.seed,
        "image_size": [side, side],
        "flops": "multiply-accumulates",
    }
    cost = {
        "iterations": trained,
        "iterations_of_all": plan.iterations * (len(left) + len(dropped) + (full not in left)),
        "seconds": round(time.monotonic() - start, 1),
    }
    ranked = rank(score(name) for name in left)
    task = str(detector.get("dataset_type") or "detection")
    return RoutingResult(task, protocol, weights_fingerprint(net.state_dict()), ranked, score(full), cost, dropped)
