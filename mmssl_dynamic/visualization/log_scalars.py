"""Results of earlier runs in TensorBoard: what ``tools/log_scalars.py`` does."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from mmssl_dynamic.errors import ArtifactError, ConfigError
from mmssl_dynamic.evaluation.evaluation_result import FILE as EVALUATION
from mmssl_dynamic.evaluation.evaluation_result import EvaluationResult
from mmssl_dynamic.evaluation.transfer_result import FILE as TRANSFER
from mmssl_dynamic.evaluation.transfer_result import TransferResult
from mmssl_dynamic.fileio import read_json
from mmssl_dynamic.locks import locked_folder
from mmssl_dynamic.outputs import check_output_folder
from mmssl_dynamic.result_file import kind_of
from mmssl_dynamic.routing.result import FILE as ROUTING
from mmssl_dynamic.routing.result import RoutingResult
from mmssl_dynamic.visualization.tensorboard import need_tensorboard, write_scalars

FOLDER = "tensorboard"
_FILES = ("routing.json", "results.json")
Result = RoutingResult | EvaluationResult | TransferResult


def log_results(paths: Sequence[str | os.PathLike[str]]) -> list[Path]:
    """Write the scalars of results for TensorBoard, into a folder ``tensorboard`` beside each.

    Args:
        paths: ``routing.json`` and ``results.json`` files, or folders to look for them in.

    Returns:
        The folders.

    Raises:
        ConfigError: there are no results, or TensorBoard is not installed.
        ArtifactError: a result is broken, or a file that was named is none; in a folder, other files are passed over.
    """
    need_tensorboard()
    found = {file: result for file in _files(paths) if (result := _load(file)) is not None}
    foreign = next((path for path in map(Path, paths) if path.is_file() and path not in found), None)
    if foreign is not None:
        raise ArtifactError(f"{foreign} is no result of tools/route.py, tools/evaluate.py or tools/transfer.py.")
    if not found:
        raise ConfigError(f"there is no {' or '.join(_FILES)} of a run in {', '.join(map(str, paths))}.")
    for file in found:
        check_output_folder(file.parent / FOLDER, "the folder")
    written = []
    for file, result in found.items():
        written.append(file.parent / FOLDER)
        with locked_folder(written[-1], "the folder", instead="result"):  # what was there before is removed
            write_scalars(result, written[-1])
    return written


def _files(paths: Sequence[str | os.PathLike[str]]) -> Iterator[Path]:
    for path in map(Path, paths):
        if path.is_dir():
            yield from sorted(file for name in _FILES for file in path.rglob(name))
        else:
            yield path


def _load(file: Path) -> Result | None:
    """The result in a file; ``None`` if it holds something else."""
    kind = kind_of(read_json(file, "result"))
    if kind == ROUTING.kind:
        return RoutingResult.load(file)
    if kind == EVALUATION.kind:
        return EvaluationResult.load(file)
    return TransferResult.load(file) if kind == TRANSFER.kind else None
