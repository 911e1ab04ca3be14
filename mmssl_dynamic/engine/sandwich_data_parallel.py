"""Data parallel training of sandwich steps: gradients are averaged once per step, not once per network."""

from __future__ import annotations

from typing import Any

import torch
from mmengine.dist import all_reduce_params, broadcast, get_world_size
from mmengine.registry import MODEL_WRAPPERS as ROOT_WRAPPERS
from torch import Tensor, nn

from mmssl_dynamic.errors import ConfigError
from mmssl_dynamic.models.sandwich import SandwichTraining, own_gradients
from mmssl_dynamic.registry import MODEL_WRAPPERS

assert MODEL_WRAPPERS.parent is ROOT_WRAPPERS  # mmengine recognises wrappers by their registry


@MODEL_WRAPPERS.register_module()
class SandwichDataParallel(nn.Module):
    """Wrapper for :class:`~mmssl_dynamic.models.sandwich.SandwichTraining` on several processes.

    torch's DistributedDataParallel averages in every backward pass, n times a step, and waits for parameters that a
    shallow network does not have. Here the gradients that have accumulated over all networks (and over all passes of
    gradient accumulation) are averaged in buckets when the optimiser is about to move. All processes train the same
    networks, so they hold the same gradients.

    Args:
        module: The model; its weights and buffers become those of the first process.
        bucket_size_mb: Size of what is averaged at a time, in MiB.

    Raises:
        ConfigError: the model has no sandwich training.
    """

    def __init__(self, module: nn.Module, bucket_size_mb: int = 32) -> None:
        super().__init__()
        if not isinstance(module, SandwichTraining):
            raise ConfigError(
                f"SandwichDataParallel is for models with sandwich training, not {type(module).__name__}; leave "
                "model_wrapper_cfg out."
            )
        self.module, self.bucket_size_mb = module, bucket_size_mb
        if get_world_size() > 1:
            with torch.no_grad():
                for tensor in module.state_dict().values():
                    broadcast(tensor, src=0)
        module.before_update = self.average_gradients

    def average_gradients(self) -> None:
        """Replace every gradient by its mean over processes."""
        if get_world_size() > 1:
            all_reduce_params(own_gradients(self.module), bucket_size_mb=self.bucket_size_mb, op="mean")

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """The model's own."""
        return self.module(*args, **kwargs)

    def train_step(self, data: Any, optim_wrapper: Any) -> dict[str, Tensor]:
        """A sandwich step with averaged gradients."""
        return self.module.train_step(data, optim_wrapper)

    def val_step(self, data: Any) -> list:
        """The model's own."""
        return self.module.val_step(data)

    def test_step(self, data: Any) -> list:
        """The model's own."""
        return self.module.test_step(data)
