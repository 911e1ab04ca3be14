"""All networks of a slimmable super-network distilled from a frozen teacher at once: no target network, no predictor.

N batch, D dimension of the teacher's features.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from mmpretrain.models.selfsup import BaseSelfSupervisor
from torch import Tensor, nn

from mmssl_dynamic.models.backbones.super_network import build_super_network
from mmssl_dynamic.models.from_plain import StartsFromPlain
from mmssl_dynamic.models.losses.feature_distillation import FeatureDistillation
from mmssl_dynamic.models.sandwich import SandwichTraining
from mmssl_dynamic.models.selfsup.sdr import collapse_std
from mmssl_dynamic.models.selfsup.taught import Taught
from mmssl_dynamic.registry import MODELS, mmpretrain_scope


@MODELS.register_module()
class SlimmableDistillation(StartsFromPlain, Taught, SandwichTraining, BaseSelfSupervisor):
    """The teacher's features of a view are what every network of the step has to give.

    One view an image is enough. With a backbone of one network this is ordinary feature distillation.

    Args:
        backbone: Config of the super-network, such as :class:`mmssl_dynamic.models.SlimmableMobileNetV3`.
        teacher: Config of :class:`mmssl_dynamic.teachers.FrozenTeacher`.
        distillation: Config of :class:`mmssl_dynamic.models.FeatureDistillation`.
        kwargs: Those of mmpretrain's ``BaseSelfSupervisor``. ``init_cfg`` of type
            :class:`~mmssl_dynamic.models.FromPlain` starts the largest network as a plain one.

    Raises:
        ConfigError: the backbone is not a super-network.
    """

    neck: FeatureDistillation

    @mmpretrain_scope()
    def __init__(
        self, backbone: dict, teacher: dict | nn.Module, distillation: dict | None = None, **kwargs: Any
    ) -> None:
        super().__init__(build_super_network(backbone, type(self).__name__), **kwargs)
        neck = self.make_teacher(teacher, distillation)
        assert neck is not None
        self.neck = neck

    def loss(self, inputs: Tensor | Sequence[Tensor], data_samples: Any = None, **kwargs: Any) -> dict[str, Tensor]:
        """Losses of all networks of this step in one graph; :meth:`train_step` needs less memory.

        Args:
            inputs: Views, each (N, 3, H, W), or one of them.
            data_samples: Not used.
            kwargs: Not used; mmpretrain's interface has them.
        """
        return self.summed_loss(inputs, data_samples)

    def begin_step(self, inputs: Any, data_samples: Any) -> tuple[Tensor, ...]:
        """The teacher's features."""
        return self.teach(self.neck.teachers_views(_views(inputs)))

    def network_loss(self, name: str, inputs: Any, data_samples: Any, shared: Any) -> dict[str, Tensor]:
        """``loss`` of one network, and ``std``, the spread of what it gives (1 / sqrt(D) is healthy, 0 is collapse)."""
        with self.backbone.subnet(name):
            predictions = self.neck.predictions([self.backbone(view)[-1] for view in _views(inputs)])
        return {"loss": self.neck(predictions, shared), "std": collapse_std(predictions[0])}


def _views(inputs: Tensor | Sequence[Tensor]) -> tuple[Tensor, ...]:
    return (inputs,) if isinstance(inputs, Tensor) else tuple(inputs)
