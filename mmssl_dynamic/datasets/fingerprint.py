"""What a data set holds and does, as fingerprints, by which ``mmssl_dynamic.result_cache`` tells results apart.

N images.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from mmssl_dynamic.datasets.image_folder import list_images
from mmssl_dynamic.datasets.names import relative_names
from mmssl_dynamic.datasets.packed_folders import open_packed
from mmssl_dynamic.datasets.packed_images import Place, places_state
from mmssl_dynamic.errors import ConfigError
from mmssl_dynamic.fingerprints import described, files_state, fingerprint, sha256

# Of a sample: where it is, and what says nothing about it.
_PLACE = frozenset({"img_path", "img", "sample_idx", "shard"})
_LABELLED = _PLACE | {"gt_label"}


@dataclass(frozen=True)
class ImagesRecord:
    """Images and labels of a data set, wherever it lies.

    Attributes:
        images: N.
        listing: Fingerprint of names, labels and sizes (of images in memory, of their pixels); a copy has the same.
        state: Fingerprint of the same and of the times of last change: a result is one of these images as long as it
            stays the same.
    """

    images: int
    listing: str
    state: str

    def record(self) -> dict[str, Any]:
        """Number and listing, for results: they are the same for a copy of the data set."""
        return {"images": self.images, "fingerprint": self.listing}


def images_record(dataset: Any, indices: Sequence[int] | None = None) -> ImagesRecord:
    """Look at every image of a data set once, about 5 s for a million.

    Args:
        dataset: Any data set of mmpretrain or mmdet, fully initialised.
        indices: Only these images.

    Raises:
        DataError: an image file is missing.
        ConfigError: a sample holds something that cannot be compared.
    """
    positions = range(len(dataset)) if indices is None else indices
    paths: list[str] = []
    labels: list[str] = []
    pixels: list[tuple[str, str]] = []  # of images in memory, such as CIFAR's
    places: list[Place] = []  # of images that are packed
    for position in positions:
        sample = dataset.get_data_info(position)
        labels.append(_label(sample))
        path = sample.get("img_path")
        if "shard" in sample:
            places.append(sample["shard"])
        if path is not None:
            paths.append(path)
        else:
            pixels.append((_pixels(sample), ""))
    if pixels:
        return make_record([f"index:{i:06d}" for i in positions], labels, pixels + files_state(paths))
    states = places_state(places) if places else files_state(paths)
    return make_record(relative_names(dataset, paths), labels, states)


def folder_record(root: str | os.PathLike[str]) -> ImagesRecord:
    """The record of all images below a folder, in files or packed, without labels."""
    packed = open_packed(root)
    if packed is not None:
        places = [packed.place(position) for position in range(len(packed))]
        return make_record(list(packed.image_names), [""] * len(places), places_state(places))
    names = list_images(root)
    return make_record(names, [""] * len(names), files_state([os.path.join(root, name) for name in names]))


def make_record(names: Sequence[str], labels: Sequence[str], states: Sequence[tuple[str, str]]) -> ImagesRecord:
    """The record of images out of texts.

    Args:
        names: Of all images.
        labels: Of all images.
        states: Size (or a fingerprint of the pixels) and time of last change of each, see
            :func:`~mmssl_dynamic.fingerprints.files_state`.
    """
    listing = sha256("\n".join(f"{name}\0{label}\0{size}" for name, label, (size, _) in zip(names, labels, states)))
    return ImagesRecord(len(names), listing, sha256("\n".join([listing, *(time for _, time in states)])))


def _label(sample: dict[str, Any]) -> str:
    """Everything that a sample says beside the image."""
    label = sample.get("gt_label")
    if type(label) is int and sample.keys() <= _LABELLED:
        return str(label)
    rest = {key: value for key, value in sample.items() if key not in _PLACE}
    return json.dumps(rest, sort_keys=True, default=lambda value: described(value, "a data set"))


def _pixels(sample: dict[str, Any]) -> str:
    image = sample.get("img")
    if isinstance(image, np.ndarray):
        return hashlib.sha256(np.ascontiguousarray(image).data).hexdigest()
    return fingerprint({key: value for key, value in sample.items() if key != "sample_idx"}, "a data set")


def pipeline_fingerprint(dataset: Any) -> str:
    """Fingerprint of what a data set does to an image, with every parameter of every transform.

    Raises:
        ConfigError: a transform has settings that cannot be compared.
    """
    # A wrapper may show the pipeline of what it wraps as its own.
    found = list({id(pipeline): pipeline for pipeline in _pipelines(dataset)}.values())
    if not found:
        raise ConfigError(
            f"a data set of type {type(dataset).__name__} has no 'pipeline', so nobody could tell whether kept results "
            "still fit what it does to images; give it one."
        )
    return fingerprint(found, "the pipeline of a data set")


def _pipelines(dataset: Any) -> Iterator[Any]:
    """Its own, and those of the data sets that it is made of."""
    pipeline = getattr(dataset, "pipeline", None)
    if pipeline is not None:
        yield pipeline
    for part in getattr(dataset, "datasets", None) or [getattr(dataset, "dataset", None)]:
        if part is not None:
            yield from _pipelines(part)
