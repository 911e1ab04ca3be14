"""Routing for detection: candidates are fine-tuned with early stopping and ranked by AP (SDR Sec. 4.3).

What the full ranking costs is a fine-tuning of every sub-network. Two things make it less: a short list of candidates,
found by routing on the objects that are cut out of the training images, and successive halving of the iterations.
"""

from __future__ import annotations

import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from mmengine.config import Config
from tqdm import tqdm

from mmssl_dynamic.calibration import BNBank
from mmssl_dynamic.calibration.bn_bank import network_fingerprints, network_statistics_fingerprint
from mmssl_dynamic.calibration.statistics import find_bank
from mmssl_dynamic.detection.average_precision import check_evaluators
from mmssl_dynamic.detection.candidate import (
    CANDIDATE_FOLDER,
    CandidateJob,
    detector_backbone,
    detector_fingerprint,
)
from mmssl_dynamic.detection.candidate_runs import devices_of, run_all
from mmssl_dynamic.detection.data import DetectionData
from mmssl_dynamic.detection.detector import check_data, evaluators, prepare_detection
from mmssl_dynamic.detection.plan import DetectionPlan
from mmssl_dynamic.detection.pretrained_weights import check_normalisation
from mmssl_dynamic.detection.report import CandidateFigures, write_detection_report
from mmssl_dynamic.detection.shortlist import shortlist
from mmssl_dynamic.errors import ConfigError
from mmssl_dynamic.evaluation.complexity import complexity
from mmssl_dynamic.execution import Execution
from mmssl_dynamic.export import ExportReport, InputImages, export_subnet
from mmssl_dynamic.export.formats import default_file_name, find_format
from mmssl_dynamic.export.static_export import provenance
from mmssl_dynamic.features.networks import Networks
from mmssl_dynamic.fileio import weights_fingerprint
from mmssl_dynamic.fingerprints import precision
from mmssl_dynamic.loading import device_of, load_super_network, loaded, need, source_of
from mmssl_dynamic.locks import empty_folders, locks_folder
from mmssl_dynamic.models.backbones import SuperNetwork
from mmssl_dynamic.outputs import beside, check_output_folder
from mmssl_dynamic.processes import Processes, joined, wait_of
from mmssl_dynamic.records import plain
from mmssl_dynamic.routing.method import RoutingMethod, RoutingOutput
from mmssl_dynamic.routing.result import DroppedSubnet, RoutingResult, SubnetScore, rank
from mmssl_dynamic.subnets import FULL

PathLike = str | os.PathLike[str]
# Side of the images to count multiply-accumulates with: detectors see images of many sizes.
_SIDE = 224


