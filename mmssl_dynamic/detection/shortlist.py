"""A short list of candidates: what routing finds on the objects that are cut out of the training images, or chance."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
from mmengine.config import Config

from mmssl_dynamic.calibration import BNBank
from mmssl_dynamic.detection.data import DetectionData
from mmssl_dynamic.detection.object_crops import write_object_crops
from mmssl_dynamic.detection.plan import DetectionPlan
from mmssl_dynamic.downstream.task import Task
from mmssl_dynamic.errors import ConfigError
from mmssl_dynamic.execution import Execution
from mmssl_dynamic.features.networks import Networks
from mmssl_dynamic.loading import device_of, need, normalisation_of
from mmssl_dynamic.models.backbones import SDRResNet, SuperNetwork
from mmssl_dynamic.processes import Processes
from mmssl_dynamic.result_cache import KeptFiles, Key
from mmssl_dynamic.routing.kept_ranking import KeptRanking
from mmssl_dynamic.routing.method import RoutingMethod


def shortlist(
    plan: DetectionPlan,
    method: RoutingMethod,
    cfg: Config,
    net: SuperNetwork,
    networks: Networks,
    data: DetectionData,
    folder: Path,
    execution: Execution,
    processes: Processes | None = None,
) -> tuple[list[str], dict[str, float]]:
    """The candidates that are fine-tuned.

    Args:
        plan: How many, and how they are found.
        method: Clusters, base network and protocol.
        cfg: Pre-training config.
        net: The super-network.
        networks: All candidates, and their BN bank, if there is one.
        data: The detector's images.
        folder: Of the routing.
        execution: Batch size and workers, whether to cut out objects and route anew, and to say what was kept.
        processes: Those that share the routing out; every one gets the list, and the first one writes.

    Returns:
        Candidates in their own order, and the accuracy in percent on cut-out objects of those it was measured of.

    Raises:
        UserError: the short list cannot be made for this network, or from these images.
    """
    processes = processes or Processes()
    count, names, bank = plan.candidates, list(networks.names or ()), networks.bank
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
    device = device_of(None, processes)
    crops = _crops(plan, data, folder, execution, processes)
    data_set = dict(type="mmssl_dynamic.ImageFolder", data_root=str(crops), with_label=True)
    objects = Task("cut-out objects", {"train": data_set}, cfg.eval_pipeline)
    normalisation = normalisation_of(cfg)
    ranking = KeptRanking(objects, normalisation, execution)
    if plan.shortlist == "cluster":
        method = replace(method, name="cluster", candidates=count)
    else:
        method = replace(method, name=plan.shortlist, finalists=max(count, method.finalists))
    router = method.router(net.to(device), BNBank.load(bank), normalisation, networks.bn or "path", processes=processes)
    result = ranking(router, names, folder / "kept")
    net.to("cpu")
    if processes.first:
        result.save(folder / "shortlist.json")
    chosen = {score.name for score in result.subnets[:count]}
    return [name for name in names if name in chosen], {s.name: s.select_accuracy for s in result.subnets}


def _crops(plan: DetectionPlan, data: DetectionData, folder: Path, execution: Execution, processes: Processes) -> Path:
    """The folder of the objects, cut out by the first process unless that has been done."""
    target = folder / "crops"
    settings = {"limit": plan.crops, "seed": plan.seed}
    inputs = {"images": data.images["train"], "classes": list(data.train.metainfo["classes"]), "settings": settings}
    steps = KeptFiles(folder / "kept", execution.again, print if execution.progress else lambda _: None)
    if processes.first:
        steps(
            "cutting out objects",
            Key("object crops", inputs),
            [target],
            lambda: write_object_crops(data.train, target, plan.crops, seed=plan.seed),
        )
    processes.wait()
    return target
