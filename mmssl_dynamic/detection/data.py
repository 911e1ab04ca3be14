"""The images of a detector, as mmdet reads them, and what tells whether they are still the same."""

from __future__ import annotations

import os
from functools import cached_property
from typing import Any

from mmengine.config import Config

from mmssl_dynamic.datasets.fingerprint import images_record
from mmssl_dynamic.detection.detector import evaluators
from mmssl_dynamic.fingerprints import files_state


class DetectionData:
    """Training and validation images of a detector with their annotations, read when they are first asked for.

    Args:
        detector: Config of the detector.
    """

    def __init__(self, detector: Config) -> None:
        self.detector = detector

    @cached_property
    def train(self) -> Any:
        """Training images; of a data set that repeats or mixes another one, that."""
        return _build(self.detector.train_dataloader.dataset)

    @cached_property
    def images(self) -> dict[str, Any]:
        """What a result depends on: images with sizes and times, boxes and masks, and the files of the metrics."""
        validation = _build(self.detector.val_dataloader.dataset)
        files = [metric["ann_file"] for metric in evaluators(self.detector, "val") if metric.get("ann_file")]
        return {
            "train": images_record(self.train).state,
            "val": images_record(validation).state,
            "metrics": files_state([file for file in files if os.path.exists(file)]),
        }


def _build(config: Any) -> Any:
    """A data set, built by mmdet; of one that has no samples of its own, the inner one."""
    from mmdet.registry import DATASETS
    from mmdet.utils import register_all_modules

    register_all_modules(init_default_scope=False)
    with DATASETS.switch_scope_and_registry("mmdet") as registry:
        dataset = registry.build(config)
    while not hasattr(dataset, "get_data_info") and hasattr(dataset, "dataset"):
        dataset = dataset.dataset
    dataset.full_init()
    return dataset
