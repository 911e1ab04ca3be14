"""Files, read without ever executing what they hold; :mod:`mmssl_dynamic.writing` writes them."""

from __future__ import annotations

import hashlib
import json
import os
import re
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch
from safetensors.torch import load_file as load_safetensors
from torch import Tensor

from mmssl_dynamic.errors import ArtifactError, first_line
from mmssl_dynamic.file_checks import check_torch_archive, existing_file, foreign_object, is_torch_archive


def read_json(path: str | os.PathLike[str], what: str, most_bytes: int = 16 * 2**20) -> Any:
    """Read a JSON file; ``what`` names its role in error messages.

    Args:
        path: The file.
        what: Its role, such as 'routing result'.
        most_bytes: A larger file is refused unread: parsed, it would take up to thirty times as much memory.

    Raises:
        ArtifactError: the file is missing, too large, nested too deeply or not JSON (NaN and infinity are not).
    """
    file = existing_file(path, what)
    try:
        if file.stat().st_size > most_bytes:
            raise ValueError(f"more than {most_bytes / 2**20:.0f} MiB")
        # Editors on Windows put a mark in front of UTF-8.
        return json.loads(file.read_text(encoding="utf-8-sig"), parse_constant=_refuse_constant)
    except RecursionError as error:
        raise ArtifactError(f"{what} {path} cannot be read as JSON (nested too deeply); write it anew.") from error
    except (ValueError, OSError) as error:
        # Python's own text goes on to tell how to lift the limit.
        reason = "a number of thousands of digits" if "digits" in str(error) else first_line(error)
        raise ArtifactError(f"{what} {path} cannot be read as JSON ({reason}); write it anew.") from error


def _refuse_constant(name: str) -> None:
    raise ValueError(f"it holds {name}, which is no number")


def load_state_dict(path: str | os.PathLike[str]) -> dict[str, Tensor]:
    """Tensors of a checkpoint: ``.safetensors``, a plain state dict, or mmengine's ``{'state_dict': ...}``.

    Only tensors and plain containers are unpickled (``weights_only``), so no code of the file can run.

    Raises:
        ArtifactError: the file is missing, broken, holds anything but plain data, or has no tensors.
    """
    file = local_file(path)
    if file.suffix == ".safetensors":
        try:
            return without_module(load_safetensors(str(file)))
        except Exception as error:  # SafetensorError; of types that torch does not have, nearly anything
            raise ArtifactError(
                f"checkpoint {file} is damaged or no .safetensors file ({first_line(error)}); write it anew."
            ) from error
    checkpoint = load_run_checkpoint(file)
    state = checkpoint.get("state_dict", checkpoint)
    tensors = {name: value for name, value in state.items() if isinstance(value, Tensor)}
    if not tensors:
        raise ArtifactError(f"checkpoint {file} holds no weights; give a file written by training or by an export.")
    return without_module(tensors)


def without_module(state: Mapping[str, Any]) -> dict[str, Any]:
    """Weights under the model's own keys: torch's data parallel wrappers put ``module.`` before each."""
    return {key.removeprefix("module."): value for key, value in state.items()}


def local_file(path: str | os.PathLike[str]) -> Path:
    """The path of a checkpoint that is there.

    Raises:
        ArtifactError: it is not, or it is an address: what loads those does not refuse code.
    """
    if "://" in str(path):
        raise ArtifactError(f"checkpoint {path} is an address; download it and give the file.")
    return existing_file(path, "checkpoint")


def _history_buffer_attribute(owner: Any, name: str) -> Any:
    """Stand-in for ``getattr`` in mmengine's checkpoints, which use it for the statistics of a HistoryBuffer only."""
    from mmengine.logging import HistoryBuffer

    allowed = {"mean", "max", "min", "current"}
    if owner is not HistoryBuffer or name not in allowed:
        raise UnpicklingError(f"a checkpoint may not look up the attribute {name!r} of {owner!r}")
    return getattr(owner, name)


