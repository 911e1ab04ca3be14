"""A person's own images for the demo: a few of them, small, so that decoding does not take the minutes there are."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np
from PIL import Image
from tqdm import tqdm

from mmssl_dynamic.datasets.named_images import NamedImages
from mmssl_dynamic.errors import DataError
from mmssl_dynamic.writing import write_stream


def too_few(source: str | Path, count: int, minimum: int) -> DataError:
    """What to say of a folder with too few images."""
    return DataError(
        f"{source} holds {count} images; the demo needs at least {minimum}, so that every network fills its batches. "
        "Give a larger folder."
    )


def shrink_images(source: str | Path, target: Path, limit: int, minimum: int, size: int = 64) -> Path:
    """Copies of images with a short side of at most ``size`` pixels.

    Args:
        source: Folder of images, nested or flat, or packed.
        target: Folder of the copies, PNG; those that are there already are kept.
        limit: Images at most, spread evenly over the folder.
        minimum: Images at least.
        size: Short side in pixels.

    Raises:
        DataError: there are fewer than ``minimum`` images, or one cannot be read.
    """
    images = NamedImages(source)
    names = images.names
    if len(names) < minimum:
        raise too_few(source, len(names), minimum)
    chosen = [names[i] for i in np.linspace(0, len(names) - 1, min(limit, len(names)), dtype=int)]
    for name in tqdm(chosen, desc="shrinking images", unit="img"):
        copy = target / f"{name}.png"
        if copy.is_file():
            continue
        pixels = images.read(name)  # (H, W, 3), BGR
        image = Image.fromarray(np.ascontiguousarray(pixels[..., ::-1]))
        scale = min(1.0, size / min(image.size))
        shape = (max(1, round(image.width * scale)), max(1, round(image.height * scale)))
        small = image.resize(shape, Image.Resampling.LANCZOS)
        write_stream(copy, partial(small.save, format="PNG"))
    return target
