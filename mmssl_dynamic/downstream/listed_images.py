"""Images by a list of files, or as pixels in memory, with labels of any kind: what readers of known data sets return.

N images, H W height and width, K classes.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from mmengine.dataset import Compose
from numpy.typing import NDArray
from torch.utils.data import Dataset

from mmssl_dynamic.datasets.fingerprint import ImagesRecord, make_record
from mmssl_dynamic.datasets.load_image import LoadImage
from mmssl_dynamic.fingerprints import files_state


@dataclass(frozen=True, eq=False)
class LabelledImages:
    """Images and their labels.

    Attributes:
        images: N files, or RGB pixels (N, H, W, 3) uint8.
        labels: Class indices (N,), or whether each image shows each class, (N, K).
        root: Folder that names of files are relative to.
    """

    images: Sequence[str] | NDArray[np.uint8]
    labels: NDArray[Any]
    root: str = ""

    def __len__(self) -> int:
        return len(self.images)

    @property
    def names(self) -> list[str]:
        """A name for each image that does not depend on where the data set lies."""
        if isinstance(self.images, np.ndarray):
            return [f"index:{i:06d}" for i in range(len(self))]
        # A plain string operation: os.path.relpath takes minutes for a million files.
        start = len(self.root) if all(path.startswith(self.root) for path in self.images) else 0
        return [path[start:].replace(os.sep, "/").lstrip("/") for path in self.images]

    @cached_property
    def record(self) -> ImagesRecord:
        """The images as they were when this was first asked.

        Raises:
            DataError: a file is missing.
        """
        labels = [str(label) for label in self.labels.tolist()]
        if isinstance(self.images, np.ndarray):
            digests = [hashlib.sha256(np.ascontiguousarray(image).data).hexdigest() for image in self.images]
            return make_record(self.names, labels, [(digest, "") for digest in digests])
        return make_record(self.names, labels, files_state(self.images))


class ListedImages(Dataset):
    """A data set for :class:`~mmssl_dynamic.datasets.batches.ImageBatches`.

    Args:
        source: The images.
        pipeline: Transforms after loading, the last one ``PackInputs``.

    Attributes:
        pipeline: The transforms, built.
    """

    def __init__(self, source: LabelledImages, pipeline: Sequence[dict]) -> None:
        from mmpretrain.registry import TRANSFORMS
        from mmpretrain.utils import register_all_modules

        register_all_modules(init_default_scope=False)
        self.source = source
        self._load = LoadImage()
        with TRANSFORMS.switch_scope_and_registry("mmpretrain") as registry:
            self.pipeline = Compose([registry.build(step) for step in pipeline])

    def images_record(self) -> ImagesRecord:
        """For :func:`~mmssl_dynamic.datasets.fingerprint.images_record`."""
        return self.source.record

    def __len__(self) -> int:
        return len(self.source)

    def __getitem__(self, index: int) -> Any:
        images = self.source.images
        if not isinstance(images, np.ndarray):
            return self.pipeline(self._load({"img_path": images[index]}))
        pixels = np.ascontiguousarray(images[index][..., ::-1])  # RGB to BGR, which transforms expect
        return self.pipeline({"img": pixels, "img_shape": pixels.shape[:2], "ori_shape": pixels.shape[:2]})
