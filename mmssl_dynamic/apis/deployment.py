"""From a trained super-network to backbones: BN statistics and export."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mmengine.config import Config

from mmssl_dynamic.apis.loading import load_backbone, load_config, need
from mmssl_dynamic.clustering.clusters import Clusters
from mmssl_dynamic.datasets.batches import build_dataset
from mmssl_dynamic.errors import ConfigError, MissingStatisticsError
from mmssl_dynamic.evaluation import BNBank, calibrate_bank
from mmssl_dynamic.export import ExportReport, export_subnet
from mmssl_dynamic.export.formats import default_file_name, find_format
from mmssl_dynamic.export.static_export import check_subnets
from mmssl_dynamic.fileio import weights_fingerprint
from mmssl_dynamic.models.backbones import SuperNetwork, is_super_network
from mmssl_dynamic.routing import RoutingResult

PathLike = str | os.PathLike[str]


def load_super_network(
    config: PathLike, checkpoint: PathLike, device: str | None = None, cfg_options: dict[str, Any] | None = None
) -> tuple[Config, SuperNetwork]:
    """Config and super-network of a pre-training run.

    Raises:
        ConfigError: the config's backbone is no super-network.
        ArtifactError: the checkpoint does not fit the config.
    """
    cfg = load_config(config, cfg_options)
    net = load_backbone(cfg, checkpoint, device)
    if not is_super_network(net):
        raise ConfigError(
            f"the backbone of config {config} ({type(net).__name__}) has no sub-networks; give the config of an SDR "
            "or DSPNet run."
        )
    assert isinstance(net, SuperNetwork)
    return cfg, net


def calibrate(
    config: PathLike,
    checkpoint: PathLike,
    out: PathLike,
    *,
    clusters: PathLike | None = None,
    all_images: bool = False,
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
        out: The bank, ``.safetensors``.
        clusters: Clusters file; ``clusters_file`` of the config when left out.
        all_images: Calibrate every sub-network on all images, as in the ablation that trains each of them so.
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
    if Path(out).suffix != ".safetensors":
        raise ConfigError(f"the BN bank {out} must end in .safetensors.")
    cfg, net = load_super_network(config, checkpoint, device, cfg_options)
    need(cfg, "extract_dataloader")
    split: Clusters | None = None
    data = cfg.get("train_dataloader", {}).get("dataset", {})
    if not all_images and data.get("subnet_data", "cluster") == "cluster" and getattr(net.space, "paths", ()):
        file = clusters or data.get("clusters_file") or cfg.get("clusters_file")
        if file is None:
            raise ConfigError(
                "calibration needs the clusters that the sub-networks trained on: give --clusters or set clusters_file."
            )
        split = Clusters.load(file)
    bank = calibrate_bank(
        net,
        build_dataset(cfg.extract_dataloader.dataset),
        split,
        cfg.model.get("data_preprocessor"),
        bn=bn,
        images=images,
        batch_size=batch_size,
        seed=seed,
        progress=progress,
        num_workers=num_workers,
    )
    bank.save(out)
    return bank


def export(
    config: PathLike,
    checkpoint: PathLike,
    out: PathLike,
    *,
    subnet: str | None = None,
    routing: PathLike | None = None,
    bank: PathLike | None = None,
    bn: str | None = None,
    format: str = "mmpretrain",
    device: str | None = None,
    cfg_options: dict[str, Any] | None = None,
) -> ExportReport:
    """Export one sub-network as a plain backbone: what ``tools/export.py`` does.

    Args:
        config: Pre-training config.
        checkpoint: Of the run.
        out: File to write, ``.pth`` or ``.safetensors``, ``.onnx`` for that format.
        subnet: Name of the sub-network; the winner of ``routing`` when left out.
        routing: ``routing.json`` of a task.
        bank: BN bank; the one that ``routing`` used when left out. Not needed by a sub-network whose statistics are in
            the checkpoint: the full network, and every network of a switchable one.
        bn: ``'path'`` or ``'prefix'``; what ``routing`` used, else ``'path'``, when left out.
        format: One of :data:`mmssl_dynamic.export.FORMATS`.
        device: Such as ``'cuda:0'``.
        cfg_options: Overrides of the config.

    Raises:
        UserError: anything that does not fit; nothing is written then.
    """
    find_format(format, Path(out))
    result = RoutingResult.load(routing) if routing is not None else None
    name = subnet or (result.best.name if result else None)
    if name is None:
        raise ConfigError("which sub-network is to be exported? Give --subnet NAME, or --routing for a task's best.")
    bank = bank or (result.bank if result else None)
    bn = bn or (result.protocol.get("bn") if result else None)
    _, net = load_super_network(config, checkpoint, device, cfg_options)
    if result:
        result.check(weights_fingerprint(net.state_dict()))
    used = _set_statistics(net, [name], bank, bn)
    origin = provenance(
        str(config), str(checkpoint), None if bank is None else str(bank), result.task if result else None
    )
    return export_subnet(net, name, out, format, bn=used, provenance=origin)


def export_all(
    config: PathLike,
    checkpoint: PathLike,
    out: PathLike,
    *,
    bank: PathLike | None = None,
    bn: str | None = None,
    format: str = "mmpretrain",
    device: str | None = None,
    cfg_options: dict[str, Any] | None = None,
    progress: bool = True,
) -> list[ExportReport]:
    """Export every sub-network, one after another: what ``tools/export.py --all`` does.

    Args:
        config: Pre-training config.
        checkpoint: Of the run.
        out: Folder to write ``backbone_NAME_FORMAT.pth`` (``.onnx`` for that format) into.
        bank: BN bank; not needed if all statistics are in the checkpoint.
        bn: ``'path'`` or ``'prefix'`` (of SDR only).
        format: One of :data:`mmssl_dynamic.export.FORMATS`.
        device: Such as ``'cuda:0'``.
        cfg_options: Overrides of the config.
        progress: Print a line for every sub-network that is written.

    Raises:
        UserError: anything that does not fit; nothing is written then, unless an export fails its check.
    """
    find_format(format)
    if Path(out).exists() and not Path(out).is_dir():
        raise ConfigError(f"{out} is a file; give the folder to write all sub-networks into.")
    _, net = load_super_network(config, checkpoint, device, cfg_options)
    check_subnets(net, net.subnets, format)
    used = _set_statistics(net, net.subnets, bank, bn)
    origin = provenance(str(config), str(checkpoint), None if bank is None else str(bank), None)
    reports = []
    for number, name in enumerate(net.subnets, start=1):
        file = Path(out) / default_file_name(name, format)
        reports.append(export_subnet(net, name, file, format, bn=used, provenance=origin))
        if progress:
            print(f"[{number}/{len(net.subnets)}] {reports[-1]}", flush=True)
    return reports


def _set_statistics(net: SuperNetwork, names: Sequence[str], bank: PathLike | None, bn: str | None) -> str:
    """Give sub-networks their BatchNorm statistics; returns where these are from."""
    if bank is not None:
        BNBank.load(bank).apply(net, names, bn or "path")
        return bn or "path"
    if bn is not None:
        raise ConfigError(f"--bn {bn} chooses among the statistics of a BN bank: give --bank, too.")
    for name in names:
        if not net.has_bn_statistics(name):
            raise MissingStatisticsError(
                f"the checkpoint holds no BatchNorm statistics of sub-network '{name}', which the export needs: give "
                "--bank with the bank that tools/calibrate_bn.py writes."
            )
    return "checkpoint"


def provenance(config: str | None, checkpoint: str | None, bank: str | None, task: str | None) -> dict[str, Any]:
    """What an exported file says of where it comes from."""
    return {"source": {"config": config, "checkpoint": checkpoint, "bank": bank, "routed_for": task}}
