"""The artifact ``results.json`` of many-shot transfer: every network on every data set."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from mmssl_dynamic.errors import ArtifactError
from mmssl_dynamic.evaluation.many_shot import METRICS
from mmssl_dynamic.records import Amount, Count, Percent, read_record
from mmssl_dynamic.result_file import ResultFile

FILE = ResultFile("transfer", 1, "tools/transfer.py")


@dataclass(frozen=True)
class TransferScore:
    """One network on one data set.

    Attributes:
        network: Its name.
        dataset: Its name.
        metric: The data set's own, see :data:`~mmssl_dynamic.evaluation.many_shot.METRICS`.
        score: Of this metric on the test images, in percent.
        val_score: On the validation images, at the chosen weight decay.
        weight_decay: The chosen one, 1 / C.
        metrics: All metrics on the test images, in percent.
        fits: Weight decays tried.
        iterations: Steps of the last fit.
        seconds: That the search took, without features.
    """

    network: str
    dataset: str
    metric: str
    score: Percent
    val_score: Percent
    weight_decay: float
    metrics: dict[str, Percent]
    fits: Count
    iterations: Count
    seconds: Amount

    @classmethod
    def from_record(cls, record: Mapping[str, Any]) -> TransferScore:
        """What ``asdict`` gave.

        Raises:
            RecordError: it is no such record.
        """
        return read_record(cls, record)


@dataclass(frozen=True)
class TransferResult:
    """All scores, with everything needed to repeat them.

    Attributes:
        protocol: Every value that can change a result.
        data: By data set: sizes, fingerprints, where the parts come from.
        weights_fingerprint: Of the backbone's weights.
        networks: Learnable weights (``params``) and multiply-accumulates (``macs``) of each network.
        full: The network that the others are compared with, if there is one.
        scores: One for each network and data set.
        versions: Of the software.
        config, checkpoint, bank: The files the networks came from.
        cfg_options: Options that the config was read with.
        statistics: Fingerprints of the BatchNorm statistics that networks were measured with, by their names.
    """

    protocol: dict[str, Any]
    data: dict[str, Any]
    weights_fingerprint: str
    networks: dict[str, dict[str, Count]]
    full: str | None
    scores: list[TransferScore]
    versions: dict[str, str]
    config: str | None = None
    checkpoint: str | None = None
    bank: str | None = None
    cfg_options: dict[str, Any] = field(default_factory=dict)
    statistics: dict[str, str] = field(default_factory=dict)
    source: str = field(default="the transfer result", compare=False)

    @property
    def datasets(self) -> list[str]:
        """Names, in the order they were asked for."""
        return list(self.data)

    def score(self, network: str, dataset: str) -> TransferScore:
        """One of the scores.

        Raises:
            ArtifactError: it is not there.
        """
        for score in self.scores:
            if (score.network, score.dataset) == (network, dataset):
                return score
        raise ArtifactError(f"{self.source} holds no score of {network} on {dataset}; run tools/transfer.py for both.")

    def mean(self, network: str) -> float:
        """Mean score over the data sets, the last column of SDR's Table 1."""
        return sum(self.score(network, dataset).score for dataset in self.datasets) / len(self.datasets)

    def chosen(self, dataset: str) -> TransferScore:
        """The network that is best on the validation images; test images take no part in the choice."""
        return max((self.score(network, dataset) for network in self.networks), key=lambda score: score.val_score)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write ``results.json``, atomically."""
        data = asdict(self)
        data.pop("source")
        FILE.save(path, data)

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> TransferResult:
        """Read ``results.json``.

        Raises:
            ArtifactError: the file is missing, broken, no such result, or of another schema version.
        """

        def build(data: dict[str, Any], source: str) -> TransferResult:
            result = replace(read_record(cls, data, without=["source"]), source=source)
            if not result.networks or not result.data:
                raise ValueError("holds no network or no data set")
            for network in result.networks:
                for dataset in result.datasets:
                    result.score(network, dataset)  # refuses a result that lacks one
            return result

        return FILE.load(path, build)

    def table(self) -> str:
        """One line per network, one column per data set and their mean; below, what was chosen and the metrics."""
        columns = [*self.datasets, "mean"]
        widths = [max(6, len(column)) for column in columns]
        first = max(len("network"), len("chosen"), *(len(name) for name in self.networks))
        lines = ["  ".join([f"{'network':<{first}}", *(f"{c:>{w}}" for c, w in zip(columns, widths))])]

        def line(name: str, scores: list[float]) -> str:
            values = [*scores, sum(scores) / len(scores)]
            return "  ".join([f"{name:<{first}}", *(f"{value:{w}.2f}" for value, w in zip(values, widths))])

        for network in self.networks:
            lines.append(line(network, [self.score(network, dataset).score for dataset in self.datasets]))
        if len(self.networks) > 1:
            chosen = {dataset: self.chosen(dataset) for dataset in self.datasets}
            lines.append(line("chosen", [score.score for score in chosen.values()]))
            names = ", ".join(f"{dataset} {score.network}" for dataset, score in chosen.items())
            lines.append(f"chosen on validation images: {names}")
        metrics = {dataset: self.score(next(iter(self.networks)), dataset).metric for dataset in self.datasets}
        for metric, shown in METRICS.items():
            having = [dataset for dataset, own in metrics.items() if own == metric]
            if having:
                lines.append(f"{shown}: {', '.join(having)}")
        return "\n".join(lines)