@locks_folder(default="routing")
def route_detection(
    config: PathLike | Config,
    checkpoint: PathLike,
    det_config: PathLike,
    out: PathLike | None = None,
    *,
    det_options: dict[str, Any] | None = None,
    plan: DetectionPlan | None = None,
    method: RoutingMethod | None = None,
    networks: Networks | None = None,
    output: RoutingOutput | None = None,
    execution: Execution | None = None,
) -> tuple[RoutingResult, ExportReport] | None:
    """Fine-tune candidates in a detector, rank them by AP on its validation set, and export the best.

    Run again, it goes on candidate by candidate; a finished candidate runs again only if anything has changed that its
    result depends on.

    Args:
        config: Pre-training config, or its file.
        checkpoint: File with the weights of the run.
        det_config: File of mmdet's config of the detector; its backbone is replaced.
        out: Folder for ``routing.json``, ``report.html``, the exported winner, and a folder for each candidate;
            ``routing`` beside the checkpoint when left out.
        det_options: Overrides of ``det_config``.
        plan: Candidates and iterations.
        method: How the short list is made, as for classification.
        networks: The sub-networks to choose from, and the BN bank; none is needed if the checkpoint holds the
            statistics of all candidates.
        output: What is written beside the ranking.
        execution: How to run. Several devices have commas between, such as ``'cuda:0,cuda:1'``: one process trains on
            each of them at a time, on all GPUs when left out. Batch size and workers are of the short list. With a
            ``launcher``, its processes share the candidates out, each on the GPU that it was given, and the first one
            writes the results.

    Returns:
        Ranking and export; nothing in processes other than the first one.

    Raises:
        UserError: anything that does not fit, or a candidate that failed; the message names its log.
    """
    start = time.monotonic()
    plan, method, networks = plan or DetectionPlan(), method or RoutingMethod(), networks or Networks()
    output, execution = output or RoutingOutput(), Execution.of(execution, launcher=True, workers=2)
    folder, bn, format = beside(out, checkpoint, "routing"), networks.bn or "path", output.format or "mmdet"
    check_output_folder(folder)
    cfg = loaded(config)  # registers formats and scores of the user's own
    find_format(format)
    with joined(execution.launcher, wait_of(cfg)) as processes:
        places = _places(execution, processes)
        execution = replace(execution, progress=execution.progress and processes.first)
        cfg, net = load_super_network(cfg, checkpoint, "cpu")
        file, options = source_of(cfg)
        images = InputImages.of(cfg)
        detector = prepare_detection(det_config, cfg_options=det_options, training=False)
        need(detector, "train_dataloader", "val_dataloader", "val_evaluator")
        check_data(detector, ("train", "val"))
        check_evaluators(evaluators(detector, "val"), "val", masks=plan.kind == "masks")
        check_normalisation(detector, det_config, images.normalisation, f"the super-network of {file}")
        names = _all_names(net, networks.names)
        bank = find_bank(net, checkpoint, networks.bank, names, bn)
        statistics = None if bank is None else BNBank.load(bank)
        if statistics is not None:
            statistics.check(net)
        data = DetectionData(detector)
        chosen, preference = shortlist(
            plan, method, cfg, net, Networks(names, bank, bn), data, folder, execution, processes
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
            return statistics.statistics_fingerprint(names, bn)

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
                bn,
                str(det_config),
                det_options or {},
                plan.seed,
                {**shared, "BN statistics": statistics_of([name]), "architecture": backbone},
            )

        rounds = plan.rounds(len(chosen))
        if execution.again and processes.first:
            # Once: the later rounds go on from the first one. A candidate may have outlived the run that started it.
            earlier = [job(name, 0).work_dir for name in dict.fromkeys([*chosen, _full_name(net)])]
            empty_folders(earlier, CANDIDATE_FOLDER, instead="--out")
        processes.wait()
        # The last round trains the full network, too, as the baseline of the gains.
        full = _full_name(net)
        total = sum(size for size, _ in rounds) + 1
        left, trained = list(chosen), 0
        figures: dict[str, dict[str, Any]] = {}
        dropped: list[DroppedSubnet] = []
        with tqdm(total=total, desc="fine-tuning candidates", unit="candidate", disable=not execution.progress) as bar:
            before = 0
            for number, (_, iterations) in enumerate(rounds, start=1):
                last = number == len(rounds)
                running = list(dict.fromkeys([*left, full])) if last else left
                found = dict(run_all([job(name, iterations) for name in running], places, bar, plan.kind, processes))
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
        protocol = {
            "method": "fine-tuning with early stopping",
            "metric": f"AP of {plan.kind} in percent",
            "selection": "the detector's validation set",
            "gain_over_full": "AP",
            "iterations": plan.iterations,
            "rounds": [{"subnets": size, "iterations": iterations} for size, iterations in rounds],
            "shortlist": plan.shortlist if any(entry.images == 0 for entry in dropped) else None,
            "det_config": str(det_config),
            "bn": bn,
            "seed": plan.seed,
            "image_size": [_SIDE, _SIDE],
            "macs": "multiply-accumulates",
        }
        cost = {
            "iterations": trained,
            "iterations_of_all": plan.iterations * (len(left) + len(dropped) + (full not in left)),
            "seconds": round(time.monotonic() - start, 1),
        }
        task = str(detector.get("dataset_type") or "detection")
        ranked, baseline = _scores(
            net, full, left, {name: entry["AP"][plan.kind]["AP"] for name, entry in figures.items()}
        )
        result = RoutingResult(task, protocol, weights_fingerprint(net.state_dict()), ranked, baseline, cost, dropped)
        result = replace(
            result,
            config=file,
            checkpoint=str(checkpoint),
            bank=None if bank is None else str(bank),
            cfg_options=plain(options),
            statistics=(
                network_fingerprints(net, result.ranked)
                if statistics is None
                else statistics.fingerprints(result.ranked, bn)
            ),
            inputs={
                "weights": result.weights_fingerprint,
                "BN statistics": statistics_of(result.names),
                "images": data.images,
                "normalisation": images.normalisation.record(),
            },
        )
    if not execution.first:
        return None
    result.save(folder / "routing.json")
    if statistics is not None:
        statistics.apply(net, [result.best.name], bn)
    origin = provenance(file, checkpoint, bank, result.task, options, result.fingerprints)
    report = export_subnet(
        net, result.best.name, folder / default_file_name(result.best.name, format), format,
        images=images, bn=bn if bank is not None else "checkpoint", provenance=origin,
    )  # fmt: skip
    write_detection_report(
        CandidateFigures(
            result, {name: entry["AP"] for name, entry in figures.items()}, preference, plan.shortlist, str(report),
            report.snippet, (len(names) + (full not in names)) * plan.iterations, trained,
            {name: entry.get("classes", {}).get(plan.kind, {}) for name, entry in figures.items()},
        ),
        folder / "report.html", output.command,
    )  # fmt: skip
    return result, report


def _places(execution: Execution, processes: Processes) -> list[str]:
    """Devices to train on: those that were named, or of several processes the one of this.

    Raises:
        ConfigError: one of them is not there, or several are named for a process that has one.
    """
    names = None if execution.device is None else [name.strip() for name in execution.device.split(",")]
    if execution.launcher == "none":
        return devices_of(names)
    if names is not None and len(names) > 1:
        raise ConfigError(
            f"--devices {execution.device} is for one process; with --launcher each trains on the GPU that it was "
            "given, so leave it out."
        )
    return [str(device_of(None if names is None else names[0], processes))]


def _full_name(net: SuperNetwork) -> str:
    """Name of the full network among the sub-networks."""
    return next(name for name in net.subnets if net.space.check(name) == FULL)


def _all_names(net: SuperNetwork, subnets: Sequence[str] | None) -> list[str]:
    """The sub-networks to choose from, in their own order."""
    if subnets is None:
        return list(getattr(net.space, "candidates", ())) or list(net.subnets)
    wanted = {net.space.check(name) for name in subnets}
    return [name for name, key in zip(net.space.names, net.space.keys) if key in wanted]


def _scores(
    net: SuperNetwork, full: str, left: Sequence[str], found: Mapping[str, float]
) -> tuple[list[SubnetScore], SubnetScore]:
    """Candidates, the best first, and the full network; ``found`` has their AP in percent."""

    def score(name: str) -> SubnetScore:
        gain = found[name] - found[full]
        return SubnetScore(name, found[name], None, gain, net.num_parameters(name), complexity(net, name, _SIDE).macs)

    return rank(score(name) for name in left), score(full)
