"""Colour changes of views on OpenCV's arrays: torchvision's, in a fraction of Pillow's time."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from mmcv.transforms import BaseTransform

from mmssl_dynamic.errors import ConfigError
from mmssl_dynamic.registry import TRANSFORMS

_VALUES = np.arange(256, dtype=np.float32)


def adjust_brightness(image: np.ndarray, factor: float) -> np.ndarray:
    """Blend (H, W, 3) BGR uint8 with black; 1 changes nothing."""
    return cv2.LUT(image, _table(0.0, factor))


def adjust_contrast(image: np.ndarray, factor: float) -> np.ndarray:
    """Blend with the mean grey."""
    mean = int(cv2.mean(cv2.cvtColor(image, cv2.COLOR_BGR2GRAY))[0] + 0.5)
    return cv2.LUT(image, _table(float(mean), factor))


def adjust_saturation(image: np.ndarray, factor: float) -> np.ndarray:
    """Blend with the grey of each pixel."""
    # Pillow cuts fractions off, OpenCV rounds.
    return cv2.addWeighted(image, factor, to_grey(image), 1 - factor, -0.5)


def adjust_hue(image: np.ndarray, shift: float) -> np.ndarray:
    """Turn the hue by a share of the circle."""
    hsv = cv2.cvtColor(image, cv2.COLOR_BGR2HSV_FULL)
    hsv[..., 0] += np.uint8(round(256 * shift) % 256)  # which goes round by itself
    return cv2.cvtColor(hsv, cv2.COLOR_HSV2BGR_FULL)


def to_grey(image: np.ndarray) -> np.ndarray:
    """Three equal channels."""
    return cv2.cvtColor(cv2.cvtColor(image, cv2.COLOR_BGR2GRAY), cv2.COLOR_GRAY2BGR)


_CHANGES = (adjust_brightness, adjust_contrast, adjust_saturation, adjust_hue)


@TRANSFORMS.register_module()
class ColorJitter(BaseTransform):
    """torchvision's ``ColorJitter`` with some probability: four changes in random order.

    Of the same distribution; pixels differ from Pillow's by roundings, and by the steps of an 8-bit hue.

    Args:
        brightness: Its factor is drawn uniformly from 1 - brightness to 1 + brightness, from 0 at least.
        contrast: Likewise.
        saturation: Likewise.
        hue: The shift is drawn from -hue to hue, in shares of the circle; 0.5 at most.
        prob: Of changing anything.

    Raises:
        ConfigError: a range or probability that cannot be.
    """

    def __init__(
        self,
        brightness: float = 0.0,
        contrast: float = 0.0,
        saturation: float = 0.0,
        hue: float = 0.0,
        prob: float = 1.0,
    ) -> None:
        if min(brightness, contrast, saturation) < 0 or not 0 <= hue <= 0.5:
            raise ConfigError("ColorJitter needs brightness, contrast and saturation >= 0, and hue from 0 to 0.5.")
        self.ranges = [(max(0.0, 1 - span), 1 + span) for span in (brightness, contrast, saturation)] + [(-hue, hue)]
        self.prob = _probability(self, prob)

    def transform(self, results: dict[str, Any]) -> dict[str, Any]:
        """``img``, (H, W, 3) BGR uint8."""
        if np.random.random() >= self.prob:
            return results
        values = [np.random.uniform(low, high) for low, high in self.ranges]
        image = results["img"]
        for kind in np.random.permutation(len(_CHANGES)):
            low, high = self.ranges[kind]
            if low < high:
                image = _CHANGES[kind](image, values[kind])
        return {**results, "img": image}

    def __repr__(self) -> str:
        return f"{type(self).__name__}(ranges={self.ranges}, prob={self.prob})"


@TRANSFORMS.register_module()
class RandomGrayscale(BaseTransform):
    """Take the colours away with some probability.

    Args:
        prob: Of it.

    Raises:
        ConfigError: it is no probability.
    """

    def __init__(self, prob: float = 0.2) -> None:
        self.prob = _probability(self, prob)

    def transform(self, results: dict[str, Any]) -> dict[str, Any]:
        """``img``, (H, W, 3) BGR uint8."""
        return {**results, "img": to_grey(results["img"])} if np.random.random() < self.prob else results

    def __repr__(self) -> str:
        return f"{type(self).__name__}(prob={self.prob})"


def _table(other: float, factor: float) -> np.ndarray:
    """What Pillow's blend makes of each value."""
    return np.clip(np.float32(other) + np.float32(factor) * (_VALUES - np.float32(other)), 0, 255).astype(np.uint8)


def _probability(transform: BaseTransform, prob: float) -> float:
    if not 0 <= prob <= 1:
        raise ConfigError(f"{type(transform).__name__}.prob={prob} must lie between 0 and 1.")
    return prob
