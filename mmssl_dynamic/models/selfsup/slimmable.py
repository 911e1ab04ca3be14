"""Slimmable siamese pre-training: a base class, and SimSiam on it.

N batch, D dimension of projections.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from mmpretrain.models.selfsup import BaseSelfSupervisor
from mmpretrain.registry import MODELS as MMPRETRAIN_MODELS
from torch import Tensor, nn

from mmssl_dynamic.errors import ConfigError
from mmssl_dynamic.models.backbones import SuperNetwork
from mmssl_dynamic.models.from_plain import StartsFromPlain
from mmssl_dynamic.models.sandwich import SandwichTraining
from mmssl_dynamic.models.selfsup.sdr import Views, collapse_std
from mmssl_dynamic.registry import MODELS, mmpretrain_scope


class SlimmableSiamese(StartsFromPlain, SandwichTraining, BaseSelfSupervisor):
    """Base of siamese methods over a slimmable super-network.

    A method says what the predictions of a network are compared with: once per step in :meth:`begin_step`, or for
    each network in :meth:`targets`.

    Args:
        backbone: Config of the super-network, such as :class:`mmssl_dynamic.models.SlimmableMobileNetV3`.
        neck: Config of the elastic projector; ``in_channels`` follows from the backbone.
        head: Config of mmpretrain's ``LatentPredictHead``: the predictor and the loss of its output.
        kwargs: Those of mmpretrain's ``BaseSelfSupervisor``. ``init_cfg`` of type
            :class:`~mmssl_dynamic.models.FromPlain` starts the largest network as a plain one.

    Raises:
        ConfigError: the backbone is not a super-network.
    """

    @mmpretrain_scope()
    def __init__(self, backbone: dict, neck: dict, head: dict, **kwargs: Any) -> None:
        network = backbone if isinstance(backbone, nn.Module) else MMPRETRAIN_MODELS.build(backbone)
        if not isinstance(network, SuperNetwork):
            raise ConfigError(
                f"{type(self).__name__} needs a super-network such as mmssl_dynamic.SlimmableMobileNetV3, not "
                f"{type(network).__name__}."
            )
        features = network.feature_channels
        super().__init__(network, {"in_channels": features.total, **neck}, head, **kwargs)
        self.neck.connect(features)

    def loss(self, inputs: Sequence[Tensor], data_samples: Any = None, **kwargs: Any) -> dict[str, Tensor]:
        """Losses of all networks of this step in one graph; :meth:`train_step` needs less memory.

        Args:
            inputs: Two views, each (N, 3, H, W).
            data_samples: Not used.
            kwargs: Not used; mmpretrain's interface has them.
        """
        return self.summed_loss(inputs, data_samples)

    def network_loss(self, name: str, inputs: Any, data_samples: Any, shared: Any) -> dict[str, Tensor]:
        """``loss`` of one network, and ``std``, its collapse measure (1 / sqrt(D) is healthy, 0 is collapse)."""
        with self.backbone.subnet(name):
            projections = self.project((inputs[0], inputs[1]))
            targets = self.targets(projections, shared)
            loss = self.symmetrised_loss(projections, targets)
        return {"loss": loss, "std": collapse_std(projections[0])}

    def project(self, views: Views) -> Views:
        """g(f(v)) of the active network: (N, 3, H, W) -> (N, D) for each view."""
        # DSPNet Eq. 2
        return self.neck(self.backbone(views[0]))[0], self.neck(self.backbone(views[1]))[0]

    def targets(self, projections: Views, shared: Any) -> Views:
        """What each view's projection serves as, or is replaced by, when it is the target of the other view."""
        raise NotImplementedError

    def symmetrised_loss(self, projections: Views, targets: Views) -> Tensor:
        """Loss of both directions."""
        raise NotImplementedError


@MODELS.register_module()
class SlimmableSimSiam(SlimmableSiamese):
    """SimSiam over a slimmable super-network: every network predicts its own projections (stop-gradient)."""

    def targets(self, projections: Views, shared: Any) -> Views:
        """The network's own projections."""
        return projections

    def symmetrised_loss(self, projections: Views, targets: Views) -> Tensor:
        """Negative cosine, averaged over both directions (SimSiam Eq. 2)."""
        first = self.head.loss(projections[0], targets[1])
        second = self.head.loss(projections[1], targets[0])
        return 0.5 * (first + second)
