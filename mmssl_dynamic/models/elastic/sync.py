"""BatchNorm statistics over all processes, on any device.

torch's SyncBatchNorm needs CUDA; on the CPU the same sums go through differentiable all-reduce, so that two gloo
processes can stand for one process with the joint batch.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import Tensor
from torch.nn.modules.batchnorm import _BatchNorm

from mmssl_dynamic.registry import MODELS


def synchronises() -> bool:
    """Whether there is more than one process to agree with."""
    return dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1


def summed(tensor: Tensor) -> Tensor:
    """The sum of all processes' tensors, without gradients; in a compiled graph, too."""
    if torch.compiler.is_compiling():
        from torch.distributed._functional_collectives import all_reduce

        assert dist.group.WORLD is not None
        # A tensor of its own: the wait inside returns its input, and a gradient would find the wrong one of the two.
        return all_reduce(tensor, "sum", dist.group.WORLD).clone()
    result = tensor.detach().clone(memory_format=torch.contiguous_format)
    dist.all_reduce(result)
    return result


class _Summed(torch.autograd.Function):
    """:func:`summed` with gradients.

    When it is compiled, PyTorch's own (``torch.distributed.nn.functional``) does not sum the gradient over processes.
    """

    @staticmethod
    def forward(ctx: Any, tensor: Tensor) -> Tensor:
        return summed(tensor)

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Tensor) -> Tensor:
        return summed(grad_outputs[0])


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
    # What torch's own does for the card no graph can hold.
    if x.is_cuda and not torch.compiler.is_compiling():
        from torch.nn.modules._functions import SyncBatchNorm

        group = dist.group.WORLD
        scale = weight if weight is not None else x.new_ones(x.shape[1], dtype=torch.float32)
        shift = bias if bias is not None else x.new_zeros(x.shape[1], dtype=torch.float32)
        if not x.is_contiguous(memory_format=torch.channels_last):
            x = x.contiguous()
        return SyncBatchNorm.apply(
            x, scale, shift, running_mean, running_var, eps, momentum, group, dist.get_world_size()
        )
    dims = [d for d in range(x.ndim) if d != 1]
    shape = [1, -1] + [1] * (x.ndim - 2)
    values = x.float() if x.dtype in (torch.float16, torch.bfloat16) else x
    count = values.new_full((1,), x.numel() / x.shape[1])
    total, count = _Summed.apply(torch.cat([values.sum(dims), count])).split([x.shape[1], 1])
    mean = total / count  # (C,)
    centred = values - mean.view(shape)
    # Squares of centred values: E[x^2] - E[x]^2 would cancel in single precision.
    var = _Summed.apply(centred.square().sum(dims)) / count
    if running_mean is not None and running_var is not None:
        with torch.no_grad():
            unbiased = var * (count / (count - 1))
            running_mean.lerp_(mean.to(running_mean.dtype), momentum)
            running_var.lerp_(unbiased.to(running_var.dtype), momentum)
    out = centred * torch.rsqrt(var + eps).view(shape)
    if weight is not None and bias is not None:
        out = out * weight.view(shape) + bias.view(shape)
    return out.to(x.dtype)


@MODELS.register_module()
class SyncBN(_BatchNorm):
    """BatchNorm (1-d or 2-d) over all processes, on CUDA and on the CPU; plain BatchNorm in a single process.

    For ``norm_cfg=dict(type='mmssl_dynamic.SyncBN')`` of layers that are not elastic, such as the predictor's: torch's
    own needs CUDA.
    """

    def __init__(self, num_features: int, **kwargs: Any) -> None:
        super().__init__(num_features, **kwargs)

    def _check_input_dim(self, input: Tensor) -> None:
        if input.ndim not in (2, 3, 4):
            raise ValueError(f"expected 2 to 4 dimensions, got {input.ndim}")

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, ...) -> the same shape."""
        self._check_input_dim(x)
        if not self.training:
            return F.batch_norm(x, self.running_mean, self.running_var, self.weight, self.bias, False, 0.0, self.eps)
        assert self.num_batches_tracked is not None
        self.num_batches_tracked.add_(1)
        factor = 1.0 / float(self.num_batches_tracked) if self.momentum is None else self.momentum
        statistics = (self.running_mean, self.running_var)
        if synchronises():
            return synchronised_batch_norm(x, self.weight, self.bias, *statistics, self.eps, factor)
        return F.batch_norm(x, *statistics, self.weight, self.bias, True, factor, self.eps)
