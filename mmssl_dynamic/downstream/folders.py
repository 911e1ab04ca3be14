"""The folders of a labelled task: ``train/CLASS/``, ``test/CLASS/`` and, where it exists, ``val/CLASS/``.

Each may be a folder of tar files, an LMDB or a Hugging Face data set instead, made of such a one, see
:mod:`mmssl_dynamic.datasets.packed_folders`.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from mmssl_dynamic.datasets.image_listing import list_images
from mmssl_dynamic.datasets.load_image import printable
from mmssl_dynamic.datasets.packed_folders import open_packed
from mmssl_dynamic.errors import DataError


def is_labelled(root: str | os.PathLike[str]) -> bool:
    """Whether a folder seems to hold a task: ``train/`` beside ``test/`` or ``val/``."""
    base = Path(root).expanduser()
    return (base / "train").is_dir() and any((base / part).is_dir() for part in ("test", "val"))


def labelled_folders(root: str | os.PathLike[str]) -> tuple[dict[str, Path], tuple[str, ...]]:
    """Find the parts of a task, and check that their classes agree.

    Where there is no ``test/``, ``val/`` is the test set, as everyone has it with ImageNet.

    Args:
        root: The folder.

    Returns:
        The folders of the parts ``train``, ``test`` and perhaps ``val``, each with a folder for each class; and the
        classes in the order of their labels.

    Raises:
        DataError: a folder is missing or holds no image, an image lies outside the class folders, the classes of two
            folders differ, or there is only one class.
    """
    base = Path(root).expanduser()
    if not base.is_dir():
        raise DataError(
            f"data folder {printable(base)} does not exist; give a folder with train/ and test/ (or val/) in it."
        )
    train, test, val = base / "train", base / "test", base / "val"
    if not test.is_dir() and val.is_dir():
        test = val
    for part in (train, test):
        if not part.is_dir():
            raise DataError(
                f"data folder {printable(base)} has no folder {part.name}/; it must hold train/CLASS/ and test/CLASS/ "
                "(or val/CLASS/)."
            )
    classes = _classes(train)
    if len(classes) < 2:
        raise DataError(
            f"{printable(train)} has only one class, {classes[0]}; a task needs at least two class folders with images."
        )
    for part in (test, val):
        if part.is_dir() and (found := _classes(part)) != classes:
            raise DataError(_difference(train, part, classes, found))
    parts = {"train": train, "test": test}
    return ({**parts, "val": val} if val.is_dir() and val != test else parts), classes


def _classes(folder: Path) -> tuple[str, ...]:
    """Names of the first-level folders that hold images."""
    index = open_packed(folder)
    if index is not None:
        found, which = index.folders
        outside = np.flatnonzero(which < 0)
        loose = index.name(int(outside[0])) if len(outside) else None
    else:
        images = list_images(folder)
        loose = next((path for path in images if "/" not in path), None)
        found = sorted({path.split("/", 1)[0] for path in images})
    if loose is not None:
        raise DataError(f"image {printable(folder / loose)} lies outside the class folders; move it into one of them.")
    return tuple(found)


def _difference(train: Path, other: Path, classes: Sequence[str], found: Sequence[str]) -> str:
    """What is wrong, in one sentence, when two folders of a task have different classes."""
    parts = []
    for folder, names, rest in ((train, classes, found), (other, found, classes)):
        only = [name for name in names if name not in rest]
        if only:
            more = f" and {len(only) - 3} more" if len(only) > 3 else ""
            parts.append(f"{', '.join(only[:3])}{more} only in {folder.name}/")
    return (
        f"the classes of {printable(train)} and {printable(other)} differ ({'; '.join(parts)}); add images of those "
        "classes or remove their folders."
    )
