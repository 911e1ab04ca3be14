"""Mixed precision on a processor: mmengine's ``AmpOptimWrapper`` asks for a GPU, whose scaler bf16 does not need."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from mmengine.optim import OptimWrapper
from mmengine.utils import apply_to
from torch import Tensor, nn

from mmssl_dynamic.registry import OPTIM_WRAPPERS


@OPTIM_WRAPPERS.register_module()
class Bf16OptimWrapper(OptimWrapper):
    """mmengine's ``OptimWrapper`` with losses computed under autocast to bfloat16."""

    @contextmanager
    def optim_context(self, model: nn.Module) -> Iterator[None]:
        """Around the computation of a loss."""
        device = next(model.parameters()).device.type
        with super().optim_context(model), torch.autocast(device, torch.bfloat16), losses_in_floats(model):
            yield


@contextmanager
def losses_in_floats(model: nn.Module) -> Iterator[None]:
    """Give the loss modules of a model floats, while the block lasts.

    Norms and cosines of bf16 tensors are floats under autocast on a GPU; on a processor they stay bf16, whose three
    digits say little about a cosine near one. Loss modules are those of a package's ``losses``, torch's, and whatever
    a head has as its ``loss_module``.
    """
    losses = [module for name, module in model.named_modules() if _is_loss(name, module)]
    handles = [module.register_forward_pre_hook(_to_floats, with_kwargs=True) for module in losses]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def _is_loss(name: str, module: nn.Module) -> bool:
    own_kind = ".losses." in type(module).__module__ or isinstance(module, nn.modules.loss._Loss)
    return own_kind or name.rpartition(".")[2] == "loss_module"


def _to_floats(module: nn.Module, args: Any, kwargs: Any) -> tuple[Any, Any]:
    floats: tuple[Any, Any] = apply_to(
        (args, kwargs), lambda value: isinstance(value, Tensor) and value.dtype is torch.bfloat16, Tensor.float
    )
    return floats
