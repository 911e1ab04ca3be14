"""The artifact ``bn_bank.safetensors``: BatchNorm statistics of every sub-network of one set of weights.

Two kinds of statistics (both after SDR Sec. 5.1, which resets BN with the data of each sub-network):

* ``path``: all layers of a sub-network, from its own D_i. What the paper does. Of a slimmable network's sub-networks,
  which all train on all images, from a sample of these.
* ``prefix``: of SDR's paths only: the layers of a stage, from the union of the D_i of all paths that begin with the
  same indices. Paths with a common beginning then share the features of its stages exactly, and routing computes them
  once.

Tensors are named ``path/<sub-network>/<layer>/mean|var`` and ``prefix/<prefix>/<layer>/mean|var``; prefixes are
``stem``, ``0``, ``0-3``, ... Where paths have several widths, paths of one width share their beginnings, and those of
a narrower one have prefixes of their own: ``stem@w0.5``, ``0-3@w0.5``. C channels.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

import torch
from safetensors import safe_open
from torch import Tensor

from mmssl_dynamic.errors import ArtifactError, ConfigError, MissingStatisticsError, first_line
from mmssl_dynamic.file_checks import existing_file
from mmssl_dynamic.fileio import weights_fingerprint
from mmssl_dynamic.fingerprints import fingerprint, statistics_fingerprint
from mmssl_dynamic.models.backbones import BNStatistics, SuperNetwork
from mmssl_dynamic.records import read_record
from mmssl_dynamic.subnets import (
    FULL,
    PathSpace,
    SubnetSpace,
    parse_path,
    path_name,
    space_from_record,
    split_width,
)
from mmssl_dynamic.writing import save_safetensors, to_json

SCHEMA_VERSION = 2
#: What a training calls the bank that it writes at its end, beside its checkpoints.
BANK_FILE = "bn_bank.safetensors"
KINDS = ("path", "prefix")
STEM = "stem"
_REMEDY = "write it with tools/calibrate_bn.py"


@dataclass(frozen=True)
class _Header:
    """What is read of a bank's header."""

    fingerprint: str
    space: dict[str, Any]


def stage_of(layer: str) -> int:
    """Stage (0 to 3) of a layer's name such as ``'layer2.0.bn1'``; -1 for the stem."""
    match = re.match(r"layer(\d+)\.", layer)
    return int(match.group(1)) - 1 if match else -1


def prefix_name(path: str, stage: int) -> str:
    """Prefix of a path that decides the features after ``stage``, at the width of the path; the stem is stage -1.

    ``('0-3-1-2', 1) -> '0-3'``, ``('0-3-1-2@w0.5', 1) -> '0-3@w0.5'``, ``('0-3-1-2', -1) -> 'stem'``.
    """
    indices, width = split_width(path)
    return (STEM if stage < 0 else path_name(parse_path(indices)[: stage + 1])) + width


def prefix_members(space: PathSpace, names: Iterable[str] | None = None) -> dict[str, tuple[int, str]]:
    """All prefixes of sub-networks: the stage that each decides, and the first sub-network that begins with it.

    Stems come first and shorter prefixes before longer ones: 1 + 4 + 16 + 64 + 256 for four groups.

    Args:
        space: The sub-networks.
        names: Those whose prefixes are wanted; all but the full one when left out.
    """
    wanted = list(space.candidates if names is None else names)
    found: dict[str, tuple[int, str]] = {}
    for stage in range(-1, len(space.stage_groups)):
        for name in wanted:
            found.setdefault(prefix_name(name, stage), (stage, name))
    return found


def prefixes(space: PathSpace) -> tuple[str, ...]:
    """Names of all prefixes, in the order of :func:`prefix_members`."""
    return tuple(prefix_members(space))


