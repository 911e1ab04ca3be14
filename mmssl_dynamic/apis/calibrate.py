"""BatchNorm statistics of the sub-networks of a checkpoint: what ``tools/calibrate_bn.py`` does."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from mmssl_dynamic.calibration import BNBank, CalibrationImages, calibrate_bank
from mmssl_dynamic.calibration.bn_bank import BANK_FILE
from mmssl_dynamic.calibration.calibrate import check_source
from mmssl_dynamic.clusters import Clusters
from mmssl_dynamic.errors import ConfigError
from mmssl_dynamic.loading import load_super_network
from mmssl_dynamic.locks import locks_file
from mmssl_dynamic.outputs import check_output_folder

PathLike = str | os.PathLike[str]


def _bank_file(given: Mapping[str, Any]) -> Path:
    """What is written, by the arguments of :func:`calibrate`; the folder may be that of a training that goes on."""
    return (Path(given["checkpoint"]).parent if given["out"] is None else Path(given["out"])) / BANK_FILE


@locks_file(_bank_file)
def calibrate(
    config: PathLike,
    checkpoint: PathLike,
    out: PathLike | None = None,
    *,
    clusters: PathLike | None = None,
    source: str | None = None,
    transforms: str = "eval",
    bn: Sequence[str] | None = None,
    images: int = 2000,
    batch_size: int = 200,
    seed: int = 0,
    num_workers: int = 0,
    device: str | None = None,
    cfg_options: dict[str, Any] | None = None,
    progress: bool = True,
) -> BNBank:
    """Write the BN bank of a checkpoint: what ``tools/calibrate_bn.py`` does.

    Args:
        config: Pre-training config.
        checkpoint: Of the run.
        out: Folder for ``bn_bank.safetensors``; that of the checkpoint when left out, where all verbs look for it.
        clusters: Clusters file; ``clusters_file`` of the config when left out.
        source: Whose images the statistics of a path come from: ``'cluster'``, ``'all'`` or ``'mix'``, see
            :func:`~mmssl_dynamic.calibration.calibrate_bank`; those that it trained on when left out.
        transforms: ``'eval'`` or ``'train'``, see :class:`~mmssl_dynamic.calibration.CalibrationImages`.
        bn: ``'path'``, ``'prefix'`` or both; all that the network has when left out.
        images: Images per sub-network.
        batch_size: Images per batch.
        seed: Of the sample of images.
        num_workers: Loader processes.
        device: Such as ``'cuda:0'``.
        cfg_options: Overrides of the config.
        progress: Show a bar with the time left.

    Raises:
        UserError: anything that does not fit; nothing is written then.
    """
    folder = Path(checkpoint).parent if out is None else Path(out)
    check_output_folder(folder)
    cfg, net = load_super_network(config, checkpoint, device, cfg_options)
    split: Clusters | None = None
    training = cfg.get("train_dataloader", {}).get("dataset", {})
    paths = bool(getattr(net.space, "paths", ()))
    source = check_source(source, paths) if source or training.get("subnet_data", "cluster") == "cluster" else "all"
    data = CalibrationImages.of(cfg, transforms, num_workers)
    if paths and source != "all":
        file = clusters or training.get("clusters_file") or cfg.get("clusters_file")
        if file is None:
            raise ConfigError(
                "calibration needs the clusters that the sub-networks trained on: give --clusters or set clusters_file."
            )
        split = Clusters.load(file)
    bank = calibrate_bank(
        net,
        data,
        split,
        bn=bn,
        images=images,
        batch_size=batch_size,
        seed=seed,
        source=source,
        progress=progress,
    )
    file = folder / BANK_FILE
    bank.save(file)
    return replace(bank, source=f"BN bank {file}")
