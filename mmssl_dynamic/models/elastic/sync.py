"""BatchNorm statistics over all processes, on any device.

torch's SyncBatchNorm needs CUDA; on the CPU the same sums go through differentiable all-reduce, so that two gloo
processes can stand for one process with the joint batch.
"""

from __future__ import annotations

import torch
import torch.distributed as dist
from torch import Tensor


def synchronises() -> bool:
    """Whether there is more than one process to agree with."""
    return dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1


def synchronised_batch_norm(
    x: Tensor,
    weight: Tensor | None,
    bias: Tensor | None,
    running_mean: Tensor | None,
    running_var: Tensor | None,
    eps: float,
    momentum: float,
) -> Tensor:
    """Normalise ``x`` (N, C, ...) in training mode with the statistics of all processes' batches together."""
    if x.is_cuda:
        from torch.nn.modules._functions import SyncBatchNorm

        group = dist.group.WORLD
        scale = weight if weight is not None else x.new_ones(x.shape[1], dtype=torch.float32)
        shift = bias if bias is not None else x.new_zeros(x.shape[1], dtype=torch.float32)
        if not x.is_contiguous(memory_format=torch.channels_last):
            x = x.contiguous()
        return SyncBatchNorm.apply(
            x, scale, shift, running_mean, running_var, eps, momentum, group, dist.get_world_size()
        )
    from torch.distributed.nn.functional import all_reduce

    dims = [d for d in range(x.ndim) if d != 1]
    shape = [1, -1] + [1] * (x.ndim - 2)
    count = all_reduce(x.new_full((1,), x.numel() / x.shape[1]))
    mean = all_reduce(x.sum(dims)) / count  # (C,)
    centred = x - mean.view(shape)
    # Squares of centred values: E[x^2] - E[x]^2 would cancel in single precision.
    var = all_reduce(centred.square().sum(dims)) / count
    if running_mean is not None and running_var is not None:
        with torch.no_grad():
            unbiased = var * (count / (count - 1))
            running_mean.lerp_(mean.to(running_mean.dtype), momentum)
            running_var.lerp_(unbiased.to(running_var.dtype), momentum)
    out = centred * torch.rsqrt(var + eps).view(shape)
    if weight is not None and bias is not None:
        out = out * weight.view(shape) + bias.view(shape)
    return out
