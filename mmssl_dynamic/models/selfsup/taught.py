"""Methods with a frozen teacher beside, or instead of, the networks that they make themselves.

N batch, D dimension of the teacher's features.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from mmpretrain.registry import MODELS as MMPRETRAIN_MODELS
from torch import Tensor, nn

from mmssl_dynamic.errors import ConfigError
from mmssl_dynamic.models.backbones import SuperNetwork
from mmssl_dynamic.models.losses import FeatureDistillation

Config = Mapping[str, Any]
DEFAULT = dict(type="mmssl_dynamic.FeatureDistillation")


class Taught:
    """Mixin: ``frozen_teacher``, which shows features of views, and ``distillation``, which draws networks to them."""

    backbone: SuperNetwork
    data_preprocessor: Any
    frozen_teacher: nn.Module | None

    def make_teacher(
        self, teacher: Config | nn.Module | None, distillation: Config | None
    ) -> FeatureDistillation | None:
        """Build both, once the backbone and the data preprocessor are there.

        Args:
            teacher: Config of :class:`mmssl_dynamic.teachers.FrozenTeacher`, or one; ``None`` for none.
            distillation: Config of :class:`FeatureDistillation` without what follows from teacher and backbone.

        Returns:
            What draws networks to the teacher; ``None`` without one.

        Raises:
            ConfigError: one of them without the other.
        """
        name, self.frozen_teacher = type(self).__name__, None
        if teacher is None:
            if distillation is not None and distillation.get("type") == DEFAULT["type"]:
                raise ConfigError(
                    f"{name} has distillation of type FeatureDistillation and no teacher; give teacher=dict("
                    "type='mmssl_dynamic.FrozenTeacher', model=...)."
                )
            return None
        options = dict(DEFAULT if distillation is None else distillation)
        if options.get("type") != DEFAULT["type"]:
            raise ConfigError(
                f"{name} has a frozen teacher, whose features have another dimension than projections; give "
                f"distillation=dict(type='{DEFAULT['type']}')."
            )
        frozen: Any = teacher if isinstance(teacher, nn.Module) else MMPRETRAIN_MODELS.build(dict(teacher))
        frozen.connect(self.data_preprocessor)
        self.frozen_teacher = frozen
        options.update(student=self.backbone, out_channels=frozen.out_channels)
        return MMPRETRAIN_MODELS.build(options)

    @torch.no_grad()
    def teach(self, views: Sequence[Tensor]) -> tuple[Tensor, ...]:
        """Features of the teacher, each (N, D)."""
        assert self.frozen_teacher is not None
        return tuple(self.frozen_teacher(view) for view in views)
