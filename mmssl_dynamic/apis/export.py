"""Sub-networks as plain backbones in files: what ``tools/export.py`` does."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from mmssl_dynamic.calibration import BNBank
from mmssl_dynamic.calibration.bn_bank import network_statistics_fingerprint
from mmssl_dynamic.calibration.statistics import apply_bank, find_bank
from mmssl_dynamic.errors import ConfigError
from mmssl_dynamic.export import ExportReport, InputImages, export_subnet
from mmssl_dynamic.export.formats import default_file_name, find_format
from mmssl_dynamic.export.static_export import check_subnets, provenance
from mmssl_dynamic.fileio import weights_fingerprint
from mmssl_dynamic.loading import load_super_network
from mmssl_dynamic.locks import locks_file, locks_folder
from mmssl_dynamic.models.backbones import SuperNetwork
from mmssl_dynamic.outputs import check_output_file, check_output_folder
from mmssl_dynamic.routing import RoutingResult

PathLike = str | os.PathLike[str]


@locks_file()
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
        bank: BN bank; when left out the one that ``routing`` used, or else the one beside the checkpoint. Not needed by
            a sub-network whose statistics are in the checkpoint: the full network, and every network of a switchable
            one.
        bn: ``'path'`` or ``'prefix'``; what ``routing`` used, else ``'path'``, when left out.
        format: One of :data:`mmssl_dynamic.registry.FORMATS`, or ``module.Class`` of your own.
        device: Such as ``'cuda:0'``.
        cfg_options: Overrides of the config.

    Raises:
        UserError: anything that does not fit; nothing is written then.
    """
    find_format(format, Path(out))
    check_output_file(out)
    result = RoutingResult.load(routing) if routing is not None else None
    name = subnet or (result.best.name if result else None)
    if name is None:
        raise ConfigError("which sub-network is to be exported? Give --subnet NAME, or --routing for a task's best.")
    bank = bank or (result.bank if result else None)
    bn = bn or (result.protocol.get("bn") if result else None)
    cfg, net = load_super_network(config, checkpoint, device, cfg_options)
    images = InputImages.of(cfg)
    if result:
        result.check(weights_fingerprint(net.state_dict()))
        bank = find_bank(net, checkpoint, bank, [name], bn)
        _check_ranked(result, net, bank, bn)
    bank, used = apply_bank(net, [name], checkpoint, bank, bn)
    task, ranking = (result.task, result.fingerprints) if result else (None, None)
    origin = provenance(config, checkpoint, bank, task, cfg_options, ranking)
    return export_subnet(net, name, out, format, images=images, bn=used, provenance=origin)


@locks_folder()
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
        bank: BN bank; the one beside the checkpoint when left out. Not needed if all statistics are in the checkpoint.
        bn: ``'path'`` or ``'prefix'`` (of SDR only).
        format: One of :data:`mmssl_dynamic.registry.FORMATS`, or ``module.Class`` of your own.
        device: Such as ``'cuda:0'``.
        cfg_options: Overrides of the config.
        progress: Print a line for every sub-network that is written.

    Raises:
        UserError: anything that does not fit; nothing is written then, unless an export fails its check.
    """
    find_format(format)
    check_output_folder(out)
    cfg, net = load_super_network(config, checkpoint, device, cfg_options)
    images = InputImages.of(cfg)
    check_subnets(net, net.subnets, format)
    bank, used = apply_bank(net, net.subnets, checkpoint, bank, bn)
    origin = provenance(config, checkpoint, bank, None, cfg_options)
    reports = []
    for number, name in enumerate(net.subnets, start=1):
        file = Path(out) / default_file_name(name, format)
        reports.append(export_subnet(net, name, file, format, images=images, bn=used, provenance=origin))
        if progress:
            print(f"[{number}/{len(net.subnets)}] {reports[-1]}", flush=True)
    return reports


def _check_ranked(result: RoutingResult, net: SuperNetwork, bank: PathLike | None, bn: str | None) -> None:
    """Refuse statistics that the sub-networks were not ranked with: they make other networks than those that won."""
    if bank is None:
        result.check_statistics(network_statistics_fingerprint(net, result.names), None, None)
        return
    kind = bn or "path"
    result.check_statistics(BNBank.load(bank).statistics_fingerprint(result.names, kind), str(bank), kind)
