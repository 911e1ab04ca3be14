"""Draws what the accelerator does to the views of an image."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from mmcv.transforms import BaseTransform

from mmssl_dynamic.errors import ConfigError
from mmssl_dynamic.models.augmentation import Draw
from mmssl_dynamic.registry import TRANSFORMS

_PROBABILITIES = ("jitter", "grey", "blur", "solarize", "flip")
_DEFAULT: dict[str, Any] = dict(
    jitter=0.8,
    brightness=0.4,
    contrast=0.4,
    saturation=0.4,
    hue=0.1,
    grey=0.2,
    blur=0.5,
    sigma=(0.1, 2.0),
    solarize=0.0,
    flip=0.5,
)


@TRANSFORMS.register_module()
class DrawAugmentations(BaseTransform):
    """Random numbers for :class:`mmssl_dynamic.models.augmentation.AugmentingPreprocessor`, one row for each view.

    They have the distributions of torchvision's ``ColorJitter`` (with its random order) and ``RandomGrayscale``, of
    ``GaussianBlur``, ``Solarize`` and ``RandomFlip``. ``PackInputs`` must hand on the key ``draws``.

    Args:
        views: Options of each view: probabilities ``jitter, grey, blur, solarize, flip``, the ranges of the factors
            ``brightness, contrast, saturation, hue`` on both sides of no change, and ``sigma``, least and greatest
            deviation of the blur in pixels. What is left out is MoCo-v2's.

    Raises:
        ConfigError: an option that there is not, or that cannot be.
    """

    def __init__(self, views: Sequence[Mapping[str, Any]]) -> None:
        self.views = [{**_DEFAULT, **view} for view in views]
        for view in self.views:
            if unknown := sorted(set(view) - set(_DEFAULT)):
                raise ConfigError(f"DrawAugmentations has no option {unknown[0]}; use {', '.join(_DEFAULT)}.")
            wrong = next((name for name in _PROBABILITIES if not 0 <= view[name] <= 1), None)
            if wrong is not None:
                raise ConfigError(f"DrawAugmentations: {wrong}={view[wrong]} must be a probability.")
            if not 0 < view["sigma"][0] <= view["sigma"][1] or not 0 <= view["hue"] <= 0.5:
                raise ConfigError("DrawAugmentations needs sigma as two ascending positive numbers and hue up to 0.5.")

    def transform(self, results: dict[str, Any]) -> dict[str, Any]:
        """Add ``draws``, (views, P)."""
        rows = [self._draw(view).row() for view in self.views]
        return {**results, "draws": np.asarray(rows, dtype=np.float32)}

    def _draw(self, view: Mapping[str, Any]) -> Draw:
        chance, uniform = np.random.random(len(_PROBABILITIES)), np.random.uniform
        done = {name: value < view[name] for name, value in zip(_PROBABILITIES, chance)}
        order = torch.randperm(4).tolist()
        return Draw(
            jitter=done["jitter"],
            **dict(zip(("first", "second", "third", "fourth"), order)),
            **{
                name: uniform(max(0.0, 1 - view[name]), 1 + view[name])
                for name in ("brightness", "contrast", "saturation")
            },
            hue=uniform(-view["hue"], view["hue"]),
            grey=done["grey"],
            sigma=uniform(*view["sigma"]) * done["blur"],
            solarize=128.0 if done["solarize"] else 256.0,
            flip=done["flip"],
        )

    def __repr__(self) -> str:
        return f"{type(self).__name__}(views={self.views})"
