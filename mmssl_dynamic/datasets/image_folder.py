"""Folders of images: any folder as a data set."""

from __future__ import annotations

import os
from collections.abc import Sequence
from copy import copy
from typing import Any, NoReturn, cast

import numpy as np
from mmpretrain.datasets import BaseDataset
from numpy.typing import NDArray

from mmssl_dynamic.datasets.image_listing import IMAGE_EXTENSIONS, list_images
from mmssl_dynamic.datasets.load_image import printable
from mmssl_dynamic.datasets.packed_folders import open_packed
from mmssl_dynamic.datasets.packed_images import PackedImages
from mmssl_dynamic.errors import ConfigError, DataError
from mmssl_dynamic.image_names import ImageNames
from mmssl_dynamic.registry import DATASETS


@DATASETS.register_module()
class ImageFolder(BaseDataset):
    """All images below a folder, flat or nested, with or without labels.

    Order and labels depend on names only: images are sorted by their relative path, classes by the name of the
    first-level folder. Each sample has ``img_path`` and, with labels, ``gt_label``.

    A folder of tar files (webdataset's shards), an LMDB whose keys are paths, or a Hugging Face data set (parquet
    files, or what ``save_to_disk`` has written) stands for the folder that it was made of, see
    :mod:`~mmssl_dynamic.datasets.shards`, :mod:`~mmssl_dynamic.datasets.lmdb_images` and
    :mod:`~mmssl_dynamic.datasets.table_images`: names, order and labels are the same, and samples have ``shard``, too,
    which reads them.

    Args:
        data_root (str): The folder. Defaults to ''.
        data_prefix (str | dict): A folder below ``data_root``. Defaults to ''.
        with_label (bool | str): True: the first-level folder is the class. False: no labels. 'auto': labels if there
            are two or more first-level folders with images and no image beside them. Defaults to 'auto'.
        extensions (Sequence[str]): Endings of image files, in any case; rows of tables need none. Defaults to
            :data:`IMAGE_EXTENSIONS`.
        **kwargs: ``pipeline``, ``classes`` (then labels are positions in it), ``metainfo``, ``indices``, ``lazy_init``
            and the other arguments of mmpretrain's BaseDataset.

    Attributes:
        labelled (bool): Whether the samples have labels; known once the data set is initialised.

    Raises:
        ConfigError: no folder is given, or ``with_label`` is none of the three values.
        DataError: see :func:`~mmssl_dynamic.datasets.image_listing.list_images`; an image without a class folder with
            ``with_label=True``; a class folder that ``classes`` does not name.
    """

    _fully_initialized: bool

    def __init__(
        self,
        data_root: str = "",
        data_prefix: str | dict[str, str] = "",
        with_label: bool | str = "auto",
        extensions: Sequence[str] = IMAGE_EXTENSIONS,
        **kwargs: Any,
    ) -> None:
        if not data_root and not data_prefix:
            raise ConfigError("ImageFolder needs data_root, the folder of images; set it in the config.")
        if with_label not in (True, False, "auto"):
            raise ConfigError(f"ImageFolder(with_label={with_label!r}) must be True, False or 'auto'.")
        if kwargs.pop("ann_file", ""):
            raise ConfigError("ImageFolder has no ann_file; use mmpretrain's CustomDataset for lists of images.")
        self.with_label = with_label
        self.labelled = False
        self._shards: PackedImages | None = None
        self._positions = self._labels_of = np.empty(0, dtype=np.int64)
        self.extensions = tuple(extensions)
        super().__init__(
            ann_file="", data_root=os.path.expanduser(data_root), data_prefix=data_prefix or {"img_path": ""}, **kwargs
        )

    @property
    def image_root(self) -> str:
        """The folder that relative names of images start from, without a slash at its end."""
        return self.img_prefix.rstrip("/") or "/"

    @property
    def image_names(self) -> ImageNames | None:
        """Names of images that are packed; ``None`` for a folder of files."""
        self.full_init()
        if self._shards is None:
            return None
        names = self._shards.image_names
        return names if self._indices is None else names.take(self._positions.tolist())

    def full_init(self) -> None:
        """List the images; where they are packed, open what they are packed in."""
        index = None if self._fully_initialized else open_packed(self.image_root, self.extensions)
        if index is None:
            super().full_init()
            return
        folders, which = index.folders
        loose = np.flatnonzero(which < 0)
        self.labelled = bool(self.with_label) if self.with_label != "auto" else not len(loose) and len(folders) > 1
        if self.labelled and len(loose):
            self._refuse_loose(index.name(int(loose[0])))
        if self.labelled:
            labels = self._labels(folders)
            self._labels_of = np.array([labels[folder] for folder in folders], dtype=np.int64)[which]
        self._positions = np.arange(len(index), dtype=np.int64)
        if self._indices is not None:
            self._positions = _subset(self._positions, self._indices)
        self._shards, self._fully_initialized = index, True

    def get_subset_(self, indices: Sequence[int] | int) -> None:
        """Keep some of the images, in place, as mmengine's."""
        self.full_init()
        if self._shards is None:
            super().get_subset_(indices)
        else:
            self._positions, self._indices = _subset(self._positions, indices), indices

    def get_subset(self, indices: Sequence[int] | int) -> ImageFolder:
        """Another data set with some of the images, as mmengine's."""
        self.full_init()
        if self._shards is None:
            return cast(ImageFolder, super().get_subset(indices))
        subset = copy(self)  # what the images are packed in is read alone, and shared
        subset.get_subset_(indices)
        return subset

    def __len__(self) -> int:
        self.full_init()
        return super().__len__() if self._shards is None else len(self._positions)

    def get_data_info(self, idx: int) -> dict[str, Any]:
        """What is known of an image."""
        self.full_init()
        if self._shards is None:
            return super().get_data_info(idx)
        position = int(self._positions[idx])
        path = f"{self.image_root}/{self._shards.name(position)}"
        found = {"img_path": path, "shard": self._shards.place(position)}
        if self.labelled:
            found["gt_label"] = int(self._labels_of[position])
        return {**found, "sample_idx": idx if idx >= 0 else len(self) + idx}

    def load_data_list(self) -> list[dict[str, Any]]:
        """Image paths and, with labels, class indices."""
        root = self.image_root
        images = list_images(root, self.extensions)
        loose = next((path for path in images if "/" not in path), None)
        folders = sorted({path.split("/", 1)[0] for path in images if "/" in path})
        self.labelled = bool(self.with_label) if self.with_label != "auto" else loose is None and len(folders) > 1
        if not self.labelled:
            return [{"img_path": f"{root}/{path}"} for path in images]
        if loose is not None:
            self._refuse_loose(loose)
        labels = self._labels(folders)
        return [{"img_path": f"{root}/{path}", "gt_label": labels[path.split("/", 1)[0]]} for path in images]

    def _refuse_loose(self, name: str) -> NoReturn:
        raise DataError(
            f"image {printable(f'{self.image_root}/{name}')} lies outside the class folders; move it into one, or set "
            "with_label=False."
        )

    def _labels(self, folders: Sequence[str]) -> dict[str, int]:
        """Class index by folder; sets the classes unless the config gave them."""
        if self.CLASSES is None:
            self._metainfo["classes"] = tuple(folders)
        labels = self.class_to_idx
        unknown = next((folder for folder in folders if folder not in labels), None)
        if unknown is not None:
            raise DataError(
                f"class folder {printable(f'{self.image_root}/{unknown}')} is not among the {len(labels)} classes of "
                "the config; rename it or correct classes."
            )
        return labels


def _subset(positions: NDArray[np.int64], indices: Sequence[int] | int) -> NDArray[np.int64]:
    """Positions that ``indices`` leave, as mmengine understands them: the first or last so many, or these."""
    if isinstance(indices, int):
        return positions[:indices] if indices >= 0 else positions[indices:]
    return positions[np.asarray(indices, dtype=np.int64)]