@contextmanager
def _mmengine_globals() -> Iterator[None]:
    """Allow-list exactly what a checkpoint of mmengine's Runner needs beyond tensors, and nothing callable else."""
    import numpy as np
    from mmengine.logging import HistoryBuffer
    from numpy.dtypes import BoolDType, Float32DType, Float64DType, Int32DType, Int64DType, UInt8DType

    multiarray = np.zeros(0).__reduce__()[0].__module__
    reconstruct = np.zeros(0).__reduce__()[0]
    scalar = np.float64(0).__reduce__()[0]
    entries: list[Any] = [
        HistoryBuffer,
        np.ndarray,
        np.dtype,
        *(Float32DType, Float64DType, Int32DType, Int64DType, UInt8DType, BoolDType),
        (reconstruct, f"{multiarray}._reconstruct"),
        (reconstruct, "numpy.core.multiarray._reconstruct"),
        (scalar, "numpy.core.multiarray.scalar"),
        (scalar, "numpy._core.multiarray.scalar"),
        (_history_buffer_attribute, "builtins.getattr"),
        (_history_buffer_attribute, "__builtin__.getattr"),
    ]
    with torch.serialization.safe_globals(entries):
        yield


def load_run_checkpoint(path: str | os.PathLike[str], map_location: Any = "cpu", mmap: bool = False) -> dict[str, Any]:
    """A checkpoint of mmengine's Runner with all it holds, loaded with ``weights_only``.

    Since torch 2.6 mmengine 0.10's own loading fails on its message hub (HistoryBuffer, numpy scalars, ``getattr``);
    here just these are allow-listed, and only for the time of the call. The config text inside the checkpoint's
    meta data is dropped: mmengine would execute it on resume.

    Args:
        path: The file.
        map_location: Where the tensors go.
        mmap: Leave the tensors on the disk until they are used, for a look at what else the file holds; a file in
            torch's older form is read whole.

    Raises:
        ArtifactError: the file is missing, damaged, packed, or holds more than tensors and plain data; the message
            names the first object that is neither.
    """
    file = local_file(path)
    try:
        check_torch_archive(file)
        with _mmengine_globals(), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # on protocols of pickle, before the refusal that says what is wrong
            mmap = mmap and is_torch_archive(file)
            checkpoint = torch.load(file, map_location=map_location, mmap=mmap, weights_only=True)
    except (MemoryError, torch.OutOfMemoryError) as error:
        raise ArtifactError(f"checkpoint {file} needs more memory than there is; free some or give another.") from error
    except Exception as error:  # damaged files make the readers raise nearly any built-in exception
        raise ArtifactError(_refusal(file, error)) from error
    if not isinstance(checkpoint, dict) or not isinstance(checkpoint.get("state_dict", {}), dict):
        raise ArtifactError(f"checkpoint {file} holds no weights; give a file written by training or by an export.")
    if isinstance(checkpoint.get("meta"), dict):
        checkpoint["meta"].pop("config", None)
        checkpoint["meta"].pop("cfg", None)
    return checkpoint


def _refusal(file: Path, error: Exception) -> str:
    """Why a checkpoint was not loaded; torch's own text ends in the advice to execute the file."""
    reason = first_line(error)
    named = re.search(r"GLOBAL ([\w.]+)", str(error))
    name = named[1] if named is not None else foreign_object(file) if isinstance(error, UnpicklingError) else None
    if name is not None:
        return (
            f"checkpoint {file} cannot be loaded safely: it holds the object {name}, which is neither a tensor nor "
            "plain data; ask for a file of the weights alone."
        )
    if isinstance(error, EOFError):
        reason = "it ends too early" if file.stat().st_size else "it is empty"
    if "weights_only" in reason or isinstance(error, KeyError | IndexError | AttributeError | TypeError):
        reason = "no PyTorch file"
    return (
        f"checkpoint {file} is damaged ({reason}); it must be a .safetensors file or a PyTorch file that holds "
        "tensors and plain data alone."
    )


def sidecar_path(path: str | os.PathLike[str]) -> Path:
    """The file beside an export that describes it: ``backbone.pth -> backbone.pth.json``."""
    return Path(f"{os.fspath(path)}.json")


def weights_fingerprint(state: Mapping[str, Tensor]) -> str:
    """SHA-256 over names and values of the weights, without BatchNorm's running statistics.

    Names a set of weights whatever file they came from, so that a BN bank or a routing result can refuse another's.
    """
    digest = hashlib.sha256()
    for name in sorted(state):
        if name.rsplit(".", 1)[-1] in {"running_mean", "running_var", "num_batches_tracked"}:
            continue
        tensor = state[name].detach().to("cpu").contiguous()
        digest.update(f"{name} {tuple(tensor.shape)} {tensor.dtype}\n".encode())
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()
