"""Colour, blur and flips of views on the accelerator: a batch at a time, with random numbers of its own for each image.

The random numbers are drawn where the crops are, by :class:`mmssl_dynamic.datasets.DrawAugmentations` from the seed of
the sample, so that a view is the same whatever worker loads it and whatever batch it is in. Values are rounded to whole
ones after each step, as Pillow's and OpenCV's are.
N batch, H W height and width, P numbers of a view.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from typing import Any

import torch
import torch.nn.functional as F
from mmpretrain.models.utils.data_preprocessor import SelfSupDataPreprocessor
from torch import Tensor

from mmssl_dynamic.errors import ConfigError
from mmssl_dynamic.registry import MODELS

#: Weights of red, green and blue in grey (ITU-R 601-2), as Pillow has them.
_GREY = (0.299, 0.587, 0.114)


@dataclass(frozen=True)
class Draw:
    """What is done to one view, in this order; the numbers travel as a row.

    Attributes:
        jitter: 1 if colours are changed, by the four factors below in the order of ``first`` to ``fourth``.
        first, second, third, fourth: 0 brightness, 1 contrast, 2 saturation, 3 hue.
        brightness, contrast, saturation: Factors, 1 changes nothing.
        hue: Shift, as a share of the circle.
        grey: 1 if it loses its colours.
        sigma: Standard deviation of the blur, in pixels; 0 for none.
        solarize: Values from here on are inverted; 256 for none.
        flip: 1 if it is mirrored.
    """

    jitter: float = 0.0
    first: float = 0.0
    second: float = 1.0
    third: float = 2.0
    fourth: float = 3.0
    brightness: float = 1.0
    contrast: float = 1.0
    saturation: float = 1.0
    hue: float = 0.0
    grey: float = 0.0
    sigma: float = 0.0
    solarize: float = 256.0
    flip: float = 0.0

    def row(self) -> list[float]:
        """P numbers."""
        return [float(getattr(self, name)) for name in _COLUMN]  # astuple copies deeply, which takes as long as a crop


_COLUMN = {field.name: index for index, field in enumerate(fields(Draw))}


def augment(images: Tensor, draws: Tensor) -> Tensor:
    """Augment each image of a batch by its own draw.

    Args:
        images: RGB, values from 0 to 255, (N, 3, H, W).
        draws: Rows of :class:`Draw`, (N, P).

    Returns:
        The same type of values, (N, 3, H, W), float32.
    """
    images, draws = images.float(), draws.to(images.device, torch.float32)

    def column(name: str) -> Tensor:
        return draws[:, _COLUMN[name]]

    jittered = column("jitter") > 0
    for place in ("first", "second", "third", "fourth"):
        for kind, name in enumerate(_CHANGES):
            images = _where(images, jittered & (column(place) == kind), _CHANGES[name], column(name))
    images = _where(images, column("grey") > 0, lambda x, _: _grey(x).expand(-1, 3, -1, -1), column("grey"))
    images = _where(images, column("sigma") > 0, _blur, column("sigma"))
    images = _where(images, column("solarize") < 256, lambda x, t: torch.where(x >= t, 255 - x, x), column("solarize"))
    return _where(images, column("flip") > 0, lambda x, _: x.flip(3), column("flip"))


def _where(images: Tensor, chosen: Tensor, change: Callable[[Tensor, Tensor], Tensor], values: Tensor) -> Tensor:
    """Change some of the images, each by its value."""
    index = chosen.nonzero()[:, 0]
    if not len(index):
        return images
    changed = change(images[index], values[index].view(-1, 1, 1, 1)).clamp(0, 255).round()
    return images.index_copy(0, index, changed)


def _grey(images: Tensor) -> Tensor:
    weights = torch.tensor(_GREY, device=images.device).view(1, 3, 1, 1)
    return (images * weights).sum(1, keepdim=True).round()


def _mix(images: Tensor, other: Tensor | float, factor: Tensor) -> Tensor:
    """Pillow's blend, which cuts fractions off."""
    return (factor * images + (1 - factor) * other).floor()


