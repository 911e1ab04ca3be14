"""What makes networks fast on a CPU, busy with other things or not, before a command has imported anything."""

from __future__ import annotations

import ctypes
import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from mmssl_dynamic.launchers import processes_here

_M_TRIM_THRESHOLD, _M_TOP_PAD, _M_MMAP_MAX = -1, -2, -4  # malloc.h of glibc
_KEEP = {_M_MMAP_MAX: 0, _M_TRIM_THRESHOLD: -1, _M_TOP_PAD: 256 << 20}  # bytes by which the heap grows at least
_DEFAULTS = {_M_MMAP_MAX: 65536, _M_TRIM_THRESHOLD: 128 << 10, _M_TOP_PAD: 128 << 10}
_DEVICES = ("/dev/nvidiactl", "/dev/kfd", "/dev/dxg")  # of the drivers of CUDA, ROCm, and either under Windows

# Any of these says how threads wait.
_WAITING = ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT", "KMP_BLOCKTIME", "KMP_LIBRARY")
_ONEDNN, _OPERATORS = "ONEDNN_PRIMITIVE_CACHE_CAPACITY", "8192"


@contextmanager
def prepared_cpu() -> Iterator[None]:
    """What every command runs in (:func:`mmssl_dynamic.cli.run`); variables that it has set are gone afterwards."""
    before = set(os.environ)
    sleep_while_waiting()
    prepare_cpu()
    try:
        yield
    finally:
        for name in (_WAITING[0], _ONEDNN):
            if name not in before:
                os.environ.pop(name, None)


def prepare_cpu() -> None:
    """Keep compiled operators and, without a GPU, freed memory; for the whole process.

    Trainings call it, too, for those that a notebook starts: there torch is imported, and too late to say how threads
    wait.
    """
    keep_compiled_operators()
    if not _has_gpu():
        keep_freed_memory()


def sleep_while_waiting() -> None:
    """Let OpenMP's threads sleep while they wait for each other.

    They spin otherwise, and on a machine with other work a thread that spins keeps the one that it waits for from its
    core: with as many other processes as cores, steps of a small network took ten times as long and longer. Only works
    before torch is imported; what the user has set stays.
    """
    if not any(name in os.environ for name in _WAITING):
        os.environ[_WAITING[0]] = "PASSIVE"


def keep_compiled_operators() -> None:
    """Let oneDNN keep its operators for all networks of a super-network.

    oneDNN compiles an operator for every shape and keeps the 1,024 used last. A slimmable network has some 200 per
    width (forwards, backwards, target), so with five widths a step could find those of the step before thrown out.
    Only works before the first convolution of the process; what the user has set stays.
    """
    os.environ.setdefault(_ONEDNN, _OPERATORS)


def keep_freed_memory(keep: bool = True) -> bool:
    """Stop the C library from handing freed memory back to the kernel; with ``keep=False`` let it again.

    An activation above 32 MiB is otherwise mapped anew in every step, and the kernel clears its pages one fault at a
    time: about a quarter of a ResNet-50 step on two cores (``tools/benchmarks/subnet_speed.py --no-keep-memory``).
    CUDA tensors have a caching allocator of torch's own; this is the same for the CPU.

    Returns:
        Whether it took effect: with glibc only, and not under a substitute such as jemalloc.
    """
    if not sys.platform.startswith("linux"):
        return False
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):
        return False
    mallopt.argtypes, mallopt.restype = (ctypes.c_int, ctypes.c_int), ctypes.c_int
    options = _KEEP if keep else _DEFAULTS
    return all(mallopt(*option) == 1 for option in options.items())


def computes_in_bf16() -> bool:
    """Whether the processor multiplies bf16 numbers; without such instructions they are slower than floats."""
    import torch

    if hasattr(torch.cpu, "get_capabilities"):
        found: Mapping[str, object] = torch.cpu.get_capabilities()
        return any("bf16" in name and value is True for name, value in found.items())
    return bool(torch.cpu._is_avx512_bf16_supported())  # releases before; they know of no others


def free_memory_gib() -> float:
    """Memory of this machine that is free now, in GiB, for each of the processes of a launcher on it; at least 4."""
    try:
        free = os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 2**30
    except (ValueError, OSError, AttributeError):  # not on every system
        return 4.0
    return max(4.0, free / processes_here())


def _has_gpu() -> bool:
    """Whether there is one; by its driver as long as torch, which takes seconds to import, is not there to be asked."""
    torch = sys.modules.get("torch")
    if torch is not None and hasattr(torch, "cuda"):
        return bool(torch.cuda.is_available())
    return any(Path(device).exists() for device in _DEVICES)
