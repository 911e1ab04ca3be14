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
from mmssl_dynamic.models.selfsup.momentum_bn import MomentumBatchNorm, use_momentum_bn
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
        kwargs: ``directions`` and those of mmpretrain's ``BaseSelfSupervisor``.

    Raises:
        ConfigError: unknown ``target_bn``.
    """

    # DSPNet Eq. 4: 2 - 2 cos(q(z), z') in both directions, which is 4 times their mean.
    scale = 4.0

    def __init__(self, *args: Any, target_bn: str = "batch", **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if target_bn not in ("batch", "momentum"):
            raise ConfigError(f"target_bn='{target_bn}' must be 'batch' or 'momentum'.")
        self.make_target()
        if target_bn == "momentum":
            use_momentum_bn(self.target_net)

    def begin_step(self, inputs: Any, data_samples: Any) -> tuple[Tensor, ...]:
        """Z' of the views that are predicted, once per step, for all networks."""
        views = self.step_views(inputs)
        with torch.no_grad():
            # DSPNet Eq. 3
            targets = tuple(self.target_net(v)[0] for v in (views[1:] if self.directions == "alternate" else views))
            for norm in self._momentum_norms():
                norm.update()
        return targets

    def targets(self, views: Views, projections: tuple[Tensor, ...], shared: Any) -> tuple[Tensor, ...]:
        """The target network's projections."""
        return shared

    def set_momentum_bn(self, momentum: float) -> None:
        """Set m of the target's momentum BN, the weight of the batch in what it normalises with."""
        for norm in self._momentum_norms():
            norm.batch_weight = momentum

    def _momentum_norms(self) -> list[MomentumBatchNorm]:
        return [module for module in self.target_net.modules() if isinstance(module, MomentumBatchNorm)]
