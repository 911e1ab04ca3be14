"""BatchNorm statistics of the sub-networks of a checkpoint: what ``mmssl-dynamic calibrate`` does."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from mmengine.config import Config

from mmssl_dynamic.calibration import BNBank, CalibrationImages, CalibrationPlan, calibrate_bank
from mmssl_dynamic.calibration.bn_bank import BANK_FILE
from mmssl_dynamic.calibration.calibrate import check_source
from mmssl_dynamic.clusters import Clusters
from mmssl_dynamic.errors import ConfigError
from mmssl_dynamic.execution import Execution
from mmssl_dynamic.loading import device_of, load_super_network, loaded
from mmssl_dynamic.locks import locks_file
from mmssl_dynamic.outputs import check_output_folder
from mmssl_dynamic.processes import Processes, joined, wait_of

PathLike = str | os.PathLike[str]


def _bank_file(given: Mapping[str, Any]) -> Path:
    """What is written, by the arguments of :func:`calibrate`; the folder may be that of a training that goes on."""
    return (Path(given["checkpoint"]).parent if given["out"] is None else Path(given["out"])) / BANK_FILE


@locks_file(_bank_file)
def calibrate(
    config: PathLike | Config,
    checkpoint: PathLike,
    out: PathLike | None = None,
    *,
    clusters: PathLike | None = None,
    plan: CalibrationPlan | None = None,
    execution: Execution | None = None,
) -> BNBank:
    """Write the BN bank of a checkpoint: what ``mmssl-dynamic calibrate`` does.

    Args:
        config: Pre-training config, or its file.
        checkpoint: File with the weights of the run.
        out: Folder for ``bn_bank.safetensors``; that of the checkpoint when left out, where all verbs look for it.
        clusters: Clusters file; ``clusters_file`` of the config when left out.
        plan: Which statistics, and of which images.
        execution: How to run: batches of 200 images, whose statistics normalise them, and 2 workers when left out. With
            a ``launcher``, its processes share the sub-networks out, and the first one writes.

    Raises:
        UserError: anything that does not fit; nothing is written then.
    """
    folder = Path(checkpoint).parent if out is None else Path(out)
    check_output_folder(folder)
    plan, execution = plan or CalibrationPlan(), Execution.of(execution, launcher=True, batch_size=200, workers=2)
    config = loaded(config)
    with joined(execution.launcher, wait_of(config)) as processes:
        bank = _measured(config, checkpoint, clusters, plan, execution, processes)
        file = folder / BANK_FILE
        if processes.first:
            bank.save(file)
        processes.wait()
    return replace(bank, source=f"BN bank {file}")


def _measured(
    config: Config,
    checkpoint: PathLike,
    clusters: PathLike | None,
    plan: CalibrationPlan,
    execution: Execution,
    processes: Processes,
) -> BNBank:
    """The bank, of which several processes measure a part each."""
    batch_size, workers = execution.loading
    cfg, net = load_super_network(config, checkpoint, device_of(execution.device, processes))
    split: Clusters | None = None
    training = cfg.get("train_dataloader", {}).get("dataset", {})
    paths, source = bool(getattr(net.space, "paths", ())), plan.source
    own = source or training.get("subnet_data", "cluster") == "cluster"
    source = check_source(source, paths) if own else "all"
    data = CalibrationImages.of(cfg, plan.transforms, workers)
    if paths and source != "all":
        file = clusters or training.get("clusters_file") or cfg.get("clusters_file")
        if file is None:
            raise ConfigError(
                "calibration needs the clusters that the sub-networks trained on: give --clusters or set clusters_file."
            )
        split = Clusters.load(file)
    return calibrate_bank(
        net,
        data,
        split,
        bn=plan.bn,
        images=plan.images,
        batch_size=batch_size,
        seed=plan.seed,
        source=source,
        progress=execution.progress and processes.first,
        processes=processes,
    )
