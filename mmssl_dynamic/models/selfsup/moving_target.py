"""The target network of BYOL: a moving average of backbone and projector (BYOL Sec. 3.1).

N batch, D dimension of projections.
"""

from __future__ import annotations

from copy import deepcopy
from typing import Any

import torch
from torch import Tensor, nn

from mmssl_dynamic.subnets import FULL


class MovingTarget:
    """Mixin for methods whose predictions are compared with a moving average of ``backbone`` and ``neck``.

    :class:`mmssl_dynamic.engine.TargetEMAHook` moves it once per optimiser step. The average is of the whole
    super-network, whichever network was trained.
    """

    backbone: Any
    neck: Any
    target_net: nn.Sequential

    def make_target(self) -> None:
        """Start the target as a copy of the online network, without gradients."""
        # One copy of both, so that the copied projector stays connected to the copied backbone.
        self.target_net = deepcopy(nn.Sequential(self.backbone, self.neck))
        self.target_net.requires_grad_(False)

    def init_weights(self) -> None:
        """Initialise the online network; the target starts as its copy."""
        super().init_weights()  # type: ignore[misc]  # of mmengine's BaseModule
        self.update_target(1.0)

    @torch.no_grad()
    def update_target(self, momentum: float) -> None:
        """Move the target towards the online network: xi <- (1 - momentum) xi + momentum theta, tau = 1 - momentum."""
        # DSPNet Eq. 6, 7
        online: dict[str, Tensor] = {f"0.{name}": p for name, p in self.backbone.named_parameters()}
        online.update({f"1.{name}": p for name, p in self.neck.named_parameters()})
        target: dict[str, Tensor] = dict(self.target_net.named_parameters())
        torch._foreach_mul_(list(target.values()), 1 - momentum)
        torch._foreach_add_(list(target.values()), [online[name] for name in target], alpha=momentum)


class SubnetTarget(MovingTarget):
    """The same for SDR: the target holds all sub-networks of the super-network, too."""

    trained_subnet: str

    @property
    def teaching_backbone(self) -> Any:
        """The super-network inside of the target."""
        return self.target_net[0]

    @torch.no_grad()
    def target_projection(self, name: str, view: Tensor) -> Tensor:
        """Projection of a view by a sub-network inside of the target: (N, 3, H, W) -> (N, D)."""
        backbone: Any = self.target_net[0]
        # Only a batch of D_0 may move the running statistics of the full network.
        with backbone.subnet(name, track_statistics=name == FULL and self.trained_subnet == FULL):
            return self.target_net(view)[0]