@dataclass
class BNBank:
    """Statistics of all sub-networks of one set of weights.

    Attributes:
        fingerprint: :func:`~mmssl_dynamic.fileio.weights_fingerprint` of the super-network they belong to.
        space: Its sub-networks.
        path: Statistics of whole sub-networks by name, ``'full'`` among them.
        prefix: Statistics of single stages by prefix. May be empty.
        meta: Images per entry, seed and batch size of the calibration.
        source: The file it was read from, for messages.
    """

    fingerprint: str
    space: SubnetSpace
    path: dict[str, BNStatistics] = field(default_factory=dict)
    prefix: dict[str, BNStatistics] = field(default_factory=dict)
    meta: dict[str, Any] = field(default_factory=dict)
    source: str = "the BN bank"

    @classmethod
    def of(cls, net: SuperNetwork, **meta: Any) -> BNBank:
        """An empty bank for the weights that ``net`` has now."""
        return cls(weights_fingerprint(net.state_dict()), net.space, meta=meta)

    def statistics(self, name: str, bn: str = "path") -> BNStatistics:
        """Mean and variance, each (C,), of every layer of a sub-network.

        The full network has no prefix: its statistics are those of ``path`` for both kinds.

        Args:
            name: Name of the sub-network.
            bn: ``'path'`` or ``'prefix'``.

        Raises:
            ConfigError: unknown ``bn``.
            SubnetError: the super-network has no such sub-network.
            MissingStatisticsError: the bank does not hold its statistics.
        """
        if bn not in KINDS:
            raise ConfigError(f"unknown kind of BatchNorm statistics '{bn}'; choose one of {', '.join(KINDS)}.")
        key = self.space.check(name)
        if bn == "path" or key == FULL:
            if key not in self.path:
                raise MissingStatisticsError(f"{self.source} holds no statistics of sub-network '{name}'; {_REMEDY}.")
            return self.path[key]
        if not isinstance(self.space, PathSpace):
            raise ConfigError("a slimmable network has no prefix statistics; use bn=path.")
        merged: BNStatistics = {}
        for stage in range(-1, len(self.space.stage_groups)):
            prefix = prefix_name(key, stage)
            if prefix not in self.prefix:
                raise MissingStatisticsError(
                    f"{self.source} holds no prefix statistics{f' of {prefix!r}' if self.prefix else ''}; write them "
                    "with tools/calibrate_bn.py --bn path prefix, or use bn=path."
                )
            merged.update(self.prefix[prefix])
        return merged

    def statistics_fingerprint(self, names: Iterable[str], bn: str = "path") -> str:
        """Fingerprint of the statistics of some sub-networks, in any order; of those that are not there, that.

        Args:
            names: Names of the sub-networks.
            bn: ``'path'`` or ``'prefix'``.

        Raises:
            ConfigError, SubnetError: as :meth:`statistics`.
        """
        return _fingerprint(self.space, names, lambda name: self.statistics(name, bn))

    def fingerprints(self, names: Iterable[str], bn: str = "path") -> dict[str, str]:
        """Fingerprint of the statistics of each of some sub-networks, by name.

        Raises:
            ConfigError, SubnetError, MissingStatisticsError: as :meth:`statistics`.
        """
        return {name: statistics_fingerprint(self.statistics(name, bn)) for name in names}

    def check(self, net: SuperNetwork) -> None:
        """Refuse a network that the statistics were not made for.

        Raises:
            ArtifactError: it has other weights or other paths.
        """
        if self.space != net.space:
            raise ArtifactError(
                f"{self.source} belongs to a network with {_options(self.space)}, not {_options(net.space)}; {_REMEDY} "
                "for this config."
            )
        if self.fingerprint != weights_fingerprint(net.state_dict()):
            raise ArtifactError(
                f"{self.source} belongs to other weights than this checkpoint's; give the bank that was made for the "
                f"checkpoint or {_REMEDY}."
            )

    def apply(self, net: SuperNetwork, names: Iterable[str] | None = None, bn: str = "path") -> None:
        """Give sub-networks of ``net`` their statistics.

        Args:
            net: The super-network; must have the weights of the bank.
            names: Sub-networks; all by default.
            bn: ``'path'`` or ``'prefix'``.

        Raises:
            ArtifactError: the bank belongs to another checkpoint or network.
            SubnetError, MissingStatisticsError: as :meth:`statistics`.
        """
        self.check(net)
        found = {name: self.statistics(name, bn) for name in (net.subnets if names is None else names)}
        for name, statistics in found.items():
            net.set_bn_statistics(name, statistics)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the bank, atomically."""
        tensors = {
            f"{kind}/{name}/{layer}/{what}": tensor.detach().to("cpu", torch.float32).contiguous().clone()
            for kind in KINDS
            for name, statistics in getattr(self, kind).items()
            for layer, pair in statistics.items()
            for what, tensor in zip(("mean", "var"), pair)
        }
        header = {
            "schema_version": SCHEMA_VERSION,
            "fingerprint": self.fingerprint,
            "space": self.space.record(),
            **self.meta,
        }
        save_safetensors(tensors, path, {"bn_bank": to_json(header)})

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> BNBank:
        """Read a bank.

        Raises:
            ArtifactError: the file is missing, broken, no bank, or of another schema version.
        """
        file = existing_file(path, "BN bank", _REMEDY)
        tensors: dict[str, Tensor] = {}
        try:
            with safe_open(str(file), framework="pt") as reader:
                header = json.loads((reader.metadata() or {}).get("bn_bank", "null"))
                if not isinstance(header, dict) or "schema_version" not in header:
                    raise ArtifactError(f"{file} is not a BN bank; {_REMEDY}.")
                version = header.pop("schema_version")
                if version != SCHEMA_VERSION:
                    raise ArtifactError(
                        f"BN bank {file} has schema version {version}, not {SCHEMA_VERSION}; {_REMEDY}."
                    )
                tensors = {key: reader.get_tensor(key) for key in reader.keys()}  # noqa: SIM118  not a dict
            known = read_record(_Header, header)
            space = space_from_record(known.space)
        except ArtifactError:
            raise
        except Exception as error:  # of damaged headers nearly anything
            raise ArtifactError(f"BN bank {file} is broken ({first_line(error)}); {_REMEDY}.") from error
        meta = {key: value for key, value in header.items() if key not in ("fingerprint", "space")}
        bank = cls(known.fingerprint, space, meta=meta, source=f"BN bank {file}")
        bank._fill(tensors)
        return bank

    def _fill(self, tensors: dict[str, Tensor]) -> None:
        for key, mean in tensors.items():
            parts = key.split("/")
            if len(parts) != 4 or parts[0] not in KINDS or parts[3] not in ("mean", "var"):
                raise ArtifactError(f"{self.source} holds an unknown tensor '{key}'; {_REMEDY}.")
            kind, name, layer, what = parts
            if what == "var":
                continue
            var = tensors.get(f"{kind}/{name}/{layer}/var")
            if var is None:
                raise ArtifactError(f"{self.source} lacks '{kind}/{name}/{layer}/var'; {_REMEDY}.")
            sound = mean.ndim == 1 and mean.shape == var.shape and mean.isfinite().all() and var.isfinite().all()
            if not sound or bool((var < 0).any()):
                raise ArtifactError(f"{self.source}: '{key}' and its variance are no BatchNorm statistics; {_REMEDY}.")
            getattr(self, kind).setdefault(name, {})[layer] = (mean, var)


def network_statistics_fingerprint(net: SuperNetwork, names: Iterable[str]) -> str:
    """As :meth:`BNBank.statistics_fingerprint`, of the statistics that a super-network holds."""
    return _fingerprint(net.space, names, net.bn_statistics)


def network_fingerprints(net: SuperNetwork, names: Iterable[str]) -> dict[str, str]:
    """As :meth:`BNBank.fingerprints`, of the statistics that a super-network holds."""
    return {name: statistics_fingerprint(net.bn_statistics(name)) for name in names}


def _fingerprint(space: SubnetSpace, names: Iterable[str], statistics: Callable[[str], BNStatistics]) -> str:
    found: dict[str, str] = {}
    for name in names:
        try:
            found[space.check(name)] = statistics_fingerprint(statistics(name))
        except MissingStatisticsError:
            found[space.check(name)] = "missing"
    return fingerprint(found, "a BN bank")


def _options(space: SubnetSpace) -> str:
    return ", ".join(f"{key}={value}" for key, value in space.record().items() if key != "kind" and value is not None)
