"""The classifier of DSPNet's linear probe: BatchNorm on top of the linear layer (DSPNet Sec. 0.A.2)."""

from __future__ import annotations

from typing import Any

from mmcv.cnn import build_norm_layer
from mmpretrain.models.heads import LinearClsHead
from torch import Tensor

from mmssl_dynamic.registry import MODELS, mmpretrain_scope


@MODELS.register_module()
class LinearBNHead(LinearClsHead):
    """mmpretrain's ``LinearClsHead`` with a BatchNorm layer *after* its linear layer.

    The paper: it "affects the performance little, but makes the training less sensitive to the learning rate".
    N images, D feature dim, K classes.

    Args:
        num_classes: K.
        in_channels: D.
        norm_cfg: ``dict(type='BN1d')``, or ``dict(type='mmssl_dynamic.SyncBN')`` for statistics of the batches of all
            processes together. Affine, as usual.
        kwargs: Arguments of ``LinearClsHead``, such as ``loss`` and ``init_cfg``.
    """

    @mmpretrain_scope()
    def __init__(self, num_classes: int, in_channels: int, norm_cfg: dict | None = None, **kwargs: Any) -> None:
        super().__init__(num_classes, in_channels, **kwargs)
        self.bn = build_norm_layer(norm_cfg or dict(type="BN1d"), num_classes)[1]

    def forward(self, feats: tuple[Tensor, ...]) -> Tensor:
        """Pooled features, the last of them (N, D) -> scores (N, K)."""
        return self.bn(super().forward(feats))
