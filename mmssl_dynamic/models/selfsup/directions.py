"""Which view predicts which in a step: both directions of a siamese loss, or one that is drawn anew in every step."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from torch import Tensor

from mmssl_dynamic.errors import ConfigError

Views = tuple[Tensor, Tensor]


def draw_first_view(seed: int, step: int) -> int:
    """The view (0 or 1) that predicts the other one in a step, each in half of them.

    A function of seed and step alone: all processes agree on it, and a resumed run goes on with it.

    Args:
        seed: Of the run.
        step: Number of the training step.
    """
    return int(np.random.default_rng([seed, step, 2]).integers(2))


class Directed:
    """Mixin of siamese methods whose loss has two directions.

    Attributes:
        directions: ``'both'``, ``'alternate'``, or another one that the method knows.
        first_view: The view that predicts the other one in the next step, unless both do;
            :class:`mmssl_dynamic.engine.DirectionHook` sets it before each.
    """

    directions: str = "both"
    first_view: int | None = None

    def set_directions(self, directions: str, known: Sequence[str] = ("both", "alternate")) -> None:
        """Choose.

        Args:
            directions: One of ``known``.
            known: What the method knows.

        Raises:
            ConfigError: it is none of them.
        """
        if directions not in known:
            raise ConfigError(f"directions='{directions}' must be one of {', '.join(known)}.")
        self.directions = directions

    def step_views(self, inputs: Sequence[Tensor]) -> Views:
        """Both views, the one that predicts first.

        Raises:
            ConfigError: nobody has drawn it.
        """
        if self.directions == "both":
            return inputs[0], inputs[1]
        if self.first_view is None:
            raise ConfigError(
                f"directions='{self.directions}' needs dict(type='mmssl_dynamic.DirectionHook') in custom_hooks."
            )
        return inputs[self.first_view], inputs[1 - self.first_view]

    def predicting(self, views: Views) -> tuple[Tensor, ...]:
        """The views that predict the other one, of both in order."""
        return views if self.directions == "both" else views[:1]
