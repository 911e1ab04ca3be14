"""Checkpoints that other packages load: by ``init_cfg``, ``pretrained`` or a hook, anywhere in a model."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from pathlib import Path
from typing import Any

from mmssl_dynamic.errors import ArtifactError, UserError, first_line
from mmssl_dynamic.fileio import load_run_checkpoint, load_state_dict

# torch asks for both in every call of torch.load, also in those that name weights_only themselves.
_FORCE, _FORCE_NOT = "TORCH_FORCE_WEIGHTS_ONLY_LOAD", "TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD"

Loader = Callable[[str, Any], Any]


@contextmanager
def safe_loading() -> Iterator[None]:
    """While this is active, no checkpoint executes code, whoever loads it and from wherever.

    ``torch.load`` unpickles tensors and plain data alone, as its own switch ``TORCH_FORCE_WEIGHTS_ONLY_LOAD`` makes it,
    in loader processes too. Files that modules of mmengine, mmpretrain and mmdet name are read by
    :func:`~mmssl_dynamic.fileio.load_run_checkpoint`, so that a refusal is one sentence; addresses still work.
    """
    from mmengine.runner.checkpoint import CheckpointLoader

    before = {name: os.environ.get(name) for name in (_FORCE, _FORCE_NOT)}
    schemes = CheckpointLoader._schemes
    try:
        os.environ[_FORCE] = "1"
        os.environ.pop(_FORCE_NOT, None)
        CheckpointLoader._schemes = {
            prefix: _told(loader) if prefix else load_from_local for prefix, loader in schemes.items()
        }
        yield
    finally:
        CheckpointLoader._schemes = schemes
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


def load_from_local(filename: str, map_location: Any = None) -> dict[str, Any]:
    """What mmengine's function of this name does, without executing anything; ``.safetensors`` are understood, too.

    Raises:
        ArtifactError: as :func:`~mmssl_dynamic.fileio.load_run_checkpoint`.
    """
    file = Path(filename).expanduser()
    if file.suffix == ".safetensors":
        return {"state_dict": load_state_dict(file)}
    return load_run_checkpoint(file, map_location)


def _told(loader: Loader) -> Loader:
    """A loader of addresses, with one sentence for what goes wrong."""

    @wraps(loader)
    def load(filename: str, map_location: Any = None) -> Any:
        try:
            return loader(filename, map_location)
        except UserError:
            raise
        except Exception as error:  # of networks, caches and damaged files nearly anything
            reason = "it holds more than tensors and plain data" if "weights_only" in str(error) else first_line(error)
            raise ArtifactError(
                f"checkpoint {filename} cannot be loaded ({reason}); download it and name the file."
            ) from error

    return load
