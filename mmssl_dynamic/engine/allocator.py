"""Keeping the memory of one training step for the next, where tensors live on the CPU."""

from __future__ import annotations

import ctypes
import sys

_M_TRIM_THRESHOLD, _M_TOP_PAD, _M_MMAP_MAX = -1, -2, -4  # malloc.h of glibc
_TOP_PAD = 256 << 20  # bytes by which the heap grows at least


def keep_freed_memory() -> bool:
    """Stop the C library from handing freed memory back to the kernel; for the whole process.

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
    return all(mallopt(*option) == 1 for option in ((_M_MMAP_MAX, 0), (_M_TRIM_THRESHOLD, -1), (_M_TOP_PAD, _TOP_PAD)))
