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

from mmssl_dynamic.datasets.load_image import LoadImage, printable
from mmssl_dynamic.errors import DataError


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
    def images_fingerprint(self) -> str:
        """SHA-256 of the pixels, or of the names and sizes of the files.

        Raises:
            DataError: a file is missing.
        """
        digest = hashlib.sha256()
        if isinstance(self.images, np.ndarray):
            digest.update(np.ascontiguousarray(self.images).data)
            return digest.hexdigest()
        for path, name in zip(self.images, self.names):
            try:
                size = os.stat(path).st_size
            except OSError as error:
                raise DataError(
                    f"image {printable(path)} is listed but not there; unpack the data set anew."
                ) from error
            digest.update(f"{name} {size}\n".encode("utf-8", "surrogateescape"))
        return digest.hexdigest()

    def record(self) -> dict[str, Any]:
        """Number of images, and a fingerprint of these and their labels."""
        labels = np.ascontiguousarray(self.labels, dtype=np.int64)
        digest = hashlib.sha256(self.images_fingerprint.encode() + labels.tobytes()).hexdigest()
        return {"images": len(self), "fingerprint": digest}


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

    def __len__(self) -> int:
        return len(self.source)

    def __getitem__(self, index: int) -> Any:
        images = self.source.images
        if not isinstance(images, np.ndarray):
            return self.pipeline(self._load({"img_path": images[index]}))
        pixels = np.ascontiguousarray(images[index][..., ::-1])  # RGB to BGR, which transforms expect
        return self.pipeline({"img": pixels, "img_shape": pixels.shape[:2], "ori_shape": pixels.shape[:2]})
