"""Sub-networks as plain backbones in files: what ``mmssl-dynamic export`` does."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

from mmengine.config import Config

from mmssl_dynamic.calibration import BNBank
from mmssl_dynamic.calibration.bn_bank import network_statistics_fingerprint
from mmssl_dynamic.calibration.statistics import apply_bank, find_bank
from mmssl_dynamic.execution import Execution
from mmssl_dynamic.export import ExportReport, InputImages, export_subnet
from mmssl_dynamic.export.formats import FormatSpec, default_file_name, find_format
from mmssl_dynamic.export.static_export import check_subnets, provenance
from mmssl_dynamic.fileio import weights_fingerprint
from mmssl_dynamic.loading import load_super_network, loaded, source_of
from mmssl_dynamic.locks import locked_file, locked_folder, locks
from mmssl_dynamic.models.backbones import SuperNetwork
from mmssl_dynamic.routing import RoutingResult

PathLike = str | os.PathLike[str]
#: In place of the name of one sub-network.
ALL = "all"


def _locked(given: Mapping[str, Any]) -> AbstractContextManager[None]:
    """The file or, for all sub-networks, the folder that is written."""
    return locked_folder(given["out"]) if given["subnet"] == ALL else locked_file(given["out"])


@locks(_locked)
def export(
    config: PathLike | Config,
    checkpoint: PathLike,
    out: PathLike,
    subnet: str | RoutingResult,
    *,
    bank: PathLike | None = None,
    bn: str | None = None,
    format: FormatSpec = "mmpretrain",
    execution: Execution | None = None,
) -> list[ExportReport]:
    """Export sub-networks as plain backbones, and check what was written.

    Args:
        config: Pre-training config, or its file.
        checkpoint: File with the weights of the run.
        out: File to write, ``.pth`` or ``.safetensors``, or as the format has it (``.onnx``); for all sub-networks the
            folder for ``backbone_NAME_FORMAT.pth``.
        subnet: Name of the sub-network, the routing of a task, whose winner is meant, or ``'all'``.
        bank: BN bank; when left out the one that the routing used, or else the one beside the checkpoint. Not needed by
            a sub-network whose statistics are in the checkpoint: the full network, and every network of a switchable
            one.
        bn: ``'path'`` or ``'prefix'`` (of SDR only); what the routing used, else ``'path'``, when left out.
        format: One of :data:`mmssl_dynamic.registry.FORMATS`, or ``module.Class`` of one's own; with options a config
            of it, such as ``dict(type='onnx', opset=17)``.
        execution: Device, and whether to print a line for each of all sub-networks.

    Returns:
        What was written and checked, one entry for every sub-network.

    Raises:
        UserError: anything that does not fit; nothing is written then, unless the check of one of many fails.
    """
    execution = Execution.of(execution)
    cfg = loaded(config)  # registers formats of the user's own
    find_format(format, None if subnet == ALL else Path(out))
    cfg, net = load_super_network(cfg, checkpoint, execution.device)
    source = _Source(cfg, net, checkpoint)
    if subnet == ALL:
        check_subnets(net, net.subnets, format)
        files = [Path(out) / default_file_name(name, format) for name in net.subnets]
        return source.export(net.subnets, files, bank, bn, format, execution.progress)
    if isinstance(subnet, str):
        return source.export([subnet], [Path(out)], bank, bn, format)
    return source.export_winner(subnet, Path(out), bank, bn, format)


class _Source:
    """A run that sub-networks are exported from."""

    def __init__(self, cfg: Config, net: SuperNetwork, checkpoint: PathLike) -> None:
        self.net, self.checkpoint = net, checkpoint
        self.config, self.options = source_of(cfg)
        self.images = InputImages.of(cfg)

    def export_winner(
        self, result: RoutingResult, out: Path, bank: PathLike | None, bn: str | None, format: FormatSpec
    ) -> list[ExportReport]:
        """The best sub-network of a routing, with the statistics that it was ranked with."""
        result.check(weights_fingerprint(self.net.state_dict()))
        name, bn = result.best.name, bn or result.protocol.get("bn")
        bank = find_bank(self.net, self.checkpoint, bank or result.bank, [name], bn)
        _check_ranked(result, self.net, bank, bn)
        return self.export([name], [out], bank, bn, format, result=result)

    def export(
        self,
        names: Sequence[str],
        files: Sequence[Path],
        bank: PathLike | None,
        bn: str | None,
        format: FormatSpec,
        progress: bool = False,
        result: RoutingResult | None = None,
    ) -> list[ExportReport]:
        """Write sub-networks, one after another."""
        bank, used = apply_bank(self.net, names, self.checkpoint, bank, bn)
        task, ranking = (result.task, result.fingerprints) if result else (None, None)
        origin = provenance(self.config, self.checkpoint, bank, task, self.options, ranking)
        reports = []
        for number, (name, file) in enumerate(zip(names, files), start=1):
            reports.append(export_subnet(self.net, name, file, format, images=self.images, bn=used, provenance=origin))
            if progress:
                print(f"[{number}/{len(names)}] {reports[-1]}", flush=True)
        return reports


def _check_ranked(result: RoutingResult, net: SuperNetwork, bank: PathLike | None, bn: str | None) -> None:
    """Refuse statistics that the sub-networks were not ranked with: they make other networks than those that won."""
    if bank is None:
        result.check_statistics(network_statistics_fingerprint(net, result.names), None, None)
        return
    kind = bn or "path"
    result.check_statistics(BNBank.load(bank).statistics_fingerprint(result.names, kind), str(bank), kind)
