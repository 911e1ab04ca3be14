"""Models and images on a card that need not be there.

PyTorch's fake tensors have a device and no values, and an operation on tensors of two devices is an error.
"""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensor, FakeTensorMode

from mmssl_dynamic.forecast.step_cost import become_fake


def on_cuda(model: nn.Module) -> tuple[Any, FakeTensorMode]:
    """A model with fake weights, and the mode in which it lives; new tensors become fake where they are first used."""
    mode = FakeTensorMode(allow_non_fake_inputs=True)
    become_fake(model, mode, "cuda")
    return model, mode


def fake_views(mode: FakeTensorMode, count: int = 4) -> list[Tensor]:
    """Two views of ``count`` images."""
    with mode:
        return [torch.zeros(count, 3, 32, 32, device="cuda") for _ in range(2)]


def answer(monkeypatch: pytest.MonkeyPatch, value: float) -> None:
    """Code that asks fake tensors for their values hears this one, and that no element is zero."""
    for name, kind in (("item", float), ("__bool__", bool), ("__int__", int), ("__float__", float)):
        monkeypatch.setattr(FakeTensor, name, lambda self, kind=kind: kind(value), raising=False)
    places = lambda self: torch.zeros(self.numel(), self.ndim, dtype=torch.long, device=self.device)  # noqa: E731
    monkeypatch.setattr(FakeTensor, "nonzero", places, raising=False)


def kinds(*tensors: Tensor) -> set[str]:
    """The kinds of devices that tensors lie on."""
    return {tensor.device.type for tensor in tensors}
