"""Routing for detection: candidates are fine-tuned with early stopping and ranked by AP (SDR Sec. 4.3).

What the full ranking costs is a fine-tuning of every sub-network. Two things make it less: a short list of candidates,
found by routing on the objects that are cut out of the training images, and successive halving of the iterations.
"""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from mmengine.config import Config
from tqdm import tqdm

from mmssl_dynamic.calibration import BNBank
from mmssl_dynamic.calibration.bn_bank import network_statistics_fingerprint
from mmssl_dynamic.calibration.statistics import find_bank
from mmssl_dynamic.detection.average_precision import check_evaluators
from mmssl_dynamic.detection.candidate import CandidateJob, detector_backbone, detector_fingerprint
from mmssl_dynamic.detection.candidate_runs import devices_of, run_all
from mmssl_dynamic.detection.data import DetectionData
from mmssl_dynamic.detection.detector import check_data, evaluators, prepare_detection
from mmssl_dynamic.detection.plan import DetectionPlan
from mmssl_dynamic.detection.pretrained_weights import check_normalisation
from mmssl_dynamic.detection.report import CandidateFigures, write_detection_report
from mmssl_dynamic.detection.shortlist import shortlist
from mmssl_dynamic.evaluation.complexity import complexity
from mmssl_dynamic.export import ExportReport, InputImages, export_subnet
from mmssl_dynamic.export.formats import default_file_name, find_format
from mmssl_dynamic.export.static_export import provenance
from mmssl_dynamic.fileio import weights_fingerprint
from mmssl_dynamic.fingerprints import precision
from mmssl_dynamic.loading import load_super_network, need
from mmssl_dynamic.locks import locks_folder
from mmssl_dynamic.models.backbones import SuperNetwork
from mmssl_dynamic.outputs import check_output_folder
from mmssl_dynamic.routing.method import RoutingMethod
from mmssl_dynamic.routing.result import DroppedSubnet, RoutingResult, SubnetScore, rank
from mmssl_dynamic.subnets import FULL

PathLike = str | os.PathLike[str]


@locks_folder()
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
    again: bool = False,
    progress: bool = True,
    command: str | None = None,
) -> tuple[RoutingResult, ExportReport]:
    """Fine-tune candidates in a detector, rank them by AP on its validation set, and export the best.

    Run again, it goes on candidate by candidate; a finished candidate runs again only if anything has changed that its
    result depends on.

    Args:
        config: Pre-training config.
        checkpoint: Of the run.
        bank: Its BN bank; the one beside the checkpoint when left out. Not needed if the checkpoint holds the
            statistics of all candidates.
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
        again: Begin every candidate anew.
        progress: Show a bar with the time left.
        command: The command line, for the report.

    Raises:
        UserError: anything that does not fit, or a candidate that failed; the message names its log.
    """
    start = time.monotonic()
    plan, method, folder = plan or DetectionPlan(), method or RoutingMethod(), Path(out)
    find_format(format)
    check_output_folder(folder)
    places = devices_of(devices)
    cfg, net = load_super_network(config, checkpoint, "cpu", cfg_options)
    images = InputImages.of(cfg)
    detector = prepare_detection(det_config, cfg_options=det_options, training=False)
    need(detector, "train_dataloader", "val_dataloader", "val_evaluator")
    check_data(detector, ("train", "val"))
    check_evaluators(evaluators(detector, "val"), "val", masks=plan.kind == "masks")
    check_normalisation(detector, det_config, images.normalisation, f"the super-network of {config}")
    names = _all_names(net, method.subnets)
    bank = find_bank(net, checkpoint, bank, names, method.bn)
    statistics = None if bank is None else BNBank.load(bank)
    if statistics is not None:
        statistics.check(net)
    data = DetectionData(detector)
    chosen, preference = shortlist(
        plan, method, cfg, net, bank, data, names, folder, batch_size, num_workers, again, progress
    )
    shared = {
        "weights": weights_fingerprint(net.state_dict()),
        "detector": detector_fingerprint(detector),
        "images": data.images,
        "precision": precision(places[0]),
    }

    def statistics_of(names: Sequence[str]) -> str:
        if statistics is None:
            return network_statistics_fingerprint(net, names)
        return statistics.statistics_fingerprint(names, method.bn)

    def job(name: str, iterations: int) -> CandidateJob:
        backbone, channels = detector_backbone(net, name, detector)
        return CandidateJob(
            name,
            iterations,
            str(folder / "candidates"),
            backbone,
            channels,
            str(checkpoint),
            None if bank is None else str(bank),
            method.bn,
            str(det_config),
            det_options or {},
            plan.seed,
            {**shared, "BN statistics": statistics_of([name]), "architecture": backbone},
        )

    rounds = plan.rounds(len(chosen))
    if again:
        for name in {*chosen, _full_name(net)}:  # once: the later rounds go on from the first one
            shutil.rmtree(job(name, 0).work_dir, ignore_errors=True)
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
            found = dict(run_all([job(name, iterations) for name in running], places, bar, plan.kind))
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
    result = replace(
        result,
        config=str(config),
        checkpoint=str(checkpoint),
        bank=None if bank is None else str(bank),
        inputs={
            "weights": result.weights_fingerprint,
            "BN statistics": statistics_of(result.names),
            "images": data.images,
            "normalisation": images.normalisation.record(),
        },
    )
    result.save(folder / "routing.json")
    if statistics is not None:
        statistics.apply(net, [result.best.name], method.bn)
    origin = provenance(config, checkpoint, bank, result.task, cfg_options, result.fingerprints)
    report = export_subnet(
        net, result.best.name, folder / default_file_name(result.best.name, format), format,
        images=images, bn=method.bn if bank is not None else "checkpoint", provenance=origin,
    )  # fmt: skip
    write_detection_report(
        CandidateFigures(
            result, {name: entry["AP"] for name, entry in figures.items()}, preference, plan.shortlist, str(report),
            report.snippet, (len(names) + (full not in names)) * plan.iterations, trained,
            {name: entry.get("classes", {}).get(plan.kind, {}) for name, entry in figures.items()},
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
        "macs": "multiply-accumulates",
    }
    cost = {
        "iterations": trained,
        "iterations_of_all": plan.iterations * (len(left) + len(dropped) + (full not in left)),
        "seconds": round(time.monotonic() - start, 1),
    }
    ranked = rank(score(name) for name in left)
    task = str(detector.get("dataset_type") or "detection")
    return RoutingResult(task, protocol, weights_fingerprint(net.state_dict()), ranked, score(full), cost, dropped)
