"""DSPNet: slimmable pre-training of many networks at once (arXiv 2207.06075), on BYOL.

The online encoder holds the desired networks; the target encoder, its moving average, always runs at full width and
depth. In a step n networks are trained: the smallest, the largest and n - 2 random others.
N batch, D dimension of projections.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from mmssl_dynamic.errors import ConfigError
from mmssl_dynamic.models.selfsup.directions import Views
from mmssl_dynamic.models.selfsup.momentum_bn import MomentumBatchNorm, update_running, use_momentum_bn
from mmssl_dynamic.models.selfsup.moving_target import MovingTarget
from mmssl_dynamic.models.selfsup.slimmable import SlimmableSiamese
from mmssl_dynamic.registry import MODELS


@MODELS.register_module()
class DSPNet(MovingTarget, SlimmableSiamese):
    """BYOL over a slimmable super-network.

    The target moves in :class:`mmssl_dynamic.engine.TargetEMAHook`, once per optimiser step. With a backbone of one
    network this is BYOL.

    Args:
        backbone: Config of the super-network, such as :class:`mmssl_dynamic.models.SlimmableMobileNetV3`.
        neck: Config of the elastic projector.
        head: Config of mmpretrain's ``LatentPredictHead``. Its loss, minus a cosine (``shift_factor=1`` makes it the
            paper's, which is never negative), enters twice.
        target_bn: ``'batch'``: the target normalises with the statistics of the batch, as in BYOL. ``'momentum'``:
            with momentum BN, as in the paper's experiments.
        same_view: Weight of a second loss of all networks but the largest (POA): each prediction is compared with the
            target of its own view, too. 0, as in the paper: with that of the other view alone.
        kwargs: ``directions``, ``teacher``, ``distillation`` and those of mmpretrain's ``BaseSelfSupervisor``.

    Raises:
        ConfigError: unknown ``target_bn``, or a negative weight.
    """

    # DSPNet Eq. 4: 2 - 2 cos(q(z), z') in both directions, which is 4 times their mean.
    scale = 4.0

    def __init__(self, *args: Any, target_bn: str = "batch", same_view: float = 0.0, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if same_view < 0:
            raise ConfigError(f"same_view={same_view} must be a weight, 0 or more.")
        self.same_view = same_view
        if target_bn not in ("batch", "momentum"):
            raise ConfigError(f"target_bn='{target_bn}' must be 'batch' or 'momentum'.")
        self.make_target()
        if target_bn == "momentum":
            use_momentum_bn(self.target_net)

    def step_targets(self, views: Views) -> tuple[Tensor, ...]:
        """Z' of the views that are predicted, once per step, for all networks."""
        with torch.no_grad():
            # DSPNet Eq. 3
            one = self.directions == "alternate" and not self.same_view
            targets = tuple(self.target_net(v)[0] for v in (views[1:] if one else views))
            update_running(self._momentum_norms())
        return targets

    def targets(self, views: Views, projections: tuple[Tensor, ...], shared: Any) -> tuple[Tensor, ...]:
        """The target network's projections."""
        return shared

    def more_losses(self, name: str, projections: tuple[Tensor, ...], targets: tuple[Tensor, ...]) -> dict[str, Tensor]:
        """POA's distillation from the same view."""
        if not self.same_view or name == self.backbone.subnets[-1]:
            return {}
        losses = [self.head.loss(z, target) for z, target in zip(projections, targets)]
        return {"loss_same": self.same_view * self.scale * sum(losses[1:], losses[0]) / len(losses)}

    def set_momentum_bn(self, momentum: float) -> None:
        """Set m of the target's momentum BN, the weight of the batch in what it normalises with."""
        for norm in self._momentum_norms():
            norm.batch_weight = momentum

    def _momentum_norms(self) -> list[MomentumBatchNorm]:
        return [module for module in self.target_net.modules() if isinstance(module, MomentumBatchNorm)]
