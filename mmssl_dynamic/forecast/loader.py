"""How fast one core of this machine makes training images, and what a sample looks like."""

from __future__ import annotations

import tempfile
import time
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from mmengine.config import Config
from PIL import Image
from torch import Tensor

from mmssl_dynamic.loading import training_pipeline

_WIDTH, _HEIGHT, _PHOTOS = 500, 375, 8  # of an image of ImageNet, and how many different ones


def sample_and_rate(config: Config, seconds: float = 1.0) -> tuple[list[Tensor], float]:
    """The images of a sample, each (C, H, W), and how many samples one core makes in a second, decoding included.

    The images are drawn, JPEGs of the size of ImageNet's and as smooth as photographs are.

    Args:
        config: Pre-training config.
        seconds: How long to measure at least; 0 makes one sample, and the rate of that means little.
    """
    from mmpretrain.registry import TRANSFORMS
    from mmpretrain.utils import register_all_modules

    register_all_modules(init_default_scope=False)
    with TRANSFORMS.switch_scope_and_registry("mmpretrain") as registry:
        transforms = [registry.build(step) for step in training_pipeline(config)]
    threads, rng = cv2.getNumThreads(), np.random.default_rng(0)
    with tempfile.TemporaryDirectory() as folder:
        files = [str(Path(folder) / f"{index}.jpg") for index in range(_PHOTOS)]
        for file in files:
            small = Image.fromarray(rng.integers(0, 256, (24, 32, 3), dtype=np.uint8))
            small.resize((_WIDTH, _HEIGHT), Image.Resampling.BICUBIC).save(file, quality=92)
        cv2.setNumThreads(1)
        try:
            sample = _through(transforms, files[0])
            done, start = 0, time.perf_counter()
            while done == 0 or time.perf_counter() - start < seconds:
                _through(transforms, files[done % _PHOTOS])
                done += 1
            rate = done / (time.perf_counter() - start)
        finally:
            cv2.setNumThreads(threads)
    images = sample["inputs"]
    return (list(images) if isinstance(images, list | tuple) else [torch.as_tensor(images)]), rate


def _through(transforms: list[Any], file: str) -> Any:
    sample: Any = {"img_path": file, "gt_label": 0}
    for transform in transforms:
        sample = transform(sample)
    return sample
