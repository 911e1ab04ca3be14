"""Gaussian blur of the two views (MoCo v2, BYOL), in a fraction of Pillow's time."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from mmcv.transforms import BaseTransform

from mmssl_dynamic.errors import ConfigError
from mmssl_dynamic.registry import TRANSFORMS


@TRANSFORMS.register_module()
class GaussianBlur(BaseTransform):
    """Blur with a standard deviation drawn uniformly, with some probability.

    mmpretrain's takes Pillow's blur, a sequence of box filters that approximates a Gaussian and takes several times
    as long as OpenCV's, which is one.

    Args:
        sigma: Least and greatest standard deviation, in pixels.
        prob: Of blurring at all.

    Raises:
        ConfigError: an empty range, a negative deviation, or no probability.
    """

    def __init__(self, sigma: tuple[float, float] = (0.1, 2.0), prob: float = 0.5) -> None:
        low, high = sigma
        if not 0 < low <= high:
            raise ConfigError(f"GaussianBlur.sigma={sigma} must be two positive numbers in ascending order.")
        if not 0 <= prob <= 1:
            raise ConfigError(f"GaussianBlur.prob={prob} must lie between 0 and 1.")
        self.sigma, self.prob = (low, high), prob

    def transform(self, results: dict[str, Any]) -> dict[str, Any]:
        """Blur ``img``, (H, W, C) uint8."""
        if np.random.random() < self.prob:
            sigma = np.random.uniform(*self.sigma)
            # OpenCV chooses a kernel of three deviations to each side; the border is mirrored as in torchvision.
            results["img"] = cv2.GaussianBlur(results["img"], (0, 0), sigma, borderType=cv2.BORDER_REFLECT_101)
        return results

    def __repr__(self) -> str:
        return f"{type(self).__name__}(sigma={self.sigma}, prob={self.prob})"
