"""``Task``: the labelled images of a downstream task, from a folder, a config file, or a known data set.

N images, K classes.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmengine.config import Config
from numpy.typing import NDArray

from mmssl_dynamic.datasets.batches import ImageBatches, build_dataset
from mmssl_dynamic.datasets.fingerprint import ImagesRecord, images_record, pipeline_fingerprint
from mmssl_dynamic.datasets.kept_images import ImageKeeper
from mmssl_dynamic.datasets.names import sample_names
from mmssl_dynamic.datasets.normalisation import Normalisation
from mmssl_dynamic.downstream.folders import labelled_folders
from mmssl_dynamic.downstream.splits import Splits
from mmssl_dynamic.errors import ConfigError, DataError
from mmssl_dynamic.loading import load_config

PathLike = str | os.PathLike[str]
#: What a task consists of; ``val`` may be missing.
PARTS = ("train", "val", "test")


@dataclass(frozen=True, eq=False)
class Task:
    """Labelled images in parts.

    Attributes:
        name: For results and file names.
        data: Config of the data set of each part: ``train``, ``test`` and perhaps ``val``.
        pipeline: What images go through where the config of their data set does not say it.
        metric: How the task is scored: ``'top1'``, ``'mean_per_class'``, or ``'map'`` for several classes an image.
        split: Where the parts come from, for results.
        file: Config file that defines the data sets, for messages.
    """

    name: str
    data: Mapping[str, Mapping[str, Any]]
    pipeline: Sequence[dict] = ()
    metric: str = "top1"
    split: str = "predefined"
    file: PathLike | None = None

    @classmethod
    def given(cls, task: PathLike | Task, pipeline: Sequence[dict], parts: Sequence[str] = PARTS) -> Task:
        """The task that a verb was given: as it is, or that of an image folder or a config file.

        Args:
            task: The task, folder or file.
            pipeline: What images go through where the task does not say it.
            parts: Those that are wanted, as far as they are there.

        Raises:
            ConfigError: as :meth:`from_config`.
            DataError: as :meth:`from_folder` and :meth:`from_config`.
        """
        if isinstance(task, Task):
            data = {part: config for part, config in task.data.items() if part in parts}
            if task.pipeline and len(data) == len(task.data):
                return task  # which may have looked at its images already
            return replace(task, data=data, pipeline=task.pipeline or pipeline)
        if Path(task).suffix in (".py", ".yaml", ".yml", ".json") and not os.path.isdir(task):
            return cls.from_config(task, pipeline, parts)
        return cls.from_folder(task, pipeline, parts)

    @classmethod
    def from_folder(cls, root: PathLike, pipeline: Sequence[dict] = (), parts: Sequence[str] = PARTS) -> Task:
        """The task of an image folder, see :func:`~mmssl_dynamic.downstream.folders.labelled_folders`.

        Args:
            root: The folder; its name becomes the task's.
            pipeline: What images go through, such as ``cfg.eval_pipeline``.
            parts: Those that are wanted, as far as they are there.

        Raises:
            DataError: a part is missing or empty, or their classes differ.
        """
        folders, classes = labelled_folders(root)
        common = {"type": "mmssl_dynamic.ImageFolder", "with_label": True, "classes": list(classes)}
        data = {part: {**common, "data_root": str(folders[part])} for part in parts if part in folders}
        return cls(Path(root).resolve().name, data, pipeline, split=f"folders {', '.join(f'{p}/' for p in data)}")

    @classmethod
    def from_config(cls, file: PathLike, pipeline: Sequence[dict] = (), parts: Sequence[str] = PARTS) -> Task:
        """The task of a config file that defines the data sets ``train``, ``test`` and, optionally, ``val``.

        Args:
            file: Config whose data sets are any of mmpretrain's. An optional ``name`` names the task, else the file
                does.
            pipeline: What images go through where a data set has no ``pipeline`` of its own.
            parts: Those that are wanted, as far as they are there.

        Raises:
            ConfigError: there is no ``train`` or ``test``, or a data set cannot be built.
            DataError: a data set is empty, or their classes differ.
        """
        config = load_config(file)
        for part in ("train", "test"):
            if config.get(part) is None:
                raise ConfigError(f"data set config {file} does not define '{part} = dict(type=..., ...)'; add it.")
        data = {part: config[part] for part in parts if config.get(part) is not None}
        task = cls(str(config.get("name") or Path(file).stem), data, pipeline, file=file)
        task.check_classes()
        return task

    @cached_property
    def datasets(self) -> dict[str, Any]:
        """The data set of every part, built.

        Raises:
            ConfigError: a data set or transform does not exist, or does not take its options.
            DataError: a data set is empty.
        """
        return {part: build_dataset({"pipeline": list(self.pipeline), **config}) for part, config in self.data.items()}

    def check_classes(self) -> None:
        """Refuse parts whose classes differ.

        Raises:
            DataError: they do.
        """
        classes = self.classes
        for part, dataset in self.datasets.items():
            own = getattr(dataset, "CLASSES", None)
            if classes is not None and own is not None and tuple(own) != classes:
                raise DataError(
                    f"data sets train and {part} of {self.file or self.name} have different classes; give both the "
                    "same 'classes'."
                )

    @property
    def classes(self) -> tuple[str, ...] | None:
        """Names of the classes in the order of their labels; ``None`` if the data set does not know them."""
        names = getattr(self.datasets["train"], "CLASSES", None)
        return tuple(names) if names else None

    @cached_property
    def num_classes(self) -> int:
        """K."""
        return len(self.classes) if self.classes else int(max(self.labels(part).max() for part in self.data)) + 1

    def labels(self, part: str) -> NDArray[Any]:
        """Labels of a part.

        Returns:
            Class indices (N,) int64; with the metric ``'map'`` whether each image shows each class, (N, K) bool.

        Raises:
            DataError: images have no label, or not one each.
        """
        dataset = self.datasets[part]
        labels = [dataset.get_data_info(index).get("gt_label") for index in range(len(dataset))]
        several = self.metric == "map"
        if any(label is None or (np.size(label) != 1 and not several) for label in labels):
            what = {"train": "training", "val": "validation"}.get(part, part)
            raise DataError(f"the {what} images need one label each; give a data set with labels.")
        if not several:
            return np.asarray(labels, dtype=np.int64).reshape(-1)
        shown = np.zeros((len(labels), len(self.classes or ())), dtype=bool)
        for row, classes in zip(shown, labels):
            row[classes] = True
        return shown

    @cached_property
    def images(self) -> dict[str, ImagesRecord]:
        """The images of every part as they were when this was first asked."""
        return {part: images_record(dataset) for part, dataset in self.datasets.items()}

    def record(self) -> dict[str, Any]:
        """Name and size, and fingerprints of file names and labels that do not depend on where the images lie.

        Raises:
            DataError: an image has no label, or is listed twice.
        """
        for part, dataset in self.datasets.items():
            sample_names(dataset)
            self.labels(part)
        return {"name": self.name, **{part: self.images[part].record() for part in self.data}}

    def pipelines(self) -> dict[str, Any]:
        """What the images of every part go through, as plain data, for results."""
        steps = {part: list(config.get("pipeline", self.pipeline)) for part, config in self.data.items()}
        return Config(steps).to_dict()

    def inputs(self, normalisation: Normalisation) -> dict[str, Any]:
        """What a result on all images depends on, by the names of a :class:`~mmssl_dynamic.result_cache.Key`.

        Args:
            normalisation: What the pre-training did to pixels.

        Raises:
            DataError: an image file is missing.
            ConfigError: a data set or transform cannot be compared with another run's.
        """
        return {
            "images": {part: record.state for part, record in self.images.items()},
            "pipeline": {part: pipeline_fingerprint(dataset) for part, dataset in self.datasets.items()},
            "normalisation": normalisation.record(),
        }

    def splits(
        self,
        normalisation: Normalisation,
        batch_size: int,
        num_workers: int = 0,
        device: str | torch.device = "cpu",
        kept: ImageKeeper | None = None,
    ) -> Splits:
        """Batches of all parts.

        Args:
            normalisation: That of the network.
            batch_size: Images per batch.
            num_workers: Loader processes.
            device: Where the images go.
            kept: Where decoded images wait for further passes.
        """
        batches = {
            part: ImageBatches(dataset, normalisation, batch_size, num_workers, device, kept=kept)
            for part, dataset in self.datasets.items()
        }
        return Splits(batches["train"], batches.get("test"), batches.get("val"))
