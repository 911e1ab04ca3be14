"""Loading of batches by a training pipeline: of a config of this package, and mmpretrain's stock one."""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from itertools import cycle
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from mmengine.config import Config

from mmssl_dynamic.datasets.image_listing import list_images
from mmssl_dynamic.loading import data_preprocessor, find_config, load_config, training_pipeline

#: mmpretrain's own data sets with two views, by the method that they are for.
PEERS = {
    "SimSiam": "mmpretrain::_base_/datasets/imagenet_bs32_mocov2.py",
    "BYOL": "mmpretrain::_base_/datasets/imagenet_bs32_byol.py",
}


def own_pipeline(config: str) -> tuple[list, dict]:
    """Training pipeline and data preprocessor of a config of this package, by its name below ``configs/``."""
    loaded = load_config(find_config(config))
    return training_pipeline(loaded), data_preprocessor(loaded)


def peer_pipeline(method: str) -> tuple[list, dict]:
    """Those that mmpretrain ships for ``'SimSiam'`` or ``'BYOL'``.

    Its shift of the hue overflows under numpy 2: here it is as it was under numpy 1.
    """
    import mmcv

    mmcv.adjust_hue = _adjust_hue
    package, _, name = PEERS[method].partition("::")
    config = Config.fromfile(_shipped(package, name))
    return list(config.train_dataloader.dataset.pipeline), dict(config.data_preprocessor)


def _adjust_hue(image: np.ndarray, factor: float, backend: str | None = None) -> np.ndarray:
    """mmcv's, by the same two calls of OpenCV."""
    hsv = cv2.cvtColor(image, cv2.COLOR_BGR2HSV_FULL)
    hue, saturation, value = cv2.split(hsv)
    hue += np.uint8(int(factor * 255) % 256)
    return cv2.cvtColor(cv2.merge([hue, saturation, value]), cv2.COLOR_HSV2BGR_FULL)


def with_size(pipeline: list, size: int) -> list:
    """The same with views of another size."""
    pipeline = deepcopy(pipeline)
    for step in _steps(pipeline):
        if "RandomResizedCrop" in step["type"]:
            step["scale" if "scale" in step and not isinstance(step["scale"], tuple | list) else "size"] = size
    return pipeline


def batch_loader(pipeline: list, preprocessor: dict, folder: str | Path, batch_size: int) -> Callable[[], Any]:
    """A function that makes one batch ready for the network: read, decoded, augmented, collated and normalised."""
    from mmengine.dataset import default_collate
    from mmpretrain.registry import MODELS, TRANSFORMS
    from mmpretrain.utils import register_all_modules

    register_all_modules(init_default_scope=False)
    with TRANSFORMS.switch_scope_and_registry("mmpretrain") as registry:
        transforms = [registry.build(step) for step in pipeline]
        ready = MODELS.build(preprocessor)
    files = cycle(list_images(folder))

    def load() -> Any:
        batch = []
        for _ in range(batch_size):
            sample: Any = dict(img_path=str(Path(folder) / next(files)), gt_label=0)
            for transform in transforms:
                sample = transform(sample)
            batch.append(sample)
        return ready(default_collate(batch))

    return load


def _steps(pipeline: list) -> list[dict]:
    """All steps, those of views and of random choices included."""
    found = []
    for step in pipeline:
        found.append(step)
        inner = step.get("transforms", ())
        found += _steps([s for part in inner for s in (part if isinstance(part, list) else [part])])
    return found


def _shipped(package: str, name: str) -> str:
    from importlib.util import find_spec

    spec = find_spec(package)
    assert spec is not None
    assert spec.origin is not None
    return str(Path(spec.origin).parent / ".mim/configs" / name)