def _hue(images: Tensor, shift: Tensor) -> Tensor:
    """Turn the hue, in the sector form of HSV."""
    top, low = images.amax(1, keepdim=True), images.amin(1, keepdim=True)
    spread = top - low
    safe = torch.where(spread > 0, spread, 1.0)
    red, green, blue = images.split(1, 1)
    sector = torch.where(
        top == red, (green - blue) / safe, torch.where(top == green, 2 + (blue - red) / safe, 4 + (red - green) / safe)
    )
    turned = (sector + 6 * shift) % 6
    # The value of a channel falls from the top by the distance of the hue from the channel's own sectors.
    parts = [top - spread * _tent((n + turned) % 6) for n in (5, 3, 1)]
    return torch.where(spread > 0, torch.cat(parts, 1), images)


def _tent(k: Tensor) -> Tensor:
    return torch.minimum(k, 4 - k).clamp(0, 1)


def _blur(images: Tensor, sigma: Tensor) -> Tensor:
    """A Gaussian of three deviations to each side, with the border mirrored, as this package's ``GaussianBlur``."""
    count, _, height, width = images.shape
    radius = min(math.ceil(3 * float(sigma.max())), height - 1, width - 1)
    offsets = torch.arange(-radius, radius + 1, device=images.device, dtype=images.dtype)
    deviations = sigma.view(-1, 1)
    kernel = torch.exp(-offsets.square() / (2 * deviations.square())) * (offsets.abs() <= (3 * deviations).ceil())
    kernel = (kernel / kernel.sum(1, keepdim=True)).repeat_interleave(3, 0)  # (3 N, taps)
    stacked = F.pad(images, (radius,) * 4, mode="reflect").flatten(0, 1)[None]
    stacked = F.conv2d(stacked, kernel[:, None, :, None], groups=3 * count)
    return F.conv2d(stacked, kernel[:, None, None, :], groups=3 * count).view(count, 3, height, width)


_CHANGES: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "brightness": lambda x, factor: _mix(x, 0.0, factor),
    "contrast": lambda x, factor: _mix(x, (_grey(x).mean((2, 3), keepdim=True) + 0.5).floor(), factor),
    "saturation": lambda x, factor: _mix(x, _grey(x), factor),
    "hue": _hue,
}


@MODELS.register_module()
class AugmentingPreprocessor(SelfSupDataPreprocessor):
    """mmpretrain's, which also augments the views on the device that they go to.

    The loader crops, and draws what is done to each view (:class:`mmssl_dynamic.datasets.DrawAugmentations`). Without
    draws, as in evaluation, it normalises alone.

    Args:
        args: As of ``SelfSupDataPreprocessor``.
        kwargs: The same.
    """

    def forward(self, data: dict, training: bool = False) -> dict:
        """Augment, normalise and order the channels of a batch.

        Raises:
            ConfigError: there are draws for another number of views.
        """
        samples = data.get("data_samples")
        draws = [sample.get("draws", None) for sample in samples or ()]
        if not training or not draws or draws[0] is None:
            return super().forward(data, training)
        moved = self.cast_data({"inputs": data["inputs"]})["inputs"]
        views: Sequence[Any] = moved if isinstance(moved, list | tuple) else [moved]
        rows = torch.stack([torch.as_tensor(draw) for draw in draws])  # (N, V, P)
        if rows.shape[1] != len(views):
            raise ConfigError(
                f"DrawAugmentations has draws for {rows.shape[1]} views and the loader gives {len(views)}; give it one "
                "set of options for each."
            )
        # Images come as BGR.
        views = [augment(view.flip(1), rows[:, index]).flip(1) for index, view in enumerate(views)]
        return super().forward({**data, "inputs": views if isinstance(moved, list | tuple) else views[0]}, training)
