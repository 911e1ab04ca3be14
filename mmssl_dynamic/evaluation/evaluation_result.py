"""The artifact ``results.json``: accuracy and cost of every network under one protocol."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any

from mmssl_dynamic.evaluation.latency import Latency
from mmssl_dynamic.records import Amount, Count, Percent, read_record
from mmssl_dynamic.result_file import ResultFile

FILE = ResultFile("evaluation", 2, "tools/evaluate.py")


@dataclass(frozen=True)
class NetworkResult:
    """One network.

    Attributes:
        name: Of the network.
        top1: Accuracy in percent.
        top5: Share of images in percent whose class is among the five likeliest; ``None`` for kNN and where there are
            no more than five classes.
        params: Learnable weights of the backbone.
        macs: Multiply-accumulates of the backbone per image (what papers on ResNets call FLOPs).
        latency: Of the backbone; ``None`` if it was not measured.
        seconds: That the evaluation took.
    """

    name: str
    top1: Percent
    top5: Percent | None
    params: Count
    macs: Count
    latency: Latency | None
    seconds: Amount

    def record(self) -> dict[str, Any]:
        """As plain data."""
        return {**asdict(self), "latency": None if self.latency is None else self.latency.record()}

    @classmethod
    def from_record(cls, record: Mapping[str, Any]) -> NetworkResult:
        """What :meth:`record` gave.

        Raises:
            RecordError: it is no such record.
        """
        return read_record(cls, record)


def by_cost(networks: Iterable[NetworkResult]) -> list[NetworkResult]:
    """Cheapest first; equally costly ones in the order they came."""
    return sorted(networks, key=lambda network: (network.macs, network.params))


@dataclass(frozen=True)
class EvaluationResult:
    """Results of all networks, with everything needed to repeat them.

    Attributes:
        protocol: Kind, and every value that can change a result.
        data: Name, sizes and fingerprints of the training and test images.
        weights_fingerprint: Of the backbone's weights.
        networks: Cheapest first.
        versions: Of the software.
        config, checkpoint, bank: The files the networks came from, where known.
        cfg_options: Options that the config was read with.
        statistics: Fingerprints of the BatchNorm statistics that networks were measured with, by their names.
    """

    protocol: dict[str, Any]
    data: dict[str, Any]
    weights_fingerprint: str
    networks: list[NetworkResult]
    versions: dict[str, str]
    config: str | None = None
    checkpoint: str | None = None
    bank: str | None = None
    cfg_options: dict[str, Any] = field(default_factory=dict)
    statistics: dict[str, str] = field(default_factory=dict)
    source: str = field(default="the results", compare=False)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write ``results.json``, atomically."""
        data = {f.name: getattr(self, f.name) for f in fields(self) if f.name not in ("source", "networks")}
        FILE.save(path, {**data, "networks": [network.record() for network in self.networks]})

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> EvaluationResult:
        """Read ``results.json``.

        Raises:
            ArtifactError: the file is missing, broken, no such result, or of another schema version.
        """

        def build(data: dict[str, Any], source: str) -> EvaluationResult:
            result = replace(read_record(cls, data, without=["source"]), source=source)
            if not result.networks:
                raise ValueError("holds no network")
            return result

        return FILE.load(path, build)

    def table(self) -> str:
        """One line per network, cheapest first, and how the latency was measured."""
        width = max(len("network"), *(len(network.name) for network in self.networks))
        lines = [f"{'network':<{width}}  top-1 %  top-5 %  params M    MACs M  latency ms"]
        for network in self.networks:
            top5 = "      -" if network.top5 is None else f"{network.top5:7.2f}"
            time = "         -" if network.latency is None else f"{network.latency.median_ms:10.2f}"
            cost = f"{network.params / 1e6:8.2f}  {network.macs / 1e6:8.1f}  {time}"
            lines.append(f"{network.name:<{width}}  {network.top1:7.2f}  {top5}  {cost}")
        conditions = {network.latency.conditions for network in self.networks if network.latency is not None}
        lines += [f"latency: {condition}" for condition in sorted(conditions)]
        if len(conditions) > 1:
            lines.append("The latencies of different conditions cannot be compared.")
        return "\n".join(lines)
