"""Images by a list of files, or as pixels in memory, with labels: what readers of known data sets name as a part.

N images, H W height and width, K classes.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from mmpretrain.datasets import BaseDataset
from numpy.typing import NDArray

from mmssl_dynamic.registry import DATASETS


@DATASETS.register_module()
class ListedImages(BaseDataset):
    """Images and their labels, given one by one.

    Args:
        images: N files, or RGB pixels (N, H, W, 3) uint8. Pixels are handed on in the order BGR, as files are, and no
            transform loads them.
        labels: Class indices (N,), or whether each image shows each class, (N, K) bool; of the latter, a sample has the
            list of those that it shows.
        data_root: Folder that names of files are relative to.
        pipeline: Transforms, loading first.
        **kwargs: ``classes``, ``metainfo`` and the other arguments of mmpretrain's BaseDataset.
    """

    def __init__(
        self,
        images: Sequence[str] | NDArray[np.uint8],
        labels: NDArray[Any],
        data_root: str = "",
        pipeline: Sequence[Any] = (),
        **kwargs: Any,
    ) -> None:
        self.images, self.labels = images, np.asarray(labels)
        if self.labels.ndim == 2 and kwargs.get("classes") is None:
            kwargs["classes"] = [str(k) for k in range(self.labels.shape[1])]
        if isinstance(images, np.ndarray):
            pipeline = [step for step in pipeline if not _loads(step)]
        super().__init__(ann_file="", data_root=data_root, pipeline=pipeline, **kwargs)

    @property
    def image_root(self) -> str:
        """The folder that names of images are relative to."""
        return self.data_root

    def load_data_list(self) -> list[dict[str, Any]]:
        """File or pixels, and label."""
        labels = self.labels.tolist()
        if self.labels.ndim == 2:
            labels = [np.flatnonzero(row).tolist() for row in self.labels]
        if not isinstance(self.images, np.ndarray):
            return [{"img_path": str(file), "gt_label": label} for file, label in zip(self.images, labels)]
        size = self.images.shape[1:3]
        return [
            {"img": image[..., ::-1], "img_shape": size, "ori_shape": size, "gt_label": label}
            for image, label in zip(self.images, labels)
        ]

    def prepare_data(self, idx: int) -> Any:
        """A sample, after the pipeline."""
        sample = self.get_data_info(idx)
        if "img" in sample:
            sample["img"] = np.ascontiguousarray(sample["img"])
        return self.pipeline(sample)


def _loads(step: Any) -> bool:
    """Whether a transform reads an image file."""
    kind = step["type"] if isinstance(step, dict) else type(step)
    name = kind if isinstance(kind, str) else kind.__name__
    return name.rsplit(".", 1)[-1] in ("LoadImage", "LoadImageFromFile")
