"""What OpenMMLab expects of every backbone: weights by ``init_cfg``, frozen layers, norm layers that stay put."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from mmengine.model import BaseModule
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from mmssl_dynamic.models.backbones.pretrained import load_pretrained

_INITIALISERS = (
    dict(type="Kaiming", layer=["Conv2d"]),
    dict(type="Constant", val=1, layer=["_BatchNorm", "GroupNorm"]),
)


class Trunk(BaseModule):
    """Base of the trunks. A subclass makes its layers, says which are frozen, and calls :meth:`freeze` last.

    Args:
        frozen_stages: How many layers are frozen, as the subclass counts them; -1 freezes nothing.
        norm_eval: Keep norm layers in evaluation mode while training.
        init_cfg: mmengine's. A ``Pretrained`` checkpoint, a local file, is loaded strictly and without executing it.
    """

    def __init__(self, frozen_stages: int, norm_eval: bool, init_cfg: dict | list[dict] | None) -> None:
        super().__init__([dict(config) for config in _INITIALISERS] if init_cfg is None else init_cfg)
        self.frozen_stages, self.norm_eval = frozen_stages, norm_eval

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
