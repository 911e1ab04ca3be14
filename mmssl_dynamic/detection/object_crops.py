"""Objects cut out of a detection set, as a labelled image folder: what a classifier can see of a detection task."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from tqdm import tqdm

from mmssl_dynamic.datasets.load_image import read_image
from mmssl_dynamic.errors import DataError
from mmssl_dynamic.writing import atomic_folder

_CONTEXT = 0.15  # of the box on every side: what an object stands on is a part of it for a network


def write_object_crops(
    dataset: Any,
    folder: str | Path,
    limit: int = 2000,
    least_side: int = 16,
    size: int = 128,
    seed: int = 0,
) -> Path:
    """Write ``folder/CLASS/NNNNNN.png``, one for each of at most ``limit`` objects, evenly over the classes.

    Crowds and objects to be ignored (VOC's difficult ones) are left out.

    Args:
        dataset: A detection set of mmdet, fully initialised: ``get_data_info`` gives ``img_path`` and ``instances``.
        folder: Of the crops; those of an earlier call are replaced.
        limit: Objects at most.
        least_side: Objects whose shorter side is smaller, in pixels, are left out.
        size: Longer side of the crops at most, in pixels.
        seed: Chooses the objects.

    Returns:
        The folder.

    Raises:
        DataError: there are no two classes with two objects each.
    """
    target = Path(folder)
    names = dataset.metainfo["classes"]
    objects = list(_objects(dataset, least_side))
    rng = np.random.default_rng(seed)
    by_class: dict[int, list[tuple[str, tuple[float, ...]]]] = {}
    for index in rng.permutation(len(objects)):
        label, path, box = objects[index]
        by_class.setdefault(label, []).append((path, box))
    by_class = {label: found for label, found in sorted(by_class.items()) if len(found) > 1}
    if len(by_class) < 2:
        raise DataError(
            f"the training set of the detector has fewer than two classes with two objects of {least_side} pixels, so "
            "candidates cannot be short-listed on its objects; use --shortlist random."
        )
    share = max(2, limit // len(by_class))
    with atomic_folder(target) as temporary:
        for label, found in tqdm(by_class.items(), desc="cutting out objects", unit="class"):
            own = temporary / names[label].replace("/", "_")
            own.mkdir()
            for number, (path, box) in enumerate(found[:share]):
                crop(path, box, size).save(own / f"{number:06d}.png")
    return target


def crop(path: str, box: tuple[float, ...], size: int) -> Image.Image:
    """An object with some of what is around it, RGB, its longer side at most ``size`` pixels.

    Args:
        path: Image file.
        box: Left, top, right, bottom in pixels.
        size: In pixels.
    """
    pixels = read_image(path)  # (H, W, 3), BGR
    left, top, right, bottom = box
    dx, dy = _CONTEXT * (right - left), _CONTEXT * (bottom - top)
    rows = slice(max(0, round(top - dy)), max(round(bottom + dy), round(top) + 1))
    columns = slice(max(0, round(left - dx)), max(round(right + dx), round(left) + 1))
    image = Image.fromarray(np.ascontiguousarray(pixels[rows, columns, ::-1]))
    image.thumbnail((size, size), Image.Resampling.LANCZOS)
    return image


def _objects(dataset: Any, least_side: int) -> Iterator[tuple[int, str, tuple[float, ...]]]:
    """Class, image file and box of every object that can be shown."""
    for index in range(len(dataset)):
        info: Mapping[str, Any] = dataset.get_data_info(index)
        for instance in info["instances"]:
            left, top, right, bottom = instance["bbox"]
            if not instance.get("ignore_flag") and min(right - left, bottom - top) >= least_side:
                yield int(instance["bbox_label"]), info["img_path"], (left, top, right, bottom)
