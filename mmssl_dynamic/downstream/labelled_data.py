"""The labelled images of an evaluation: a folder with train/ and test/ (or val/), or data sets from a config file."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from mmengine.config import Config

from mmssl_dynamic.datasets.image_folder import downstream_folders
from mmssl_dynamic.datasets.names import sample_names
from mmssl_dynamic.downstream.label_subsets import draw_labelled, listed_images
from mmssl_dynamic.downstream.task import Task, config_task
from mmssl_dynamic.errors import ConfigError, DataError
from mmssl_dynamic.loading import load_config
from mmssl_dynamic.writing import write_text

PathLike = str | os.PathLike[str]


@dataclass(frozen=True)
class LabelledData:
    """Training and test images.

    Attributes:
        name: Of the task.
        train: Config of the data set to train on, or kNN's bank.
        test: Config of the data set to test on.
        file: Config file that they are from, for messages.
    """

    name: str
    train: Mapping[str, Any]
    test: Mapping[str, Any]
    file: PathLike | None = None

    @classmethod
    def of(cls, data_root: PathLike | None, dataset_config: PathLike | None) -> LabelledData:
        """What ``--data-root`` or ``--dataset-config`` names.

        Raises:
            ConfigError: neither or both are given, or the config lacks a data set.
            DataError: a folder is missing or empty, or the classes differ.
        """
        if (data_root is None) == (dataset_config is None):
            raise ConfigError("an evaluation needs labelled images: give either --data-root or --dataset-config.")
        if dataset_config is not None:
            config = load_config(dataset_config)
            for part in ("train", "test"):
                if config.get(part) is None:
                    raise ConfigError(
                        f"data set config {dataset_config} does not define '{part} = dict(type=..., ...)'; add it."
                    )
            return cls(config.get("name") or Path(dataset_config).stem, config.train, config.test, dataset_config)
        assert data_root is not None
        folders = downstream_folders(data_root)
        common = {"type": "mmssl_dynamic.ImageFolder", "with_label": True, "classes": list(folders.classes)}
        train, test = ({**common, "data_root": str(folder)} for folder in (folders.train, folders.test))
        return cls(Path(data_root).resolve().name, train, test)

    def task(self, pipeline: Sequence[dict]) -> Task:
        """The data sets, built.

        Raises:
            DataError: a data set is empty, or their classes differ.
        """
        parts = dict(name=self.name, train=self.train, test=self.test)
        return config_task(Config(parts, filename=self.file), pipeline)

    def pipelines(self, pipeline: Sequence[dict]) -> dict[str, Any]:
        """What training and test images go through, as plain data, for results."""
        parts = {"train": self.train.get("pipeline", pipeline), "test": self.test.get("pipeline", pipeline)}
        return Config({part: list(steps) for part, steps in parts.items()}).to_dict()


def labels_of(dataset: Any, part: str) -> np.ndarray:
    """Class indices of all images, (N,).

    Raises:
        DataError: some have none.
    """
    labels = [dataset.get_data_info(index).get("gt_label") for index in range(len(dataset))]
    if any(label is None or np.size(label) != 1 for label in labels):
        raise DataError(f"the {part} images need one label each; give a data set with labels.")
    return np.asarray(labels, dtype=np.int64).reshape(-1)


def data_record(task: Task) -> dict[str, Any]:
    """Name and size of a task, and a fingerprint of its file names and labels that does not depend on where it lies."""
    for part in ("train", "test"):
        sample_names(task.datasets[part])  # refuses an image that is listed twice
        labels_of(task.datasets[part], part)  # and one without a label
    return {"name": task.name, **{part: task.images[part].record() for part in ("train", "test")}}


def num_classes(task: Task) -> int:
    """K."""
    classes = getattr(task.datasets["train"], "CLASSES", None)
    return (
        len(classes) if classes else int(max(labels_of(task.datasets[part], part).max() for part in task.datasets)) + 1
    )


@dataclass(frozen=True)
class LabelSubset:
    """The share of the training labels that semi-supervised learning may use.

    Args:
        fraction: Drawn with ``seed``, evenly over the classes.
        file: Or the images that this file lists, see :func:`~mmssl_dynamic.downstream.label_subsets.listed_images`.
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

    def indices(self, dataset: Any) -> list[int]:
        """The images of a data set that keep their labels."""
        if self.file is not None:
            return listed_images(sample_names(dataset), self.file)
        assert self.fraction is not None
        return draw_labelled(labels_of(dataset, "training"), self.fraction, self.seed)

    def record(self, indices: Sequence[int], dataset: Any) -> dict[str, Any]:
        """What was chosen, for results."""
        names = sample_names(dataset)
        digest = hashlib.sha256("\n".join(names[index] for index in indices).encode()).hexdigest()
        how = {"list": Path(self.file).name} if self.file is not None else {"drawn": self.fraction, "seed": self.seed}
        return {**how, "images": len(indices), "fingerprint": digest}


def write_labels(dataset: Any, indices: Sequence[int], path: PathLike) -> dict[str, Any]:
    """Write images and labels, one a line; returns the config of a data set that reads them.

    Raises:
        DataError: the images are no files.
    """
    lines = []
    for index, label in zip(indices, labels_of(dataset, "training")[list(indices)]):
        image = dataset.get_data_info(index).get("img_path")
        if image is None:
            raise DataError("semi-supervised evaluation needs images in files; give an image folder with --data-root.")
        lines.append(f"{image if '://' in image else os.path.abspath(image)} {label}\n")
    write_text(path, "".join(lines))
    return {"type": "CustomDataset", "ann_file": str(Path(path).resolve())}
