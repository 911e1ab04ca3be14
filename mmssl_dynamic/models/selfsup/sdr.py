"""SDR: Task-customized Self-supervised Pre-training with Scalable Dynamic Routing (AAAI 2022, arXiv 2205.13267).

One step trains one network of the space N on a batch of its own data (Algorithm 1). The full network W_0 trains with
the base method's loss on D_0, a sub-network W_i with the same loss on its cluster D_i plus SiamKD towards W_0.
N batch, D dimension of projections.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from mmpretrain.models.selfsup import BaseSelfSupervisor
from mmpretrain.registry import MODELS as MMPRETRAIN_MODELS
from torch import Tensor, nn

from mmssl_dynamic.errors import ConfigError
from mmssl_dynamic.models.backbones import SDRResNet, SuperNetwork
from mmssl_dynamic.models.backbones.super_network import build_super_network
from mmssl_dynamic.models.elastic import active_regions
from mmssl_dynamic.models.elastic.channels import Region
from mmssl_dynamic.models.from_plain import StartsFromPlain
from mmssl_dynamic.models.losses.feature_distillation import recorded_features
from mmssl_dynamic.models.selfsup.directions import Directed, Views
from mmssl_dynamic.models.selfsup.taught import Taught
from mmssl_dynamic.registry import MODELS, mmpretrain_scope
from mmssl_dynamic.subnets import FULL


@dataclass(frozen=True)
class Online:
    """What the online network gives in a step, with gradients: (N, D) for each view that goes through it.

    Attributes:
        projections: f(x).
        predictions: What L_SSL and SiamKD compare with their targets: h(f(x)), or f(x) where a method has no predictor.
    """

    projections: tuple[Tensor, ...]
    predictions: tuple[Tensor, ...]


@MODELS.register_module()
class SDR(StartsFromPlain, Directed, Taught, BaseSelfSupervisor):
    """SDR on SimSiam, and the seam for other base methods.

    Another base method is a subclass that overrides what it does otherwise: :meth:`online`, what its online network
    gives; :meth:`targets`, what that is compared with; :meth:`ssl_loss`, how; and :meth:`teacher`, what SiamKD compares
    a sub-network with. SDR adds which network a step trains, SiamKD, and the regions that may move.

    Args:
        backbone: Config of the super-network, such as :class:`mmssl_dynamic.models.SDRResNet`.
        neck: Config of the projector; ``in_channels`` follows from the backbone.
        head: Config of mmpretrain's ``LatentPredictHead``: the predictor h and the loss of its output. Of another base
            method whatever its :meth:`online` and :meth:`ssl_loss` use.
        distillation: Config of the distillation from W_0, ``SiamKD`` or ``L2Distillation``; ``None`` for none. From a
            ``teacher``, :class:`mmssl_dynamic.models.FeatureDistillation`.
        directions: ``'both'``: each view predicts the other, in every step. ``'alternate'``: one view predicts the
            other, drawn anew in every step by :class:`mmssl_dynamic.engine.DirectionHook`, for L_SSL and SiamKD: the
            same loss in expectation for about two thirds of the cost. The paper's equations have one direction, SimSiam
            has both (our reading).
        teacher: Config of :class:`mmssl_dynamic.teachers.FrozenTeacher`, which teaches in W_0's place, and W_0 as well;
            ``None`` for W_0.
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
        directions: str = "both",
        teacher: dict | nn.Module | None = None,
        **kwargs: Any,
    ) -> None:
        network = build_super_network(backbone, "SDR", "SDRResNet")
        features = network.feature_channels
        super().__init__(network, {"in_channels": features.total, **neck}, head, **kwargs)
        self.neck.connect(features)
        self.distillation: Any = self.make_teacher(teacher, distillation)
        if teacher is None and distillation is not None:
            self.distillation = MMPRETRAIN_MODELS.build(distillation)
        self.trained_subnet = FULL
        self.set_directions(directions)

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
        views = self.step_views(inputs)
        return self.subnet_loss(name, views, self.teaching(views))

    def teaching(self, views: Views) -> Sequence[Tensor]:
        """What the networks of a step are distilled from: W_0's projections (N, D), or a frozen teacher's features.

        Computed once, where a loss looks at them.
        """
        if self.frozen_teacher is not None:
            return WhereNeeded(self.frozen_teacher, self.distillation.teachers_views(views))
        return WhereNeeded(self.teacher, views)

    def subnet_loss(
        self, name: str, views: Views, teacher: Sequence[Tensor], targets: Sequence[Tensor] | None = None
    ) -> dict[str, Tensor]:
        """Losses of one network and its collapse measure, as :meth:`loss` gives them.

        Args:
            name: The network.
            views: Both, each (N, 3, H, W), the one that predicts first.
            teacher: What :meth:`teaching` gives of them.
            targets: What the predictions are compared with, the last view's last; :meth:`targets` when left out.
        """
        with _shared_stem(self.teaching_backbone):
            with self.backbone.subnet(name):
                online, of_features = self._online_and_taught(views)
                compared = self.targets(views, online) if targets is None else targets
            losses = {"loss_ssl": self.ssl_loss(online.predictions, compared)}
            if self.frozen_teacher is not None:
                losses["loss_kd"] = self.distillation(of_features, teacher)
            elif name != FULL and self.distillation is not None:
                losses["loss_kd"] = self.distillation(online.predictions, online.projections, teacher)
        losses["std"] = collapse_std(online.projections[0])
        return losses

    def _online_and_taught(self, views: Views) -> tuple[Online, tuple[Tensor, ...]]:
        """What the online network gives, and what leads from its features to those of a frozen teacher."""
        if self.frozen_teacher is None:
            return self.online(views), ()
        with recorded_features(self.backbone) as features:
            online = self.online(views)
        return online, self.distillation.predictions(features)

    @property
    def teaching_backbone(self) -> SuperNetwork:
        """The super-network whose full network teaches in :meth:`teacher`."""
        return self.backbone

    def project(self, view: Tensor) -> Tensor:
        """f(x) of the active network: (N, 3, H, W) -> (N, D)."""
        return self.neck(self.backbone(view))[0]

    def online(self, views: Views) -> Online:
        """Projections and predictions of the active network: SimSiam's, of the views that predict the other one."""
        projections = tuple(self.project(view) for view in self.predicting(views))
        return Online(projections, tuple(self.head.predictor([projection])[0] for projection in projections))

    def ssl_loss(self, predictions: tuple[Tensor, ...], targets: Sequence[Tensor]) -> Tensor:
        """L_SSL: negative cosine between each view's prediction and the other view's target, averaged over them.

        Args:
            predictions: Those of :meth:`online`.
            targets: Those of :meth:`targets`.
        """
        # SDR Eq. 1; the paper leaves out the sign and the second direction, which are SimSiam's.
        losses = [self.head.loss_module(p, z.detach()) for p, z in zip(predictions, reversed(targets))]
        return sum(losses[1:], losses[0]) / len(losses)

    def targets(self, views: Views, online: Online) -> tuple[Tensor, ...]:
        """What the predictions of L_SSL are compared with: SimSiam's own projections, under stop-gradient.

        The last one belongs to the last view.
        """
        if len(online.projections) == len(views):
            return online.projections
        with torch.no_grad():
            return (self.project(views[-1]),)

    @torch.no_grad()
    def teacher(self, view: Tensor) -> Tensor:
        """f_W0(x) for SiamKD, under stop-gradient: (N, 3, H, W) -> (N, D).

        W_0 sees the images of one cluster here, so its running statistics, those of D_0, must not follow.
        """
        with self.backbone.subnet(FULL, track_statistics=False):
            return self.project(view)

    def trained_regions(self) -> dict[Tensor, Region]:
        """What the last loss trained (Algorithm 1, line 10); parameters trained as a whole are left out."""
        return self.regions_of(self.trained_subnet)

    def regions_of(self, name: str) -> dict[Tensor, Region]:
        """What a step of the network ``name`` trains; parameters trained as a whole are left out."""
        with self.backbone.subnet(name):
            return active_regions(
                self.backbone, self.neck, *(() if self.distillation is None else (self.distillation,))
            )


def _shared_stem(backbone: SuperNetwork) -> AbstractContextManager[None]:
    """Of a sub-network and its teacher, where the sub-networks have the stem in common."""
    return backbone.shared_stem() if isinstance(backbone, SDRResNet) else nullcontext()


class WhereNeeded(Sequence[Tensor]):
    """A function of both views, computed once, where a loss looks at it.

    SiamKD of a single prediction needs one of them, and of several networks the same for all.
    """

    def __init__(self, function: Callable[[Tensor], Tensor], views: Sequence[Tensor]) -> None:
        self._function, self._views = function, views
        self._known: dict[int, Tensor] = {}

    def __len__(self) -> int:
        return len(self._views)

    def __getitem__(self, index: Any) -> Any:
        position = range(len(self._views))[index]
        if position not in self._known:
            self._known[position] = self._function(self._views[position])
        return self._known[position]


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
