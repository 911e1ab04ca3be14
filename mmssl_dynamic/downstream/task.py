"""The images of a downstream task: a folder with ``train/`` and ``test/``, or data sets from a config file."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from mmengine.config import Config

from mmssl_dynamic.datasets.batches import ImageBatches, build_dataset
from mmssl_dynamic.datasets.fingerprint import ImagesRecord, images_record, pipeline_fingerprint
from mmssl_dynamic.datasets.image_folder import downstream_folders
from mmssl_dynamic.datasets.normalisation import Normalisation
from mmssl_dynamic.downstream.splits import Splits
from mmssl_dynamic.errors import ConfigError, DataError

_PARTS = ("train", "val", "test")


@dataclass(frozen=True)
class Task:
    """Labelled data sets of a task.

    Attributes:
        name: For results and file names.
        datasets: ``train``, ``test`` and perhaps ``val``, built.
    """

    name: str
    datasets: dict[str, Any]

    @cached_property
    def images(self) -> dict[str, ImagesRecord]:
        """The images of every part as they were when this was first asked."""
        return {part: images_record(dataset) for part, dataset in self.datasets.items()}

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
        self, normalisation: Normalisation, batch_size: int, num_workers: int = 0, device: str | torch.device = "cpu"
    ) -> Splits:
        """Batches of all parts.

        Args:
            normalisation: That of the network.
            batch_size: Images per batch.
            num_workers: Loader processes.
            device: Where the images go.
        """
        batches = {
            part: ImageBatches(dataset, normalisation, batch_size, num_workers=num_workers, device=device)
            for part, dataset in self.datasets.items()
        }
        return Splits(batches["train"], batches.get("test"), batches.get("val"))


def folder_task(root: str | os.PathLike[str], pipeline: Sequence[dict]) -> Task:
    """The task of an image folder: ``train/CLASS/``, ``test/CLASS/`` and, where it exists, ``val/CLASS/``.

    Args:
        root: The folder; its name becomes the task's.
        pipeline: ``cfg.eval_pipeline``.

    Raises:
        DataError: a part is missing or empty, or their classes differ.
    """
    folders = downstream_folders(root)
    datasets = {}
    for part in _PARTS:
        folder = getattr(folders, part)
        if folder is not None:
            datasets[part] = build_dataset(
                {
                    "type": "mmssl_dynamic.ImageFolder",
                    "data_root": str(folder),
                    "with_label": True,
                    "classes": list(folders.classes),
                    "pipeline": list(pipeline),
                }
            )
    return Task(Path(root).resolve().name, datasets)


def config_task(config: Config, pipeline: Sequence[dict]) -> Task:
    """The task of a config that defines the data sets ``train``, ``test`` and, optionally, ``val``.

    Args:
        config: Each data set is any of mmpretrain's; one without ``pipeline`` gets the one given here. An optional
            ``name`` names the task, else the file does.
        pipeline: ``cfg.eval_pipeline``.

    Raises:
        ConfigError: there is no ``train`` or ``test``.
        DataError: a data set is empty, or their classes differ.
    """
    datasets: dict[str, Any] = {}
    for part in _PARTS:
        if config.get(part) is None:
            if part != "val":
                raise ConfigError(
                    f"data set config {config.filename} does not define '{part} = dict(type=..., ...)'; add it."
                )
            continue
        options = dict(config[part])
        options.setdefault("pipeline", list(pipeline))
        datasets[part] = build_dataset(options)
    classes = getattr(datasets["train"], "CLASSES", None)
    for part, dataset in datasets.items():
        own = getattr(dataset, "CLASSES", None)
        if classes is not None and own is not None and list(own) != list(classes):
            raise DataError(
                f"data sets train and {part} of {config.filename} have different classes; give both the same 'classes'."
            )
    return Task(str(config.get("name") or Path(config.filename or "task").stem), datasets)
