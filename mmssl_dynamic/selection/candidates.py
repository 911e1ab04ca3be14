"""The networks that there are to choose from for a task, from the results of routing, evaluation or transfer."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mmssl_dynamic.budget import Cost
from mmssl_dynamic.errors import ArtifactError
from mmssl_dynamic.evaluation.evaluation_result import FILE as EVALUATION
from mmssl_dynamic.evaluation.evaluation_result import EvaluationResult
from mmssl_dynamic.evaluation.transfer_result import FILE as TRANSFER
from mmssl_dynamic.evaluation.transfer_result import TransferResult
from mmssl_dynamic.fileio import read_json
from mmssl_dynamic.result_file import kind_of
from mmssl_dynamic.routing.result import FILE as ROUTING
from mmssl_dynamic.routing.result import RoutingResult

_FILES = ("routing.json", "results.json")


@dataclass(frozen=True)
class Candidate:
    """One network on one task.

    Attributes:
        name: Of the sub-network.
        choice: What it is chosen by, in percent; larger is better.
        test: Accuracy in percent on test images, which take no part in the choice where there are others.
        cost: What it needs.
    """

    name: str
    choice: float
    test: float | None
    cost: Cost


@dataclass(frozen=True)
class TaskCandidates:
    """All networks on one task.

    Attributes:
        task: Its name.
        candidates: The networks.
        measure: What ``choice`` is, in words.
        weights_fingerprint: Of the super-network.
        files: ``config``, ``checkpoint`` and ``bank`` of the super-network, and ``bn``, as far as they are known.
        source: The file that they were read from.
        protocol: How accuracies were measured, as the result has it.
        cfg_options: Options that the config of the super-network was read with.
        statistics: Fingerprints of the BatchNorm statistics that networks were measured with, by their names.
    """

    task: str
    candidates: tuple[Candidate, ...]
    measure: str
    weights_fingerprint: str
    files: dict[str, str | None]
    source: str
    protocol: dict[str, Any] = field(default_factory=dict)
    cfg_options: dict[str, Any] = field(default_factory=dict)
    statistics: dict[str, str] = field(default_factory=dict)

    def check_statistics(self, name: str, fingerprint: str, where: str, remedy: str) -> None:
        """Refuse BatchNorm statistics that a network was not measured with: its figures are another network's.

        Args:
            name: Of the network.
            fingerprint: Of its statistics.
            where: What holds them, for the message.
            remedy: What to do, likewise.

        Raises:
            ArtifactError: they are others, or the result does not tell.
        """
        measured = self.statistics.get(name)
        if measured is None:
            raise ArtifactError(f"{self.source} does not tell the BatchNorm statistics that {name} had; {remedy}.")
        if measured != fingerprint:
            raise ArtifactError(
                f"{where} holds other BatchNorm statistics of {name} than {self.source} was measured with; {remedy}."
            )


def read_results(path: str | os.PathLike[str]) -> list[TaskCandidates]:
    """The candidates of every task in a result of ``route``, ``evaluate`` or ``transfer``.

    Args:
        path: ``routing.json`` or ``results.json``, or a folder with one of them in it, else in its folders.

    Raises:
        ArtifactError: there is no such file, or it is broken.
    """
    found = [task for file in _files(Path(path)) for task in _read(file)]
    if not found:
        raise ArtifactError(
            f"{path} holds no {' or '.join(_FILES)}; give what `route`, `evaluate` or `transfer` wrote with --out."
        )
    return found


def _files(path: Path) -> list[Path]:
    if not path.is_dir():
        return [path]
    own = [path / name for name in _FILES if (path / name).is_file()]
    if own:  # what its folders hold is of an earlier run, or is not a result of its own
        return own
    folders = sorted(child for child in path.iterdir() if child.is_dir())
    return [folder / name for folder in folders for name in _FILES if (folder / name).is_file()]


def _read(file: Path) -> Iterator[TaskCandidates]:
    kind = kind_of(read_json(file, "result"))
    if kind == TRANSFER.kind:
        yield from _of_transfer(TransferResult.load(file), file)
    elif kind == EVALUATION.kind:
        yield _of_evaluation(EvaluationResult.load(file), file)
    elif kind == ROUTING.kind:
        yield _of_routing(RoutingResult.load(file), file)
    else:
        raise ArtifactError(f"{file} is no result of `route`, `evaluate` or `transfer`; give one of these.")


def _of_routing(result: RoutingResult, file: Path) -> TaskCandidates:
    rows = {score.name: score for score in (result.full, *result.subnets)}
    found = [
        Candidate(score.name, score.select_accuracy, score.test_accuracy, Cost(score.macs, score.params))
        for score in rows.values()
    ]
    what, images = result.protocol.get("metric", "kNN accuracy"), result.protocol.get("selection")
    measure = f"{what} ({images})" if images else f"{what} on the images of the choice"
    return _candidates(result.task, found, measure, result, file)


def _of_evaluation(result: EvaluationResult, file: Path) -> TaskCandidates:
    found = [Candidate(n.name, n.top1, n.top1, Cost(n.macs, n.params)) for n in result.networks]
    measure = "accuracy on the test images, which is a little too good for the network that is chosen by it"
    return _candidates(str(result.data.get("name", file.parent.name)), found, measure, result, file)


def _of_transfer(result: TransferResult, file: Path) -> Iterator[TaskCandidates]:
    for dataset in result.datasets:
        found = []
        for name, cost in result.networks.items():
            score = result.score(name, dataset)
            found.append(Candidate(name, score.val_score, score.score, Cost(cost["macs"], cost["params"])))
        yield _candidates(dataset, found, "score on the validation images", result, file)


def _candidates(task: str, found: list[Candidate], measure: str, result: Any, file: Path) -> TaskCandidates:
    fingerprint, protocol = result.weights_fingerprint, dict(result.protocol)
    files = {"config": result.config, "checkpoint": result.checkpoint, "bank": result.bank, "bn": protocol.get("bn")}
    own = result.cfg_options, result.statistics
    return TaskCandidates(task, tuple(found), measure, fingerprint, files, str(file), protocol, *own)
