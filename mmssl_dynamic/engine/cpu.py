"""What makes training on the CPU fast, before it starts."""

from __future__ import annotations

import torch

from mmssl_dynamic.engine.allocator import keep_freed_memory
from mmssl_dynamic.engine.primitive_cache import keep_compiled_operators


def prepare_cpu() -> None:
    """Keep freed memory and compiled operators for the next step, where there is no CUDA; for the whole process."""
    if not torch.cuda.is_available():
        keep_freed_memory()
        keep_compiled_operators()
