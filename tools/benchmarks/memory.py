"""Peak memory of a training step: what lives all the time, and the most that is alive on top of it during the step."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from itertools import accumulate

import torch
from torch import Tensor, nn
from torch.profiler import ProfilerActivity, profile


def resident_bytes(model: nn.Module, optimizer: torch.optim.Optimizer) -> int:
    """Parameters, buffers and optimiser state, each storage counted once."""
    state = (value for entry in optimizer.state.values() for value in entry.values() if isinstance(value, Tensor))
    return _storage_bytes([*model.parameters(), *model.buffers(), *state])


def step_bytes(step: Callable[[], object], device: torch.device) -> int:
    """The most bytes that a step has alive beyond what was there before it."""
    if device.type == "cuda":
        torch.cuda.synchronize()
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        step()
        return torch.cuda.max_memory_allocated() - before
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True, acc_events=True) as trace:
        step()
    # The public events add up what each operator allocated and freed; the peak needs them one by one.
    events = trace.profiler.kineto_results.events()  # type: ignore[union-attr]
    changes = sorted((event.start_ns(), event.nbytes()) for event in events if event.name() == "[memory]")
    return max(accumulate((size for _, size in changes), initial=0))


def _storage_bytes(tensors: Iterable[Tensor]) -> int:
    return sum({tensor.data_ptr(): tensor.untyped_storage().nbytes() for tensor in tensors}.values())
