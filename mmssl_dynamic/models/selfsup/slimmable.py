"""Slimmable siamese pre-training: a base class, and SimSiam on it.

N batch, D dimension of projections.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from mmpretrain.models.selfsup import BaseSelfSupervisor
from torch import Tensor, nn

from mmssl_dynamic.models.backbones.super_network import build_super_network
from mmssl_dynamic.models.from_plain import StartsFromPlain
from mmssl_dynamic.models.losses.feature_distillation import recorded_features
from mmssl_dynamic.models.sandwich import SandwichTraining
from mmssl_dynamic.models.selfsup.directions import Directed, Views
from mmssl_dynamic.models.selfsup.sdr import collapse_std
from mmssl_dynamic.models.selfsup.taught import Taught
from mmssl_dynamic.registry import MODELS, mmpretrain_scope


@dataclass(frozen=True)
class Shared:
    """What all networks of a step are compared with.

    Attributes:
        targets: What :meth:`SlimmableSiamese.step_targets` gave.
        taught: A frozen teacher's features, each (N, D); of no teacher nothing.
    """

    targets: Any
    taught: tuple[Tensor, ...] = ()


class SlimmableSiamese(StartsFromPlain, Directed, Taught, SandwichTraining, BaseSelfSupervisor):
    """Base of siamese methods over a slimmable super-network.

    A method says what the predictions of a network are compared with: once per step in :meth:`step_targets`, or for
    each network in :meth:`targets`. A network's loss is the mean over its directions.

    Attributes:
        scale: Factor of the loss.

    Args:
        backbone: Config of the super-network, such as :class:`mmssl_dynamic.models.SlimmableMobileNetV3`.
        neck: Config of the elastic projector; ``in_channels`` follows from the backbone.
        head: Config of mmpretrain's ``LatentPredictHead``: the predictor and the loss of its output.
        directions: ``'both'``: each view predicts the other, in every network and step. ``'alternate'``: one view
            predicts the other, drawn anew in every step by :class:`mmssl_dynamic.engine.DirectionHook`: the same loss
            in expectation for about half of the cost. ``'both_of_largest'``: both in the largest network alone.
        teacher: Config of :class:`mmssl_dynamic.teachers.FrozenTeacher`, which teaches beside what the method compares
            with; ``None`` for none. Instead of it: :class:`mmssl_dynamic.models.SlimmableDistillation`.
        distillation: Config of :class:`mmssl_dynamic.models.FeatureDistillation`, for a ``teacher``.
        kwargs: Those of mmpretrain's ``BaseSelfSupervisor``. ``init_cfg`` of type
            :class:`~mmssl_dynamic.models.FromPlain` starts the largest network as a plain one.

    Raises:
        ConfigError: the backbone is not a super-network; unknown ``directions``.
    """

    scale: float = 1.0

    @mmpretrain_scope()
    def __init__(
        self,
        backbone: dict,
        neck: dict,
        head: dict,
        directions: str = "both",
        teacher: dict | nn.Module | None = None,
        distillation: dict | None = None,
        **kwargs: Any,
    ) -> None:
        network = build_super_network(backbone, type(self).__name__)
        features = network.feature_channels
        super().__init__(network, {"in_channels": features.total, **neck}, head, **kwargs)
        self.neck.connect(features)
        self.set_directions(directions, ("both", "alternate", "both_of_largest"))
        self.distillation = self.make_teacher(teacher, distillation)

    def loss(self, inputs: Sequence[Tensor], data_samples: Any = None, **kwargs: Any) -> dict[str, Tensor]:
        """Losses of all networks of this step in one graph; :meth:`train_step` needs less memory.

        Args:
            inputs: Two views, each (N, 3, H, W).
            data_samples: Not used.
            kwargs: Not used; mmpretrain's interface has them.
        """
        return self.summed_loss(inputs, data_samples)

    def begin_step(self, inputs: Any, data_samples: Any) -> Shared:
        """Targets and the teacher's features, once for all networks."""
        views = self.step_views(inputs)
        if self.distillation is None:
            return Shared(self.step_targets(views))
        wanted = self.distillation.teachers_views(views)
        return Shared(self.step_targets(views), self.teach(wanted[:1] if self.directions == "alternate" else wanted))

    def step_targets(self, views: Views) -> Any:
        """What the predictions of all networks of the step are compared with, if that is the same."""
        return None

    def network_loss(self, name: str, inputs: Any, data_samples: Any, shared: Shared) -> dict[str, Tensor]:
        """``loss`` of one network, and ``std``, its collapse measure (1 / sqrt(D) is healthy, 0 is collapse).

        Where there are others, as of a frozen teacher ``loss_teacher``, it is called ``loss_ssl``.
        """
        views = self.step_views(inputs)
        both = self.directions == "both_of_largest" and name == self.backbone.subnets[-1]
        found: dict[str, Tensor] = {}
        with self.backbone.subnet(name):
            with recorded_features(self.backbone) as features:
                projections = tuple(self.project(view) for view in (views if both else self.predicting(views)))
            if self.distillation is not None:
                drawn = self.distillation(self.distillation.predictions(features), shared.taught)
                found["loss_teacher"] = self.scale * drawn
            targets = self.targets(views, projections, shared.targets)
            # Each projection predicts the target of the other view: the last one's of a single direction.
            losses = [self.head.loss(z, target) for z, target in zip(projections, reversed(targets))]
            found.update(self.more_losses(name, projections, targets))
        # Beside others the method's own has a name, and the sum of all is what is logged as the network's loss.
        found["loss_ssl" if found else "loss"] = self.scale * sum(losses[1:], losses[0]) / len(losses)
        return {**found, "std": collapse_std(projections[0])}

    def more_losses(self, name: str, projections: tuple[Tensor, ...], targets: tuple[Tensor, ...]) -> dict[str, Tensor]:
        """Losses of a network beside the method's own."""
        return {}

    def project(self, view: Tensor) -> Tensor:
        """g(f(v)) of the active network: (N, 3, H, W) -> (N, D)."""
        # DSPNet Eq. 2
        return self.neck(self.backbone(view))[0]

    def targets(self, views: Views, projections: tuple[Tensor, ...], shared: Any) -> tuple[Tensor, ...]:
        """What the projections of the views serve as, or are replaced by, when they are targets; the last view's last.

        Args:
            views: Both, each (N, 3, H, W), the one that predicts first.
            projections: Of the views that predict, each (N, D).
            shared: What :meth:`step_targets` gave.
        """
        raise NotImplementedError


@MODELS.register_module()
class SlimmableSimSiam(SlimmableSiamese):
    """SimSiam over a slimmable super-network: every network predicts its own projections (stop-gradient)."""

    def targets(self, views: Views, projections: tuple[Tensor, ...], shared: Any) -> tuple[Tensor, ...]:
        """The network's own projections (SimSiam Eq. 2)."""
        if len(projections) == len(views):
            return projections
        with torch.no_grad():
            return (self.project(views[-1]),)
