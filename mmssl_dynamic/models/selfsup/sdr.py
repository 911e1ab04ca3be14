"""SDR: Task-customized Self-supervised Pre-training with Scalable Dynamic Routing (AAAI 2022, arXiv 2205.13267).

One step trains one network of the space N on a batch of its own data (Algorithm 1). The full network W_0 trains with
the base method's loss on D_0, a sub-network W_i with the same loss on its cluster D_i plus SiamKD towards W_0.
N batch, D dimension of projections.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from mmpretrain.models.selfsup import BaseSelfSupervisor
from mmpretrain.registry import MODELS as MMPRETRAIN_MODELS
from torch import Tensor, nn

from mmssl_dynamic.errors import ConfigError
from mmssl_dynamic.models.backbones import SuperNetwork
from mmssl_dynamic.models.elastic import active_regions
from mmssl_dynamic.models.elastic.channels import Region
from mmssl_dynamic.models.from_plain import StartsFromPlain
from mmssl_dynamic.registry import MODELS, mmpretrain_scope
from mmssl_dynamic.subnets import FULL

Views = tuple[Tensor, Tensor]


@MODELS.register_module()
class SDR(StartsFromPlain, BaseSelfSupervisor):
    """SDR on SimSiam.

    Another base method overrides :meth:`targets` and :meth:`teacher`.

    Args:
        backbone: Config of the super-network, such as :class:`mmssl_dynamic.models.SDRResNet`.
        neck: Config of the projector; ``in_channels`` follows from the backbone.
        head: Config of mmpretrain's ``LatentPredictHead``: the predictor h and the loss of its output.
        distillation: Config of the distillation from W_0, ``SiamKD`` or ``L2Distillation``; ``None`` for none.
        kwargs: Those of mmpretrain's ``BaseSelfSupervisor``. ``init_cfg`` of type
            :class:`~mmssl_dynamic.models.FromPlain` starts all paths from a plain network.
    """

    @mmpretrain_scope()
    def __init__(
        self,
        backbone: dict,
        neck: dict,
        head: dict,
        distillation: dict | None = dict(type="mmssl_dynamic.SiamKD"),  # noqa: B006  (a config, never changed)
        **kwargs: Any,
    ) -> None:
        network = backbone if isinstance(backbone, nn.Module) else MMPRETRAIN_MODELS.build(backbone)
        if not isinstance(network, SuperNetwork):
            raise ConfigError(
                f"SDR needs a super-network such as mmssl_dynamic.SDRResNet, not {type(network).__name__}."
            )
        features = network.feature_channels
        super().__init__(network, {"in_channels": features.total, **neck}, head, **kwargs)
        self.neck.connect(features)
        self.distillation = None if distillation is None else MMPRETRAIN_MODELS.build(distillation)
        self.trained_subnet = FULL

    def loss(self, inputs: Sequence[Tensor], data_samples: Sequence[Any], **kwargs: Any) -> dict[str, Tensor]:
        """Loss of one step of Algorithm 1, for the network the batch was drawn for.

        Args:
            inputs: Two views, each (N, 3, H, W).
            data_samples: Of every image; their meta data name the sub-network.
            kwargs: Not used; mmpretrain's interface has them.

        Returns:
            ``loss_ssl`` and, for a sub-network, ``loss_kd``; ``std`` is the collapse measure (1 / sqrt(D) is healthy,
            0 is collapse).
        """
        name = self.trained_subnet = batch_subnet(data_samples)
        views: Views = (inputs[0], inputs[1])
        with self.backbone.subnet(name):
            projections = self.project(views)
            predictions = (self.head.predictor([projections[0]])[0], self.head.predictor([projections[1]])[0])
            targets = self.targets(views, projections)
        losses = {"loss_ssl": self.symmetrised_loss(predictions, targets)}
        if name != FULL and self.distillation is not None:
            losses["loss_kd"] = self.distillation(predictions, projections, self.teacher(views))
        losses["std"] = collapse_std(projections[0])
        return losses

    def project(self, views: Views) -> Views:
        """f(x1), f(x2) of the active network: (N, 3, H, W) -> (N, D)."""
        return self.neck(self.backbone(views[0]))[0], self.neck(self.backbone(views[1]))[0]

    def symmetrised_loss(self, predictions: Views, targets: Views) -> Tensor:
        """Negative cosine between each view's prediction and the other view's target."""
        # SDR Eq. 1; the paper leaves out the sign and the second direction, which are SimSiam's.
        loss_module = self.head.loss_module
        loss_1 = loss_module(predictions[0], targets[1].detach())
        loss_2 = loss_module(predictions[1], targets[0].detach())
        return 0.5 * (loss_1 + loss_2)

    def targets(self, views: Views, projections: Views) -> Views:
        """What the predictions of L_SSL are compared with: SimSiam's own projections, under stop-gradient."""
        return projections

    @torch.no_grad()
    def teacher(self, views: Views) -> Views:
        """f_W0(x1), f_W0(x2) for SiamKD, under stop-gradient.

        W_0 sees the images of one cluster here, so its running statistics, those of D_0, must not follow.
        """
        with self.backbone.subnet(FULL, track_statistics=False):
            return self.project(views)

    def trained_regions(self) -> dict[Tensor, Region]:
        """What the last loss trained (Algorithm 1, line 10); parameters trained as a whole are left out."""
        with self.backbone.subnet(self.trained_subnet):
            return active_regions(self.backbone, self.neck)


def batch_subnet(data_samples: Sequence[Any]) -> str:
    """The sub-network that a batch was drawn for, from its samples' meta data.

    Raises:
        ConfigError: the samples name none, or several.
    """
    names = {sample.get("subnet", None) for sample in data_samples}
    if len(names) != 1 or None in names:
        found = "no sub-network" if names in ({None}, set()) else f"several sub-networks ({sorted(map(str, names))})"
        raise ConfigError(
            f"the batch names {found}; use the data set mmssl_dynamic.SubnetDataset with the batch sampler "
            "mmssl_dynamic.SubnetBatchSampler."
        )
    return names.pop()


@torch.no_grad()
def collapse_std(projections: Tensor) -> Tensor:
    """Mean over dimensions of the standard deviation of the L2-normalised projections (N, D) (SimSiam Sec. 4.1)."""
    return F.normalize(projections.float(), dim=1).std(dim=0).mean()
