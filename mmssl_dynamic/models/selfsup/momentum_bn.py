"""Momentum BatchNorm of a teacher (Momentum^2 Teacher, arXiv 2101.07525; DSPNet Sec. 5.1).

A teacher that normalises with statistics of one batch gives targets that depend on the batch. Momentum BN mixes in
running statistics, more of them as training goes on.
N batch, C channels.
"""

from __future__ import annotations

import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from mmssl_dynamic.models.elastic import BoundLayer, ElasticBatchNorm, SyncBN
from mmssl_dynamic.models.elastic.sync import summed, synchronises


class MomentumBatchNorm(BoundLayer, nn.Module):
    """Normalises with ``m * batch + (1 - m) * running`` statistics while training; for a network without gradients.

    Args:
        norm: The layer to take the place of; affine parameters and running buffers are taken over.

    Attributes:
        batch_weight: m. It goes from 1 to 0 by cosine over the training.
    """

    def __init__(self, norm: _BatchNorm) -> None:
        super().__init__()
        self.weight, self.bias, self.eps = norm.weight, norm.bias, norm.eps
        self.register_buffer("running_mean", norm.running_mean)
        self.register_buffer("running_var", norm.running_var)
        self.running_mean: Tensor
        self.running_var: Tensor
        self.sync = isinstance(norm, nn.SyncBatchNorm | SyncBN) or (isinstance(norm, ElasticBatchNorm) and norm.sync)
        self.batch_weight = 1.0
        self._seen: list[tuple[Tensor, Tensor]] = []

    def operands(self) -> tuple[Tensor | float, Tensor | float, list[tuple[Tensor, Tensor]]]:
        """m, 1 - m, and where the statistics of the batch go."""
        return self.batch_weight, 1 - self.batch_weight, self._seen

    def bind(self) -> None:
        """A compiled graph takes m, which changes in every step, as a tensor, and has a list of its own."""
        # Filled on the card: a copy from the CPU would wait for it.
        m, rest = (self.running_mean.new_full((), value) for value in (self.batch_weight, 1 - self.batch_weight))
        self.bound = (m, rest, [])

    def release(self) -> None:
        """Take over what the graph has seen."""
        if self.bound is not None:
            self._seen += self.bound[2]
        self.bound = None

    @torch.no_grad()
    def forward(self, x: Tensor) -> Tensor:
        """(N, C, ...) -> the same shape."""
        mean, var = self.running_mean, self.running_var
        if self.training:
            batch = self._batch_statistics(x.to(self.running_mean.dtype))  # not in half precision
            m, rest, seen = self.bound or self.operands()
            seen.append(batch)
            mean, var = m * batch[0] + rest * mean, m * batch[1] + rest * var
        return F.batch_norm(x, mean, var, self.weight, self.bias, False, 0.0, self.eps)

    def update(self) -> None:
        """Fold the mean of what the views of this step have shown into the running statistics."""
        if not self._seen:
            return
        m = self.batch_weight
        for buffer, values in zip((self.running_mean, self.running_var), zip(*self._seen)):
            buffer.mul_(1 - m).add_(torch.stack(values).mean(0), alpha=m)
        self._seen.clear()

    def _batch_statistics(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and biased variance (C,), over all processes' batches with SyncBN."""
        dims = [d for d in range(x.ndim) if d != 1]
        var, mean = torch.var_mean(x, dims, unbiased=False)
        if self.sync and synchronises():
            # Batches are equally large: var = E[var + mean^2] - E[mean]^2, in double precision against cancellation.
            sums = summed(torch.stack([mean.double(), var.double() + mean.double().square()]))
            sums = sums / dist.get_world_size()
            mean, var = sums[0].to(x.dtype), (sums[1] - sums[0].square()).to(x.dtype)
        return mean, var


def use_momentum_bn(module: nn.Module) -> None:
    """Replace every BatchNorm inside ``module``, in place."""
    for name, child in module.named_children():
        if isinstance(child, _BatchNorm):
            setattr(module, name, MomentumBatchNorm(child))
        else:
            use_momentum_bn(child)
