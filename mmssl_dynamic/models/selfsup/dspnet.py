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
from mmssl_dynamic.models.selfsup.momentum_bn import MomentumBatchNorm, use_momentum_bn
from mmssl_dynamic.models.selfsup.moving_target import MovingTarget
from mmssl_dynamic.models.selfsup.sdr import Views
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
        kwargs: Those of mmpretrain's ``BaseSelfSupervisor``.

    Raises:
        ConfigError: unknown ``target_bn``.
    """

    def __init__(self, *args: Any, target_bn: str = "batch", **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if target_bn not in ("batch", "momentum"):
            raise ConfigError(f"target_bn='{target_bn}' must be 'batch' or 'momentum'.")
        self.make_target()
        if target_bn == "momentum":
            use_momentum_bn(self.target_net)

    def begin_step(self, inputs: Any, data_samples: Any) -> Views:
        """Z' of both views, once per step, for all networks."""
        with torch.no_grad():
            # DSPNet Eq. 3
            targets = (self.target_net(inputs[0])[0], self.target_net(inputs[1])[0])
            for norm in self._momentum_norms():
                norm.update()
        return targets

    def targets(self, projections: Views, shared: Views) -> Views:
        """The target network's projections."""
        return shared

    def symmetrised_loss(self, projections: Views, targets: Views) -> Tensor:
        """L of one network: 2 - 2 cos(q(z), z'), both directions."""
        # DSPNet Eq. 4
        first = self.head.loss(projections[0], targets[1])
        second = self.head.loss(projections[1], targets[0])
        return 2.0 * (first + second)

    def set_momentum_bn(self, momentum: float) -> None:
        """Set m of the target's momentum BN, the weight of the batch in what it normalises with."""
        for norm in self._momentum_norms():
            norm.batch_weight = momentum

    def _momentum_norms(self) -> list[MomentumBatchNorm]:
        return [module for module in self.target_net.modules() if isinstance(module, MomentumBatchNorm)]
