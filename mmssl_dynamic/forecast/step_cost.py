"""Multiply-accumulates, launches and saved activations of training steps, counted on tensors without values.

PyTorch's fake tensors go through the real loss and its backward pass, so that whatever a method computes is counted:
teachers, target networks, both directions. B batch.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from mmengine.config import Config
from mmengine.model import revert_sync_batchnorm
from mmpretrain.structures import DataSample
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.autograd.graph import saved_tensors_hooks
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import FlopCounterMode

from mmssl_dynamic.forecast.schedule import SHARED
from mmssl_dynamic.models.backbones.pretrained import without_weights
from mmssl_dynamic.models.elastic.positions import as_on_card
from mmssl_dynamic.models.sandwich import SandwichTraining
from mmssl_dynamic.models.selfsup import SDR

_BATCH = 4  # of the steps that are counted; what is linear in B is scaled


def _without_memory(build: Callable[[Any], nn.Module], options: dict[str, Any]) -> nn.Module:
    """A model on the meta device; with memory where a constructor looks at values, as that of mmpretrain's ResNet."""
    try:
        with torch.device("meta"):
            return build(dict(options))
    except RuntimeError as error:
        if "meta tensor" not in str(error):
            raise
    return build(options)


def become_fake(model: nn.Module, mode: FakeTensorMode, device: str = "cpu") -> None:
    """Put fake tensors in place of all weights and buffers, and of what a frozen teacher hides from its model.

    Args:
        model: Built on any device; its own tensors are freed.
        mode: In which it can be used from here on.
        device: Of the fake tensors; one that the machine does not have will do.
    """
    known: dict[int, Tensor] = {}  # some belong to several modules

    def fake(tensor: Tensor) -> Any:
        if id(tensor) not in known:
            with mode:
                made = torch.zeros(tuple(tensor.shape), dtype=tensor.dtype, device=device)
            known[id(tensor)] = nn.Parameter(made, tensor.requires_grad) if isinstance(tensor, nn.Parameter) else made
        return known[id(tensor)]

    for module in model.modules():
        for tensors in (module._parameters, module._buffers):
            for name, tensor in tensors.items():
                if tensor is not None:
                    tensors[name] = fake(tensor)
    teacher: Any = getattr(model, "frozen_teacher", None)
    if teacher is not None:
        become_fake(teacher.network, mode, device)
        teacher._scale, teacher._shift = fake(teacher._scale), fake(teacher._shift)


@dataclass(frozen=True)
class Cost:
    """Of a step.

    Attributes:
        macs: Multiply-accumulates of one image, forwards and backwards.
        activation_bytes: What the backward pass needs of one image, in single precision.
        launches: Operations that a processor starts on the card, however many images there are: those that compute, or
            that copy or fill memory, before autocast adds its own.
    """

    macs: float
    activation_bytes: float
    launches: int


class LaunchCounter(TorchDispatchMode):
    """Counts operations that do something on a device: not views, and neither allocations nor questions."""

    def __init__(self) -> None:
        super().__init__()
        self.count = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.count += func.namespace == "aten" and not func.is_view and not func._opname.startswith("empty")
        return func(*args, **(kwargs or {}))


class FakeModel:
    """The model of a config with fake weights, and the cost of its steps.

    Args:
        config: Pre-training config.
        views: Images of a sample as the pipeline hands them over, each (C, H, W): one, or those of a siamese method.
    """

    def __init__(self, config: Config, views: Sequence[Tensor]) -> None:
        from mmpretrain.registry import MODELS
        from mmpretrain.utils import register_all_modules

        register_all_modules(init_default_scope=False)
        self.mode = FakeTensorMode()
        options = {key: value for key, value in config.model.items() if key != "init_cfg"}
        with MODELS.switch_scope_and_registry("mmpretrain") as registry, without_weights():
            self.model: nn.Module = revert_sync_batchnorm(_without_memory(registry.build, options)).train()
        become_fake(self.model, self.mode)
        with self.mode:
            images = [torch.zeros(_BATCH, *view.shape) for view in views]
        self.inputs: Any = images if len(images) > 1 else images[0]
        self._own = {tensor.untyped_storage()._cdata for tensor in (*self.model.parameters(), *self.model.buffers())}

    def cost(self, network: str) -> Cost:
        """Of training one network, by its name, :data:`~mmssl_dynamic.forecast.schedule.WHOLE` or ``SHARED``."""
        model, samples = self.model, [self._sample(network) for _ in range(_BATCH)]
        if isinstance(model, SandwichTraining):
            if network == SHARED:
                return self._counted(lambda: model.begin_step(self.inputs, samples))
            largest = model.backbone.subnets[-1]
            with self.mode, torch.no_grad():
                shared = model.begin_step(self.inputs, samples)
                if network != largest and model.ordered(model.backbone.subnets)[0] == largest:
                    model.network_loss(largest, self.inputs, samples, shared)  # which teaches the others
            return self._counted(lambda: model.network_loss(network, self.inputs, samples, shared))
        return self._counted(lambda: model.loss(self.inputs, samples))  # type: ignore[operator]

    def _counted(self, forward: Callable[[], Any]) -> Cost:
        """Of a forward pass and, where it gives losses, of the backward pass."""
        saved: dict[int, int] = {}

        def pack(tensor: Tensor) -> Tensor:
            storage = tensor.untyped_storage()
            if storage._cdata not in self._own:
                saved[storage._cdata] = storage.nbytes()
            return tensor.detach()  # an output that is kept as it is would keep its own graph alive

        with self.mode, as_on_card(), FlopCounterMode(display=False) as counter, LaunchCounter() as launches:
            with saved_tensors_hooks(pack, lambda tensor: tensor):
                losses = forward()
            held = sum(saved.values())
            if isinstance(losses, dict):
                parts = [loss.mean() for name, loss in losses.items() if "loss" in name]
                trained = [parameter for parameter in self.model.parameters() if parameter.requires_grad]
                torch.autograd.grad(sum(parts[1:], parts[0]), trained, allow_unused=True)
        return Cost(counter.get_total_flops() / 2 / _BATCH, held / _BATCH, launches.count)

    def _sample(self, network: str) -> DataSample:
        sample = DataSample()
        if isinstance(self.model, SDR):
            sample.set_field(network, "subnet", field_type="metainfo")
        elif not isinstance(self.inputs, list):
            with self.mode:
                sample.set_gt_label(torch.zeros(1, dtype=torch.long))
        return sample

    @property
    def weight_bytes(self) -> int:
        """Of everything that a checkpoint holds of the model."""
        return sum(tensor.nbytes for tensor in self.model.state_dict().values())

    @property
    def trained_bytes(self) -> int:
        """Of the weights that are trained."""
        return sum(tensor.nbytes for tensor in self.model.parameters() if tensor.requires_grad)
