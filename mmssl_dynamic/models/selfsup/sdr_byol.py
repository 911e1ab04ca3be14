"""SDR on BYOL (SDR Sec. 5.1): the target is a moving average of the whole super-network.

N batch, D dimension of projections.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from mmssl_dynamic.models.selfsup.moving_target import MovingTarget
from mmssl_dynamic.models.selfsup.sdr import SDR, Views
from mmssl_dynamic.registry import MODELS
from mmssl_dynamic.subnets import FULL


@MODELS.register_module()
class SDRBYOL(MovingTarget, SDR):
    """SDR on BYOL. With phase 0 alone this is BYOL.

    The online output of a sub-network predicts the target's projections: those of the same sub-network for L_SSL, and
    those of the full target for SiamKD (our reading; the paper shows SimSiam only). The target moves in
    :class:`mmssl_dynamic.engine.TargetEMAHook`, once per optimiser step.

    Args:
        args: As of :class:`SDR`. BYOL's loss is four times SimSiam's (2 - 2 cos in both directions, summed), so SiamKD
            needs ``weight=4`` to have the same part in it.
        kwargs: The same.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.make_target()

    def symmetrised_loss(self, predictions: Views, targets: Views) -> Tensor:
        """2 - 2 cos, both directions (without the constants, if the loss of the head leaves them out)."""
        return 4.0 * super().symmetrised_loss(predictions, targets)

    @torch.no_grad()
    def targets(self, views: Views, projections: Views) -> Views:
        """Projections of the same network inside of the target."""
        return self._target_projections(self.trained_subnet, views)

    @torch.no_grad()
    def teacher(self, views: Views) -> Views:
        """Projections of the full target."""
        return self._target_projections(FULL, views)

    def _target_projections(self, name: str, views: Views) -> Views:
        backbone: Any = self.target_net[0]
        # Only a batch of D_0 may move the running statistics of the full network.
        with backbone.subnet(name, track_statistics=name == FULL and self.trained_subnet == FULL):
            return self.target_net(views[0])[0], self.target_net(views[1])[0]
