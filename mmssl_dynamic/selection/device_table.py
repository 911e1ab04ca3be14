"""The artifact of a device: how long each network takes on it. Written by ``latency``, by hand, or elsewhere."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace

import numpy as np

from mmssl_dynamic.errors import ArtifactError
from mmssl_dynamic.fileio import read_json
from mmssl_dynamic.records import Amount, Count, RecordError, read_record
from mmssl_dynamic.selection.candidates import Candidate, TaskCandidates
from mmssl_dynamic.writing import write_json

SCHEMA_VERSION = 1
KIND = "device table"


@dataclass(frozen=True)
class Measurement:
    """One network on the device.

    Attributes:
        subnet: Its name.
        latency_ms: Median over many passes, in milliseconds.
        low_ms: First decile.
        high_ms: Last decile.
        source_weights_fingerprint: Of the super-network it is a part of. Left out by hand, the name alone counts.
        weights_fingerprint: Of the export that was measured.
        file: Its name.
    """

    subnet: str
    latency_ms: Amount
    low_ms: Amount | None = None
    high_ms: Amount | None = None
    source_weights_fingerprint: str | None = None
    weights_fingerprint: str | None = None
    file: str | None = None


@dataclass(frozen=True)
class Conditions:
    """What a latency depends on beside the network.

    Attributes:
        device: Name of the processor.
        runtime: What ran the network, such as ``'onnxruntime 1.20'``.
        threads: That it used.
        batch_size: Images per pass.
        image_size: (H, W) in pixels.
    """

    device: str
    runtime: str | None = None
    threads: Count | None = None
    batch_size: Count = 1
    image_size: tuple[Count, Count] | None = None

    def runs(self, runtime: str, precision: str) -> bool:
        """Whether files of this runtime and precision were measured; conditions that do not say count as such."""
        if self.runtime is None:
            return True
        name, *rest = self.runtime.split()
        return name == runtime and precision == " ".join(word for word in rest if not word[0].isdigit())  # no version

    def __str__(self) -> str:
        """In words."""
        parts = [self.device, self.runtime, f"{self.batch_size} image{'s' * (self.batch_size != 1)} a pass"]
        if self.threads is not None:
            parts.append(f"{self.threads} thread{'s' * (self.threads != 1)}")
        if self.image_size is not None:
            parts.append("{} x {} px".format(*self.image_size))
        return ", ".join(part for part in parts if part)


@dataclass(frozen=True)
class DeviceTable:
    """Latencies of networks under the same conditions.

    Attributes:
        conditions: The conditions.
        entries: The networks.
    """

    conditions: Conditions
    entries: list[Measurement]
    source: str = field(default="the device table", compare=False)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the file, atomically."""
        data = {"schema_version": SCHEMA_VERSION, "kind": KIND, **asdict(self)}
        data.pop("source")
        write_json(path, data)

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> DeviceTable:
        """Read it.

        Raises:
            ArtifactError: the file is missing, broken, or something else.
        """
        data, source = read_json(path, "device table"), f"device table {path}"
        if not isinstance(data, dict) or data.get("kind") != KIND:
            raise ArtifactError(f"{source} is none; write it with `mmssl-dynamic latency`, or as its help says.")
        if data.get("schema_version") != SCHEMA_VERSION:
            raise ArtifactError(f"{source} has schema version {data.get('schema_version')}, not {SCHEMA_VERSION}.")
        try:
            table = replace(read_record(cls, data, without=["source"]), source=source)
        except RecordError as error:
            raise ArtifactError(f"{source} is incomplete or broken: {error}.") from error
        if not table.entries or any(entry.latency_ms <= 0 for entry in table.entries):
            raise ArtifactError(f"{source} needs networks, and latencies above 0.")
        return table

    def own(self, task: TaskCandidates) -> dict[str, float]:
        """Latencies of the networks of a task that were measured, by name.

        An entry counts for the super-network that it names; one that names none for every network of its name.
        """
        known: dict[str, float] = {}
        names = {candidate.name for candidate in task.candidates}
        for entry in sorted(self.entries, key=lambda entry: entry.source_weights_fingerprint is not None):
            if entry.subnet in names and entry.source_weights_fingerprint in (None, task.weights_fingerprint):
                known[entry.subnet] = entry.latency_ms
        return known

    def priced(self, task: TaskCandidates) -> TaskCandidates:
        """The candidates of a task with their latencies on the device.

        A network that was never measured gets what its neighbours in multiply-accumulates say, and is marked.

        Raises:
            ArtifactError: no network of the task is in the table.
        """
        known = self.own(task)
        if not known:
            raise ArtifactError(
                f"{self.source} holds no network of {task.source}: its entries are of other super-networks or names; "
                "measure exports of this one with `mmssl-dynamic latency`."
            )
        by_name = {candidate.name: candidate for candidate in task.candidates}
        points = sorted((by_name[name].cost.macs, value) for name, value in known.items())

        def price(candidate: Candidate) -> Candidate:
            own = known.get(candidate.name)
            value = estimate(points, candidate.cost.macs) if own is None else own
            return replace(candidate, cost=replace(candidate.cost, latency_ms=value, estimated=own is None))

        return replace(task, candidates=tuple(map(price, task.candidates)))


def estimate(points: Sequence[tuple[int, float]], macs: int) -> float:
    """Latency of a network by its multiply-accumulates: between its neighbours on a line, else in proportion.

    Args:
        points: (multiply-accumulates, latency) of networks that were measured, ascending.
        macs: Of the network.
    """
    costs, times = np.array(points, dtype=float).T
    if macs <= costs[0]:
        return float(times[0] * max(macs, 1) / costs[0])
    if macs >= costs[-1]:
        return float(times[-1] * macs / costs[-1])
    return float(np.interp(macs, costs, times))
