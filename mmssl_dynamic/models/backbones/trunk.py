"""What OpenMMLab expects of every backbone: feature maps by ``out_indices``, weights by ``init_cfg``, frozen layers.

N batch, C channels, H W height and width.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import torch
from mmengine.model import BaseModule
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from mmssl_dynamic.models.backbones.block import Block
from mmssl_dynamic.models.backbones.layers import active
from mmssl_dynamic.models.backbones.pretrained import load_pretrained

_INITIALISERS = (
    dict(type="Kaiming", layer=["Conv2d"]),
    dict(type="Constant", val=1, layer=["_BatchNorm", "GroupNorm"]),
)


class Trunk(BaseModule):
    """Base of the trunks: its children run one after another, the first ``stem_parts`` of them as the stem.

    What a child behind the stem puts out is output 0, 1, 2, ... A subclass makes the children in this order, says how
    wide their outputs are and which layers are frozen, and calls :meth:`finish` last.

    Args:
        stem_parts: Number of children that make the stem.
        out_indices: Outputs that are returned, ascending. Children behind the last of them are not run and take no
            gradient, so that data-parallel training does not wait for one.
        frozen_stages: How many layers are frozen, as the subclass counts them; -1 freezes nothing.
        norm_eval: Keep norm layers in evaluation mode while training.
        with_cp: Keep no activations of the inside of blocks and compute them again in the backward pass, which saves
            memory and costs a forward pass (gradient checkpointing).
        init_cfg: mmengine's. A ``Pretrained`` checkpoint, a local file, is loaded strictly and without executing it.

    Attributes:
        output_widths: Channels of every output, numbers or ``Channels``.
    """

    # TorchScript compiles all properties but these.
    __jit_unused_properties__ = ["is_init", "out_channels", "feature_channels"]

    def __init__(
        self,
        stem_parts: int,
        out_indices: Sequence[int],
        frozen_stages: int = -1,
        norm_eval: bool = False,
        with_cp: bool = False,
        init_cfg: dict | list[dict] | None = None,
    ) -> None:
        super().__init__([dict(config) for config in _INITIALISERS] if init_cfg is None else init_cfg)
        self.stem_parts, self.out_indices = stem_parts, tuple(out_indices)
        self.frozen_stages, self.norm_eval, self.with_cp = frozen_stages, norm_eval, with_cp
        self.output_widths: tuple = ()

    def finish(self, output_widths: Sequence[Any]) -> None:
        """What can be done only when all layers are there."""
        self.output_widths = tuple(output_widths)
        for module in self.modules():
            if isinstance(module, Block):
                module.with_cp = self.with_cp
        for layer in list(self.children())[self.stem_parts + self.out_indices[-1] + 1 :]:
            layer.requires_grad_(False)
        self.freeze()

    @property
    def out_channels(self) -> tuple[int, ...]:
        """Channels of every returned feature map; of a super-network, those of its active sub-network."""
        return tuple(active(self.output_widths[i]) for i in self.out_indices)

    # TorchScript knows no tuple of any length: it takes no annotation of one, and gets a list.
    def forward(self, x: Tensor):  # type: ignore[no-untyped-def]
        """Images (N, 3, H, W) -> one (N, C, H / stride, W / stride) for each of ``out_indices``, as a tuple."""
        return self.behind_stem(self.stem(x))

    def stem(self, x: Tensor) -> Tensor:
        """Images (N, 3, H, W) -> what the stem makes of them, (N, C, H / stride, W / stride)."""
        for number, part in enumerate(self.children()):
            if number < self.stem_parts:
                x = part(x)
        return x

    def behind_stem(self, x: Tensor):  # type: ignore[no-untyped-def]
        """What :meth:`stem` gave -> what :meth:`forward` returns."""
        outputs: list[Tensor] = []
        for number, part in enumerate(self.children()):
            index = number - self.stem_parts
            if 0 <= index <= self.out_indices[-1]:
                x = part(x)
                if index in self.out_indices:
                    outputs.append(x)
        if torch.jit.is_scripting():
            return outputs
        return tuple(outputs)

    def all_outputs(self, images: Tensor) -> dict[int, Tensor]:
        """Images (N, 3, H, W) -> every output, whatever ``out_indices`` is, by its number."""
        x, outputs = images, {}
        for index, part in enumerate(self.children(), start=-self.stem_parts):
            x = part(x)
            if index >= 0:
                outputs[index] = x
        return outputs

    def frozen_layers(self) -> Iterable[nn.Module]:
        """The layers that ``frozen_stages`` names."""
        raise NotImplementedError

    def freeze(self) -> None:
        """Put frozen layers into evaluation mode and their parameters out of the optimiser's reach."""
        for layer in self.frozen_layers():
            layer.eval().requires_grad_(False)

    def init_weights(self) -> None:
        """Initialise, or load ``init_cfg``'s checkpoint and refuse one that does not fit."""
        if not load_pretrained(self):
            super().init_weights()
            self.init_residuals()

    def init_residuals(self) -> None:
        """What a subclass sets after the layers have been initialised."""

    def train(self, mode: bool = True) -> Any:
        """Training mode, but for frozen layers and, with ``norm_eval``, norm layers."""
        super().train(mode)
        self.freeze()
        if mode and self.norm_eval:
            for module in self.modules():
                if isinstance(module, _BatchNorm):
                    module.eval()
        return self
