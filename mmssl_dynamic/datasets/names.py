"""Names of a data set's images: what clusters and features are matched by, never their position."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import PurePath
from typing import Any

from mmssl_dynamic.errors import DataError
from mmssl_dynamic.image_names import ImageNames


def sample_names(dataset: Any) -> Sequence[str]:
    """A name for every image, in the data set's order.

    Args:
        dataset: Any mmpretrain data set, fully initialised.

    Returns:
        Sequence[str]: The image's path relative to the folder that holds the data set, with forward slashes, so that
        the data may move; ``'index:000012'`` for data sets that keep their images in memory (CIFAR).

    Raises:
        DataError: two images have the same name.
    """
    names = image_names(dataset)
    double = ImageNames.of(names).twice()
    if double is not None:
        raise DataError(f"the data set lists the image {double} twice; remove the repetition from its annotation file.")
    return names


def image_names(dataset: Any) -> Sequence[str]:
    """As :func:`sample_names`, of images that may be listed twice."""
    known: Sequence[str] | None = getattr(dataset, "image_names", None)  # packed ones: without a look at every image
    if known is not None:
        return known
    paths = [dataset.get_data_info(i).get("img_path") for i in range(len(dataset))]
    if any(path is None for path in paths):
        return [f"index:{i:06d}" for i in range(len(paths))]
    return relative_names(dataset, paths)


def relative_names(dataset: Any, paths: Sequence[str]) -> list[str]:
    """Paths of a data set's images relative to the folder that holds it, with forward slashes."""
    root = _root(dataset, paths)
    # Plain string operations: os.path.relpath resolves every path against the working directory, minutes for ImageNet.
    return [_relative(path, root) for path in paths]


def _root(dataset: Any, paths: Sequence[str]) -> str:
    for candidate in (
        getattr(dataset, "image_root", None),
        getattr(dataset, "img_prefix", None),
        getattr(dataset, "data_root", None),
    ):
        if candidate and all(str(path).startswith(str(candidate)) for path in paths):
            return str(candidate)
    return os.path.dirname(os.path.commonprefix([str(path) for path in paths]))


def _relative(path: str, root: str) -> str:
    name = str(path)[len(root) :].lstrip("/\\")
    return PurePath(name).as_posix() if "//" in name or "./" in name or os.sep != "/" else name
