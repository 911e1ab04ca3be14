"""Which images keep their labels: a seeded draw with equally many of each class, or a list such as SimCLR's."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from mmssl_dynamic.datasets.load_image import printable
from mmssl_dynamic.datasets.names import sample_names
from mmssl_dynamic.downstream.task import Task
from mmssl_dynamic.errors import ConfigError, DataError
from mmssl_dynamic.text_lists import find_names, read_lines
from mmssl_dynamic.writing import write_text

PathLike = str | os.PathLike[str]


def draw_labelled(labels: ArrayLike, fraction: float, seed: int = 0) -> list[int]:
    """Draw a fraction of a training set, as evenly over the classes as their sizes allow.

    1 % of ImageNet are 12 or 13 images of every class, as in SimCLR's subsets ("in a class-balanced way").

    Args:
        labels: Class indices of shape (N,).
        fraction: Of all images, in (0, 1].
        seed: Of the draw.

    Returns:
        Indices, ascending; at least one of every class.

    Raises:
        ConfigError: the fraction is not in (0, 1].
    """
    if not 0 < fraction <= 1:
        raise ConfigError(
            f"a fraction of {fraction} of the labels cannot be drawn; give one from 0 to 1, such as 0.01."
        )
    truth = np.asarray(labels)
    classes, sizes = np.unique(truth, return_counts=True)
    rng = np.random.default_rng(seed)
    counts = _even_counts(sizes, max(len(classes), round(fraction * len(truth))), rng)
    drawn = [rng.choice(np.flatnonzero(truth == label), count, replace=False) for label, count in zip(classes, counts)]
    return sorted(int(index) for index in np.concatenate(drawn))


def _even_counts(sizes: np.ndarray, total: int, rng: np.random.Generator) -> np.ndarray:
    """Images per class, equal where possible, that add up to ``total``; chance decides who gets the remainder."""
    counts = np.zeros_like(sizes)
    while (left := total - int(counts.sum())) > 0:
        open_classes = np.flatnonzero(counts < sizes)
        if left < len(open_classes):
            open_classes = rng.choice(open_classes, left, replace=False)
        share = max(1, left // len(open_classes))
        counts[open_classes] += np.minimum(share, (sizes - counts)[open_classes])
    return counts


def labelled_by_list(names: Sequence[str], file: str | os.PathLike[str]) -> list[int]:
    """Positions of the images that a file lists, one name a line.

    SimCLR's lists name files without their folders (``n01440764_10026.JPEG``); paths relative to the data set and full
    paths are understood as well, also as they are written on Windows, see :mod:`mmssl_dynamic.text_lists`.

    Args:
        names: Names of the data set's images, relative paths with forward slashes.
        file: The list.

    Returns:
        Indices, ascending.

    Raises:
        ArtifactError: the list is missing, empty or no text.
        DataError: it names an image that the data set does not have, or a name that several images share.
    """
    wanted = read_lines(file, "label list")
    by_path = {name: index for index, name in enumerate(names)}
    by_file: dict[str, list[int]] = {}
    for index, name in enumerate(names):
        by_file.setdefault(PurePosixPath(name).name, []).append(index)
    found: set[int] = set()
    for number, line in enumerate(wanted, 1):
        paths = find_names(line, by_path)
        candidates = (
            [by_file[name] for name in find_names(line, by_file)] if not paths else [[by_path[p]] for p in paths]
        )
        if not candidates or any(len(same) > 1 for same in candidates):
            what = "which the training set does not have" if not candidates else "as several training images are called"
            raise DataError(
                f"label list {file} names {printable(line)}, {what} (name {number} of the list); give the list that "
                "was made for this data set."
            )
        found.update(same[0] for same in candidates)
    return sorted(found)


@dataclass(frozen=True)
class LabelSubset:
    """The share of the training labels that semi-supervised learning may use.

    Args:
        fraction: Drawn with ``seed``, evenly over the classes.
        file: Or the images that this file lists, see :func:`labelled_by_list`.
        seed: Of the draw.

    Raises:
        ConfigError: neither or both are given.
    """

    fraction: float | None = None
    file: PathLike | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        if (self.fraction is None) == (self.file is None):
            raise ConfigError(
                "semi-supervised evaluation needs to know whose labels it may use: give either --label-fraction or "
                "--label-list."
            )

    def indices(self, task: Task) -> list[int]:
        """The training images of a task that keep their labels."""
        if self.file is not None:
            return labelled_by_list(sample_names(task.datasets["train"]), self.file)
        assert self.fraction is not None
        return draw_labelled(task.labels("train"), self.fraction, self.seed)

    def record(self, indices: Sequence[int], task: Task) -> dict[str, Any]:
        """What was chosen, for results."""
        names = sample_names(task.datasets["train"])
        digest = hashlib.sha256("\n".join(names[index] for index in indices).encode()).hexdigest()
        how = {"list": Path(self.file).name} if self.file is not None else {"drawn": self.fraction, "seed": self.seed}
        return {**how, "images": len(indices), "fingerprint": digest}


def write_labels(task: Task, indices: Sequence[int], path: PathLike) -> dict[str, Any]:
    """Write training images and labels, one a line; returns the config of a data set that reads them.

    Raises:
        DataError: the images are no files.
    """
    lines, dataset = [], task.datasets["train"]
    for index, label in zip(indices, task.labels("train")[list(indices)]):
        sample = dataset.get_data_info(index)
        image = sample.get("img_path")
        if image is None or "shard" in sample:
            raise DataError("semi-supervised evaluation needs images in files; give an image folder with --data-root.")
        lines.append(f"{image if '://' in image else os.path.abspath(image)} {label}\n")
    write_text(path, "".join(lines))
    return {"type": "CustomDataset", "ann_file": str(Path(path).resolve())}
