"""Files, read without ever executing what they hold; :mod:`mmssl_dynamic.writing` writes them."""

from __future__ import annotations

import hashlib
import json
import os
import pickle
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file as load_safetensors
from torch import Tensor

from mmssl_dynamic.errors import ArtifactError, first_line


def read_json(path: str | os.PathLike[str], what: str) -> Any:
    """Read a JSON file; ``what`` names its role in error messages.

    Raises:
        ArtifactError: the file is missing or is not JSON.
    """
    try:
        return json.loads(Path(path).read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise ArtifactError(f"{what} {path} does not exist; check the path.") from error
    except (UnicodeDecodeError, json.JSONDecodeError, OSError) as error:
        raise ArtifactError(f"{what} {path} cannot be read as JSON ({error}); write it anew.") from error


def load_state_dict(path: str | os.PathLike[str]) -> dict[str, Tensor]:
    """Tensors of a checkpoint: ``.safetensors``, a plain state dict, or mmengine's ``{'state_dict': ...}``.

    Only tensors and plain containers are unpickled (``weights_only``), so no code of the file can run.

    Raises:
        ArtifactError: the file is missing, broken, holds anything but plain data, or has no tensors.
    """
    file = local_file(path)
    try:
        if file.suffix == ".safetensors":
            return load_safetensors(str(file))
        checkpoint = load_run_checkpoint(file)
    except (SafetensorError, pickle.UnpicklingError, RuntimeError, EOFError, ValueError, OSError) as error:
        reason = first_line(error)
        raise ArtifactError(
            f"checkpoint {file} cannot be loaded safely ({reason}); it must be a .safetensors file or a PyTorch file "
            "that holds nothing but tensors and plain data."
        ) from error
    state = checkpoint.get("state_dict", checkpoint) if isinstance(checkpoint, Mapping) else {}
    tensors = {name: value for name, value in state.items() if isinstance(value, Tensor)}
    if not tensors:
        raise ArtifactError(f"checkpoint {file} holds no weights; give a file written by training or by an export.")
    return tensors


def local_file(path: str | os.PathLike[str]) -> Path:
    """The path of a checkpoint that is there.

    Raises:
        ArtifactError: it is not, or it is an address: what loads those does not refuse code.
    """
    if "://" in str(path):
        raise ArtifactError(f"checkpoint {path} is an address; download it and give the file.")
    if not Path(path).is_file():
        raise ArtifactError(f"checkpoint {path} does not exist; check the path.")
    return Path(path)


def _history_buffer_attribute(owner: Any, name: str) -> Any:
    """Stand-in for ``getattr`` in mmengine's checkpoints, which use it for the statistics of a HistoryBuffer only."""
    from mmengine.logging import HistoryBuffer

    allowed = {"mean", "max", "min", "current"}
    if owner is not HistoryBuffer or name not in allowed:
        raise pickle.UnpicklingError(f"a checkpoint may not look up the attribute {name!r} of {owner!r}")
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


def load_run_checkpoint(path: str | os.PathLike[str], map_location: Any = "cpu") -> dict[str, Any]:
    """A checkpoint of mmengine's Runner with all it holds, loaded with ``weights_only``.

    Since torch 2.6 mmengine 0.10's own loading fails on its message hub (HistoryBuffer, numpy scalars, ``getattr``);
    here just these are allow-listed, and only for the time of the call. The config text inside the checkpoint's
    meta data is dropped: mmengine would execute it on resume.
    """
    with _mmengine_globals():
        checkpoint = torch.load(path, map_location=map_location, weights_only=True)
    if isinstance(checkpoint, dict) and isinstance(checkpoint.get("meta"), dict):
        checkpoint["meta"].pop("config", None)
        checkpoint["meta"].pop("cfg", None)
    return checkpoint


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
