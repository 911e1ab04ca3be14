"""Loader processes hand their batches over in shared memory, of which containers often have too little.

torch moves a batch there in a thread of the worker, where an error is printed and the batch is lost: the run waits for
it for ever. Here it is moved where an error reaches the run.
"""

from __future__ import annotations

import pickle
import re
import shutil
from collections.abc import Callable, Sequence
from multiprocessing.reduction import ForkingPickler
from typing import Any

from torch.utils.data import get_worker_info

from mmssl_dynamic.writing import human_size, is_full

_FOLDER = "/dev/shm"
_LITTLE = 64 * 1024  # bytes in which no worker can be started
_SIGNS = re.compile(r"shared memory|signal: Bus error|</torch_\w+>")


class HandOver:
    """A ``collate_fn`` whose batches are in shared memory when they leave the worker's own loop.

    Args:
        collate: Makes a batch of samples.
    """

    def __init__(self, collate: Callable[[Sequence[Any]], Any]) -> None:
        self.collate = collate

    def __call__(self, samples: Sequence[Any]) -> Any:
        """A batch; in a worker, what the receiving process unpickles as one."""
        batch = self.collate(samples)
        return batch if get_worker_info() is None else _Pickled(batch)


class _Pickled:
    def __init__(self, content: Any) -> None:
        self.data = bytes(ForkingPickler.dumps(content))  # this moves its tensors

    def __reduce__(self) -> tuple[Any, ...]:
        return pickle.loads, (self.data,)


def is_short_of_shared_memory(error: BaseException) -> bool:
    """Whether an error of a loader with workers says that their shared memory is used up."""
    if _SIGNS.search(str(error)):
        return True
    # Locks of workers lie there, too; a disk that is full says the same of a file without naming it.
    return isinstance(error, OSError) and error.filename is None and is_full(error) and _left() < _LITTLE


def _left() -> int:
    try:
        return shutil.disk_usage(_FOLDER).free
    except OSError:
        return 0


def shared_memory_left() -> str:
    """How much there is, for messages: ``'/dev/shm has 64.0 KiB'``."""
    try:
        return f"{_FOLDER} has {human_size(shutil.disk_usage(_FOLDER).total)}"
    except OSError:
        return f"there is no {_FOLDER}"
