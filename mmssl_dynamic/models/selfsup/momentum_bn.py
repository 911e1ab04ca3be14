"""Momentum BatchNorm of a teacher (Momentum^2 Teacher, arXiv 2101.07525; DSPNet Sec. 5.1).

A teacher that normalises with statistics of one batch gives targets that depend on the batch. Momentum BN mixes in
running statistics, more of them as training goes on.
N batch, C channels.
"""

from __future__ import annotations

from collections.abc import Sequence

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

    def operands(self) -> tuple[Tensor | float, list[tuple[Tensor, Tensor]]]:
        """m, and where the statistics of the batch go."""
        return self.batch_weight, self._seen

    def bind(self) -> None:
        """A compiled graph takes m, which changes in every step, as a tensor, and has a list of its own."""
        # Filled on the card: a copy from the CPU would wait for it.
        self.bound = (self.running_mean.new_full((), self.batch_weight), [])

    def release(self) -> None:
        """Take over what the graph has seen."""
        if self.bound is not None:
            self._seen += self.bound[1]
        self.bound = None

    @torch.no_grad()
    def forward(self, x: Tensor) -> Tensor:
        """(N, C, ...) -> the same shape."""
        mean, var = self.running_mean, self.running_var
        if self.training:
            batch = self._batch_statistics(x.to(self.running_mean.dtype))  # not in half precision
            m, seen = self.bound or self.operands()
            seen.append(batch)
            mean, var = (torch.lerp(running, own, m) for running, own in zip((mean, var), batch))
        return F.batch_norm(x, mean, var, self.weight, self.bias, False, 0.0, self.eps)

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


@torch.no_grad()
def update_running(norms: Sequence[MomentumBatchNorm]) -> None:
    """Fold the mean of what the views of this step have shown each layer into its running statistics.

    A card waits for launches of small operations, so all layers are taken together. Each has seen all views.
    """
    norms = [norm for norm in norms if norm._seen]
    views = [[value for pair in pairs for value in pair] for pairs in zip(*(norm._seen for norm in norms), strict=True)]
    if not views:
        return
    means = views[0]
    for more in views[1:]:
        means = list(torch._foreach_add(means, more))
    if len(views) > 1:
        torch._foreach_div_(means, len(views))
    buffers = [buffer for norm in norms for buffer in (norm.running_mean, norm.running_var)]
    torch._foreach_lerp_(buffers, means, [norm.batch_weight for norm in norms for _ in range(2)])
    for norm in norms:
        norm._seen.clear()


def use_momentum_bn(module: nn.Module) -> None:
    """Replace every BatchNorm inside ``module``, in place."""
    for name, child in module.named_children():
        if isinstance(child, _BatchNorm):
            setattr(module, name, MomentumBatchNorm(child))
        else:
            use_momentum_bn(child)
