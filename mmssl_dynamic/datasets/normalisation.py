"""What happens to pixels between the image transforms and the network.

N images, H W height and width.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from mmssl_dynamic.errors import ConfigError, UserError, first_line

Three = tuple[float, float, float]


@dataclass(frozen=True)
class Normalisation:
    """Order of channels, mean and standard deviation: ``(pixels - mean) / std``.

    Attributes:
        mean: One value a channel, of pixels from 0 to 255, in the order that the network takes.
        std: Likewise.
        to_rgb: Image transforms give BGR, as OpenCV does; whether the network takes RGB.
    """

    mean: Three
    std: Three
    to_rgb: bool

    @classmethod
    def of(cls, preprocessor: Mapping[str, Any]) -> Normalisation:
        """What a ``data_preprocessor`` does.

        Args:
            preprocessor: Its config, of mmpretrain's classes or of another one that does no more than they do. Without
                ``mean``, images are not normalised, as in a training with it.

        Raises:
            ConfigError: it cannot be built, or does something else to images.
        """
        options = dict(preprocessor)
        mean, std = (_three(options.get(key), key, default) for key, default in (("mean", 0.0), ("std", 1.0)))
        swaps = any(options.get(key) for key in ("to_rgb", "bgr_to_rgb", "rgb_to_bgr"))
        found = cls(mean, std, swaps)
        if options.get("type") is not None:
            found._check(options)
        return found

    def __call__(self, images: Tensor) -> Tensor:
        """uint8 (N, 3, H, W), BGR as image transforms give it -> float32 (N, 3, H, W) for the network."""
        images = images.float()
        if self.to_rgb:
            images = images.flip(1)
        mean, std = (torch.tensor(values, device=images.device).view(3, 1, 1) for values in (self.mean, self.std))
        return (images - mean) / std

    @property
    def channel_order(self) -> str:
        """``'RGB'`` or ``'BGR'``: what the network takes, and the order of ``mean`` and ``std``."""
        return "RGB" if self.to_rgb else "BGR"

    def agrees(self, other: Normalisation) -> bool:
        """Whether both do the same, but for roundings such as 123.68 for 123.675."""
        pairs = zip((*self.mean, *self.std), (*other.mean, *other.std))
        return self.to_rgb == other.to_rgb and all(math.isclose(*pair, rel_tol=1e-3, abs_tol=1e-3) for pair in pairs)

    def record(self) -> dict[str, Any]:
        """As plain data, under the names of mmpretrain's data preprocessors."""
        return {"mean": list(self.mean), "std": list(self.std), "to_rgb": self.to_rgb}

    def _check(self, options: dict[str, Any]) -> None:
        """Compare with what the class itself does to an image."""
        from mmpretrain.registry import MODELS
        from mmpretrain.utils import register_all_modules

        register_all_modules(init_default_scope=False)
        # Neither side is a multiple of anything, so that padding shows.
        images = torch.randint(256, (2, 3, 5, 7), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
        try:
            with MODELS.switch_scope_and_registry("mmpretrain") as registry:
                output = registry.build(options)({"inputs": images, "data_samples": None}, False)["inputs"]
        except UserError:
            raise
        except Exception as error:  # a class of the user's own: anything can go wrong in it
            raise ConfigError(f"data_preprocessor {options['type']} cannot be used: {first_line(error)}") from error
        expected = self(images)
        if output.shape != expected.shape or not torch.allclose(output.float(), expected, rtol=1e-4, atol=1e-4):
            raise ConfigError(
                f"data_preprocessor {options['type']} does more to images than its mean, std and to_rgb say; use "
                "mmpretrain's ClsDataPreprocessor or SelfSupDataPreprocessor, without padding."
            )


def _three(values: Any, key: str, default: float) -> Three:
    """One value for each of three channels; a single value counts for all."""
    try:
        numbers = [float(value) for value in ([default] if values is None else values)]
        first, second, third = numbers * 3 if len(numbers) == 1 else numbers
    except (TypeError, ValueError) as error:
        raise ConfigError(f"data_preprocessor.{key}={values!r} must be three numbers, one a channel.") from error
    return first, second, third
