"""SDR on BYOL (SDR Sec. 5.1): the target is a moving average of the whole super-network.

N batch, D dimension of projections.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor

from mmssl_dynamic.models.selfsup.directions import Views
from mmssl_dynamic.models.selfsup.moving_target import SubnetTarget
from mmssl_dynamic.models.selfsup.sdr import SDR, Online
from mmssl_dynamic.registry import MODELS
from mmssl_dynamic.subnets import FULL


@MODELS.register_module()
class SDRBYOL(SubnetTarget, SDR):
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

    def ssl_loss(self, predictions: tuple[Tensor, ...], targets: Sequence[Tensor]) -> Tensor:
        """2 - 2 cos in both directions (without the constants, if the loss of the head leaves them out)."""
        return 4.0 * super().ssl_loss(predictions, targets)

    def targets(self, views: Views, online: Online) -> tuple[Tensor, ...]:
        """Projections of the same network inside of the target, of the views that are predicted."""
        predicted = views[-len(online.predictions) :]
        return tuple(self.target_projection(self.trained_subnet, view) for view in predicted)

    def teacher(self, view: Tensor) -> Tensor:
        """Projection of the full target."""
        return self.target_projection(FULL, view)
