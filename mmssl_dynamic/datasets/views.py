"""Views of one image: the parts of a pipeline that need not touch all of its pixels again for each of them.

H W height and width.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from mmcv.transforms import BaseTransform, Compose
from PIL import Image
from torchvision.transforms import RandomResizedCrop as TorchvisionCrop

from mmssl_dynamic.errors import ConfigError
from mmssl_dynamic.registry import TRANSFORMS

_FILTERS = {"bilinear": Image.Resampling.BILINEAR, "bicubic": Image.Resampling.BICUBIC}
Transform = dict | Callable[[dict], dict]


@TRANSFORMS.register_module()
class MultiView(BaseTransform):
    """mmpretrain's ``MultiView`` without a copy of the whole image for each view.

    The image is made read-only: a transform that would change it under the next view's eyes fails at once.

    Args:
        transforms: A pipeline, or one for each number in ``num_views``.
        num_views: How many views each of them makes.

    Raises:
        ConfigError: there are not as many numbers as pipelines.
    """

    def __init__(self, transforms: Sequence[Sequence[Transform]], num_views: int | Sequence[int]) -> None:
        counts = [num_views] if isinstance(num_views, int) else list(num_views)
        if len(counts) != len(transforms):
            raise ConfigError(f"MultiView has {len(transforms)} pipelines and num_views={num_views}, not one for each.")
        pipelines = [Compose(list(steps)) for steps in transforms]
        self.views = [pipeline for pipeline, count in zip(pipelines, counts) for _ in range(count)]

    def transform(self, results: dict[str, Any]) -> dict[str, Any]:
        """``img`` becomes the list of views."""
        image = results["img"]
        if isinstance(image, np.ndarray):
            image = image.view()
            image.flags.writeable = False
        return {**results, "img": [view({**results, "img": image})["img"] for view in self.views]}

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.views})"


@TRANSFORMS.register_module()
class RandomResizedCrop(BaseTransform):
    """torchvision's random crop, resized by Pillow, of an image as ``LoadImage`` gives it.

    The same pixels as turning all of the image into Pillow's RGB first and cropping then, by the same random numbers;
    nothing outside of the crop is touched.

    Args:
        size: Side of the result.
        scale: Least and greatest share of the image's area.
        ratio: Least and greatest ratio of width to height.
        interpolation: ``'bilinear'`` or ``'bicubic'``.

    Raises:
        ConfigError: an interpolation that there is not, or an empty range.
    """

    def __init__(
        self,
        size: int,
        scale: Sequence[float] = (0.08, 1.0),
        ratio: Sequence[float] = (3 / 4, 4 / 3),
        interpolation: str = "bilinear",
    ) -> None:
        if interpolation not in _FILTERS:
            raise ConfigError(
                f"RandomResizedCrop.interpolation='{interpolation}' must be one of {', '.join(_FILTERS)}."
            )
        for name, (low, high) in {"scale": tuple(scale), "ratio": tuple(ratio)}.items():
            if not 0 < low <= high:
                raise ConfigError(f"RandomResizedCrop.{name}={(low, high)} must be two positive numbers, ascending.")
        if size < 1:
            raise ConfigError(f"RandomResizedCrop.size={size} must be a number of pixels.")
        self.size, self.scale, self.ratio, self.interpolation = size, list(scale), list(ratio), interpolation

    def transform(self, results: dict[str, Any]) -> dict[str, Any]:
        """``img``, (H, W, 3) BGR, becomes (size, size, 3) BGR."""
        image: np.ndarray = results["img"]
        shape = torch.empty((3, *image.shape[:2]), device="meta")  # all that the draw looks at
        top, left, height, width = TorchvisionCrop.get_params(shape, self.scale, self.ratio)
        crop = image[top : top + height, left : left + width].copy()
        if crop.shape[:2] != (self.size, self.size):
            # Pillow resizes channel by channel, whatever it takes them for.
            crop = np.array(Image.fromarray(crop).resize((self.size, self.size), _FILTERS[self.interpolation]))
        return {**results, "img": crop}

    def __repr__(self) -> str:
        options = f"size={self.size}, scale={self.scale}, ratio={self.ratio}, interpolation='{self.interpolation}'"
        return f"{type(self).__name__}({options})"
