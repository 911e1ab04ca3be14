"""The network for each task within a budget, out of what was measured: what ``select`` does."""

from __future__ import annotations

import json
import os
from collections.abc import Container, Sequence
from dataclasses import dataclass
from itertools import chain, count
from pathlib import Path
from typing import Any

from mmengine.config import Config

from mmssl_dynamic.apis.export import export
from mmssl_dynamic.budget import Budget
from mmssl_dynamic.calibration.bn_bank import network_fingerprints
from mmssl_dynamic.calibration.statistics import apply_bank
from mmssl_dynamic.errors import ArtifactError, ConfigError
from mmssl_dynamic.export.formats import default_file_name, find_format
from mmssl_dynamic.fileio import read_json, weights_fingerprint
from mmssl_dynamic.loading import load_config, load_super_network
from mmssl_dynamic.locks import locks_folder
from mmssl_dynamic.outputs import check_output_folder
from mmssl_dynamic.selection import Choice, DeviceTable, TaskCandidates, choose, read_results
from mmssl_dynamic.visualization.budget_plot import budget_plot
from mmssl_dynamic.visualization.routing_plots import save_figure
from mmssl_dynamic.writing import write_json

PathLike = str | os.PathLike[str]
SCHEMA_VERSION = 1
#: The file of all choices in the folder of the output.
RECORD = "select.json"


@locks_folder()
def select(
    results: Sequence[PathLike],
    budget: Budget | None = None,
    *,
    device_table: PathLike | None = None,
    out: PathLike | None = None,
    format: str | None = None,
    cfg_options: dict[str, Any] | None = None,
) -> list[Choice]:
    """Choose the most accurate network within a budget for every task.

    Args:
        results: ``routing.json`` of routing, ``results.json`` of an evaluation or a transfer, or folders with them.
        budget: What a network may cost; no limit when left out.
        device_table: Latencies of a device, as ``latency`` writes them.
        out: Folder for ``select.json``, a picture for each task, and exports.
        format: Export the chosen networks in this format, one of :data:`mmssl_dynamic.registry.FORMATS`.
        cfg_options: Overrides of the config of the super-network, for the export, beside those that the results name.

    Returns:
        A choice for each task, in the order of the results.

    Raises:
        UserError: anything that does not fit; nothing is written then.
    """
    budget = budget or Budget()
    if format is not None:
        if out is None:
            raise ConfigError("exports need a folder: give --out.")
        find_format(format)
    tasks = [task for path in results for task in read_results(path)]
    if device_table is not None:
        table = DeviceTable.load(device_table)
        tasks = [table.priced(task) for task in tasks]
    choices = [choose(task, budget) for task in tasks]
    if out is None:
        return choices
    check_output_folder(out)
    folder, names = Path(out), _file_names(choices)
    exports = _exported(choices, folder, format, cfg_options) if format is not None else {}
    for choice, name in zip(choices, names):
        save_figure(budget_plot(choice), folder / f"budget_{name}")
    record = [{**choice.record(), "export": exports.get(_Network.of(choice))} for choice in choices]
    source = None if device_table is None else str(device_table)
    write_json(folder / RECORD, {"schema_version": SCHEMA_VERSION, "device_table": source, "choices": record})
    return choices


def exported(out: PathLike) -> list[str]:
    """Files that :func:`select` exported into a folder, each once."""
    choices = read_json(Path(out) / RECORD, "choice")["choices"]
    return list(dict.fromkeys(choice["export"] for choice in choices if choice["export"] is not None))


def _file_names(choices: Sequence[Choice]) -> list[str]:
    """Of the pictures; tasks of the same name get a number."""
    names: list[str] = []
    for choice in choices:
        plain = "".join(c if c.isalnum() or c in "-_." else "_" for c in choice.task.task)
        taken = [name for name in names if name == plain or name.startswith(f"{plain}_")]
        names.append(f"{plain}_{len(taken) + 1}" if taken else plain)
    return names


@dataclass(frozen=True)
class _Network:
    """What tells one exported network from another.

    Attributes:
        weights: Fingerprint of the super-network's weights.
        name: Of the sub-network.
        files: Names of config, checkpoint and bank, and which of the bank's statistics.
        statistics: Fingerprint of those that it was measured with; a bank may have been written anew meanwhile.
        options: That the config was read with, as JSON.
    """

    weights: str
    name: str | None
    files: tuple[tuple[str, str | None], ...]
    statistics: str | None
    options: str

    @classmethod
    def of(cls, choice: Choice) -> _Network:
        """The chosen one."""
        task, name = choice.task, None if choice.chosen is None else choice.chosen.name
        statistics = None if name is None else task.statistics.get(name)
        options = json.dumps(task.cfg_options, sort_keys=True)
        return cls(task.weights_fingerprint, name, tuple(sorted(task.files.items())), statistics, options)


def _exported(
    choices: Sequence[Choice], out: Path, format: str, cfg_options: dict[str, Any] | None
) -> dict[_Network, str]:
    """Export what was chosen, each network once; the files by network."""
    wanted = {_Network.of(choice): (choice.task, choice.chosen.name) for choice in choices if choice.chosen is not None}
    sources = {network: _source(task, subnet, cfg_options) for network, (task, subnet) in wanted.items()}
    files: dict[_Network, str] = {}
    for network, (task, subnet) in wanted.items():
        name = _free_name(default_file_name(subnet, format), network, {Path(file).name for file in files.values()})
        bank, bn = task.files["bank"], task.files["bn"]
        (report,) = export(*sources[network], out / name, subnet, bank=bank, bn=bn, format=format)
        files[network] = str(report.path)
    return files


def _free_name(name: str, network: _Network, taken: Container[str]) -> str:
    """Name of a file: networks of the same name, of other weights or other statistics, get more of one."""
    weights = network.weights[:8]
    names = chain([name, f"{weights}_{name}"], (f"{weights}_{number}_{name}" for number in count(2)))
    return next(free for free in names if free not in taken)


def _source(task: TaskCandidates, subnet: str, cfg_options: dict[str, Any] | None) -> tuple[Config, str]:
    """Config and checkpoint that a result names.

    Raises:
        ArtifactError: one is not there, the checkpoint holds other weights by now, or it or the bank holds other
            BatchNorm statistics of the sub-network.
    """
    file, checkpoint = (_there(task, kind) for kind in ("config", "checkpoint"))
    config, net = load_super_network(load_config(file, {**task.cfg_options, **(cfg_options or {})}), checkpoint, "cpu")
    if weights_fingerprint(net.state_dict()) != task.weights_fingerprint:
        raise ArtifactError(
            f"{task.source} was computed with other weights than {checkpoint} holds now, so what was measured is not "
            "what would be exported; compute the result anew, or put the checkpoint back."
        )
    bank, _ = apply_bank(net, [subnet], checkpoint, task.files["bank"], task.files["bn"])
    (statistics,) = network_fingerprints(net, [subnet]).values()
    where = f"checkpoint {checkpoint}" if bank is None else f"BN bank {bank}"
    remedy = "compute the result anew, or export by hand with `mmssl-dynamic export`"
    task.check_statistics(subnet, statistics, where, remedy)
    return config, checkpoint


def _there(task: TaskCandidates, kind: str) -> str:
    file = task.files[kind]
    if file is None or not Path(file).is_file():
        raise ArtifactError(
            f"{task.source} names the {kind} {file}, which is not there; run this where it is, or export by hand with "
            "tools/export.py."
        )
    return file
