"""Blocks of a backbone, whose activations can be computed again in the backward pass instead of being kept."""

from __future__ import annotations

from contextlib import AbstractContextManager, ExitStack, nullcontext
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from mmssl_dynamic.models.elastic import ActiveSubnet, select


class Block(nn.Module):
    """Base of blocks. A subclass says in :meth:`run` what it computes.

    Attributes:
        with_cp: Whether only the input of the block is kept for the backward pass (gradient checkpointing).
    """

    def __init__(self) -> None:
        super().__init__()
        self.with_cp = False

    def run(self, x: Tensor) -> Tensor:
        """(N, C_in, H, W) -> (N, C_out, H', W')."""
        raise NotImplementedError

    def forward(self, x: Tensor) -> Tensor:
        """The same as :meth:`run`, and in the backward pass again with ``with_cp``."""
        if torch.jit.is_scripting() or not self.with_cp:
            return self.run(x)
        return _checkpointed(self, x)


def _checkpointed(block: Block, x: Tensor) -> Tensor:
    if not torch.is_grad_enabled():
        return block.run(x)
    # Blocks draw no random numbers, so their state needs no keeping.
    return checkpoint(
        block.run,
        x,
        use_reentrant=False,
        preserve_rng_state=False,
        context_fn=lambda: (nullcontext(), _Recomputation(block)),
    )


class _Recomputation(AbstractContextManager):
    """The second run of a block: as the first one, but that running BatchNorm statistics have counted the batch.

    The backward pass comes when the sub-network of the first run is no longer active. Can be entered several times,
    as backward passes that keep their graph do.
    """

    def __init__(self, block: nn.Module) -> None:
        modules = list(block.modules())
        self._norms = [module for module in modules if hasattr(module, "running_mean")]
        readers: list[Any] = [module for module in modules if hasattr(module, "activations")]
        channels = {c for module in readers for c in module.activations()}
        self._selections = [(c, c.active) for c in channels]
        self._subnet = next((c.subnet for c in channels), ActiveSubnet())
        self._name, self._track = self._subnet.name, self._subnet.track_statistics
        self._stack = ExitStack()

    def __enter__(self) -> None:
        # The operations have to save the same tensors as before, so the running statistics take part, with weight 0.
        for norm in self._norms:
            self._set(norm, "momentum", 0.0)
            for name, count in list(norm.named_buffers(recurse=False)):
                if name.endswith("batches_tracked"):
                    self._set(norm, name, count.clone())
        self._stack.enter_context(select(self._subnet, self._name, self._selections, self._track))

    def _set(self, module: nn.Module, name: str, value: Any) -> None:
        self._stack.callback(setattr, module, name, getattr(module, name))
        setattr(module, name, value)

    def __exit__(self, *_: object) -> None:
        self._stack.close()
