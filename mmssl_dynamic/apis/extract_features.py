"""Pooled features of the training images: what ``mmssl-dynamic extract-features`` does."""

from __future__ import annotations

import os
from dataclasses import replace

from mmengine.config import Config

from mmssl_dynamic.calibration.statistics import apply_bank
from mmssl_dynamic.datasets.batches import build_dataset
from mmssl_dynamic.execution import Execution
from mmssl_dynamic.features import Features
from mmssl_dynamic.features.extract import write_features
from mmssl_dynamic.loading import device_of, load_backbone, loaded, need, normalisation_of
from mmssl_dynamic.locks import locks_file
from mmssl_dynamic.processes import joined, wait_of
from mmssl_dynamic.subnets import FULL

PathLike = str | os.PathLike[str]


@locks_file()
def extract_features(
    config: PathLike | Config,
    checkpoint: PathLike,
    out: PathLike,
    *,
    subnet: str = FULL,
    bank: PathLike | None = None,
    limit_images: int | None = None,
    execution: Execution | None = None,
) -> Features:
    """Write ``F.npy`` and ``F.json``, the features that images are clustered by (SDR Sec. 4.2).

    A run that was stopped goes on where it was when started again with the same arguments.

    Args:
        config: Pre-training config, or its file, with ``extract_dataloader`` and ``eval_pipeline``.
        checkpoint: File with the weights of that config's model.
        out: File of the features, ``.npy``.
        subnet: Sub-network of a super-network.
        bank: BN bank of the checkpoint, for a sub-network other than the full one; the one beside it when left out.
        limit_images: Only so many images, evenly spaced over the data set.
        execution: How to run; batch size and workers are those of ``extract_dataloader`` when left out. With a
            ``launcher``, its processes share the images out, and the first one writes.

    Returns:
        The features, mapped from the file.

    Raises:
        UserError: anything that does not fit.
    """
    cfg = loaded(config)
    need(cfg, "extract_dataloader")
    loader = cfg.extract_dataloader
    defaults = {"batch_size": loader.get("batch_size", 64), "workers": loader.get("num_workers", 0)}
    execution = Execution.of(execution, launcher=True, **defaults)
    with joined(execution.launcher, wait_of(cfg)) as processes:
        backbone = load_backbone(cfg, checkpoint, device_of(execution.device, processes))
        apply_bank(backbone, [subnet], checkpoint, bank)
        dataset = build_dataset(loader.dataset)
        how = replace(execution, progress=execution.progress and processes.first)
        return write_features(
            backbone, dataset, normalisation_of(cfg), out, subnet, limit_images, how, processes=processes
        )
