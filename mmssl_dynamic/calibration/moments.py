"""BatchNorm statistics pooled exactly over many batches, for any network of plain modules.

Each BatchNorm normalises with the statistics of the batch, as in training, while mean and E[x^2] are pooled in double
precision over all images and positions. The average of per-batch variances, which is common, misses the spread between
batches and is too small.

Dimensions: N images of a batch, C channels.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from mmssl_dynamic.errors import DataError
from mmssl_dynamic.models.backbones import BNStatistics
from mmssl_dynamic.models.eval_mode import eval_mode

Batches = Iterable[Any]
"""Image tensors (N, 3, H, W), or batches of :class:`~mmssl_dynamic.datasets.batches.ImageBatches`."""


@dataclass
class _Moments:
    """Sums over everything a BatchNorm has normalised so far, in double precision."""

    count: int = 0
    total: Tensor | float = 0.0  # (C,) sum of x
    squares: Tensor | float = 0.0  # (C,) sum of x^2

    def add(self, count: int, mean: Tensor, unbiased_var: Tensor) -> None:
        mean, var = mean.double(), unbiased_var.double() * (count - 1) / count
        self.count += count
        self.total = self.total + count * mean
        self.squares = self.squares + count * (var + mean.square())

    def statistics(self) -> tuple[Tensor, Tensor]:
        """Mean and unbiased variance: what BatchNorm keeps for evaluation when it sees everything in one batch."""
        assert isinstance(self.total, Tensor)
        mean = self.total / self.count
        biased = self.squares / self.count - mean.square()
        unbiased = (biased * (self.count / (self.count - 1))).clamp(min=0)
        return mean.float(), unbiased.float()


@contextmanager
def _collecting(layer: _BatchNorm, moments: _Moments) -> Iterator[None]:
    """Normalise with batch statistics and pool them, in fresh buffers, for the length of the block."""
    buffers, momentum, tracks = dict(layer._buffers), layer.momentum, layer.track_running_stats
    # With momentum 1 the layer's buffers hold the statistics of the last batch alone, so pooling costs no extra pass.
    example = layer.weight if layer.affine else next(iter(layer.buffers()), torch.zeros(()))
    layer.training, layer.momentum, layer.track_running_stats = True, 1.0, True
    layer._buffers["running_mean"] = torch.zeros(layer.num_features, device=example.device)
    layer._buffers["running_var"] = torch.ones(layer.num_features, device=example.device)
    layer._buffers["num_batches_tracked"] = torch.zeros((), dtype=torch.long, device=example.device)

    def pool(layer: nn.Module, inputs: tuple[Tensor], output: Tensor) -> None:
        assert isinstance(layer, _BatchNorm)
        assert layer.running_mean is not None
        assert layer.running_var is not None
        moments.add(inputs[0].numel() // inputs[0].shape[1], layer.running_mean, layer.running_var)

    hook = layer.register_forward_hook(pool)
    try:
        yield
    finally:
        hook.remove()
        layer._buffers.update(buffers)
        layer.momentum, layer.track_running_stats = momentum, tracks


def pooled_statistics(
    module: nn.Module,
    batches: Batches,
    run: Callable[[Tensor], Any] | None = None,
    layers: Sequence[str] | None = None,
) -> BNStatistics:
    """Statistics of the BatchNorm layers (1-d to 3-d) of ``module`` over all of ``batches``, in one pass.

    Everything but the named layers works in evaluation mode. All training flags and buffers are left as they were.

    Args:
        module: A network of plain modules.
        batches: Inputs of the network. A last batch of a single image is joined with the one before it.
        run: What to call with each batch. Defaults to ``module``.
        layers: Names of the BatchNorm layers to collect. Defaults to all.

    Returns:
        Mean and unbiased variance, float32 tensors (C,), by the layer's name. Layers that were not run are left out.

    Raises:
        DataError: no images, or a layer sees a single value per channel.
    """
    norms = {name: part for name, part in module.named_modules() if isinstance(part, _BatchNorm)}
    chosen = {name: norms[name] for name in (norms if layers is None else layers)}
    moments = {name: _Moments() for name in chosen}
    try:
        with ExitStack() as stack:
            stack.enter_context(eval_mode(module))
            for name, layer in chosen.items():
                stack.enter_context(_collecting(layer, moments[name]))
            for images in _without_single_images(batches):
                (run or module)(images)
    except ValueError as error:
        if "more than 1 value per channel" not in str(error):
            raise
        raise DataError(
            "BatchNorm statistics need more than one value per channel: calibrate with at least two images."
        ) from error
    if not any(m.count for m in moments.values()):
        raise DataError("BatchNorm statistics need images, and there are none.")
    return {name: m.statistics() for name, m in moments.items() if m.count}


def _without_single_images(batches: Batches) -> Iterator[Tensor]:
    """Image tensors; a last batch of one image joins its predecessor: alone it has no variance at 1 x 1 pixels."""
    held: Tensor | None = None
    for batch in batches:
        images: Tensor = batch if isinstance(batch, Tensor) else batch.images
        if held is not None and len(images) == 1:
            held = torch.cat([held, images])
            continue
        if held is not None:
            yield held
        held = images
    if held is not None:
        yield held
