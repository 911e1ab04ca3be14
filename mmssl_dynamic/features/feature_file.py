"""Feature files: ``F.npy`` (the features F of SDR Sec. 4.2, one row per image) and its sidecar ``F.json``.

The array is only ever memory-mapped and read in pieces, since at ImageNet scale (1.28 M x 2048) it has 10 GiB.

N images, D feature dimension, B batch, K clusters.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mmssl_dynamic.arrays import ArrayKind, map_array
from mmssl_dynamic.errors import ArtifactError, first_line
from mmssl_dynamic.file_checks import existing_file
from mmssl_dynamic.fileio import read_json
from mmssl_dynamic.image_names import ImageNames
from mmssl_dynamic.records import Count, RecordError, read_record
from mmssl_dynamic.rows import Rows, chunks
from mmssl_dynamic.writing import atomic_path, write_json

SCHEMA_VERSION = 2

_ANEW = "extract the features anew with tools/extract_features.py"


# Of a sidecar, in bytes: a path has 4096 at most, and its letters up to three times as many in JSON.
_MOST_PER_ROW = 16 * 2**10
_PER_IMAGE = ("names", "labels")


@dataclass(frozen=True)
class _Sidecar:
    """What is read of ``F.json``; names are one text, one in each line."""

    names: str
    num_rows: Count
    feature_dim: Count
    complete: bool = False
    classes: list[str] | None = None
    weights_fingerprint: str | None = None
    image_root: str | None = None


def names_text(names: Iterable[str]) -> str:
    """Names as ``F.json`` holds them.

    Raises:
        ArtifactError: a name holds a line break.
    """
    return ImageNames.of(names).lines().decode("utf-8", "surrogateescape")


def features_sidecar(path: str | os.PathLike[str]) -> Path:
    """``F.npy -> F.json``."""
    return Path(path).with_suffix(".json")


def read_sidecar(path: str | os.PathLike[str], num_rows: int) -> Any:
    """What ``F.json`` beside ``F.npy`` holds, unchecked.

    Args:
        path: ``F.npy``.
        num_rows: N, which bounds how large the file may be.

    Raises:
        ArtifactError: it is missing, too large, or not JSON.
    """
    return read_json(features_sidecar(path), "features sidecar", 2**20 + _MOST_PER_ROW * num_rows)


@dataclass(frozen=True, eq=False)
class Features:
    """Features of a data set with the names of its images.

    Args:
        rows: (N, D) float32, usually memory-mapped.
        names: N image names, as in :class:`~mmssl_dynamic.clusters.Clusters`; held as
            :class:`~mmssl_dynamic.image_names.ImageNames`.
        labels: (N,) class of every image where the data set has labels; only ever used to judge a clustering.
        classes: names of the classes where known.
        weights_fingerprint: of the backbone that made them (``fileio.weights_fingerprint``).
        image_root: folder that the names are relative to, in files or packed.
        meta: what else the sidecar holds.
        source: the file, for messages.
    """

    rows: Rows = field(repr=False)
    names: Sequence[str] = field(repr=False)
    labels: NDArray[np.int64] | None = field(default=None, repr=False)
    classes: list[str] | None = field(default=None, repr=False)
    weights_fingerprint: str = ""
    image_root: str | None = None
    meta: dict[str, Any] = field(default_factory=dict, repr=False)
    source: str = "the features"

    def __post_init__(self) -> None:
        object.__setattr__(self, "names", ImageNames.of(self.names))

    @property
    def num_images(self) -> int:
        """N."""
        return len(self.rows)

    @property
    def dim(self) -> int:
        """D."""
        return self.rows.shape[1]

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Features:
        """Memory-map ``F.npy`` and read its sidecar. Values are checked where they are first read.

        Raises:
            ArtifactError: a file is missing, unfinished or broken, or the two contradict each other.
        """
        file = Path(path)
        if not file.is_file():
            partial = partial_path(file)
            if partial.is_file():
                raise ArtifactError(
                    f"features file {file} is not finished ({partial.name} exists); run tools/extract_features.py with "
                    "the same arguments to resume it."
                )
            raise ArtifactError(f"features file {file} does not exist; write it with tools/extract_features.py.")
        existing_file(file, "features file")
        try:
            rows = map_array(file, ArrayKind("f", 2))
        except Exception as error:  # damaged headers raise nearly anything
            raise ArtifactError(
                f"features file {file} is broken or no .npy file of float32 rows, one per image ({first_line(error)}); "
                f"{_ANEW}."
            ) from error
        if rows.dtype != np.float32 or not rows.size:
            raise ArtifactError(
                f"features file {file} holds {rows.dtype} of shape {rows.shape}, not float32 rows, one per image; "
                f"{_ANEW}."
            )
        sidecar = features_sidecar(file)
        if not sidecar.is_file():
            raise ArtifactError(
                f"features file {file} has no sidecar {sidecar.name} with the image names; move the two together or "
                f"{_ANEW}."
            )
        return cls._with_sidecar(file, rows, read_sidecar(file, len(rows)))

    @classmethod
    def _with_sidecar(cls, file: Path, rows: Rows, data: Any) -> Features:
        name = features_sidecar(file)
        version = data.get("schema_version") if isinstance(data, dict) else None
        if isinstance(data, dict) and version != SCHEMA_VERSION:
            raise ArtifactError(f"features sidecar {name} has format version {version}, not {SCHEMA_VERSION}; {_ANEW}.")
        try:
            sidecar, labels = read_record(_Sidecar, data), _labels(data.get("labels"))
        except RecordError as error:
            raise ArtifactError(f"features sidecar {name} is broken: {error}; {_ANEW}.") from error
        if not sidecar.complete:
            raise ArtifactError(f"features file {file} is not complete according to {name.name}; {_ANEW}.")
        told = (sidecar.num_rows, sidecar.feature_dim)
        names = ImageNames.from_lines(sidecar.names.encode("utf-8", "surrogateescape"))
        counts = {len(names), *([len(labels)] if labels is not None else [])}
        if told != rows.shape or counts != {len(rows)}:
            raise ArtifactError(
                f"features file {file} has shape {rows.shape} but its sidecar {name.name} tells of {told} with "
                f"{len(names)} names; the two belong to different runs: {_ANEW}."
            )
        return cls(
            rows=rows,
            names=names,
            labels=labels,
            classes=sidecar.classes,
            weights_fingerprint=sidecar.weights_fingerprint or "",
            image_root=sidecar.image_root,
            meta={key: value for key, value in data.items() if key not in _PER_IMAGE},
            source=f"features file {file}",
        )

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write features that are at hand as an array, for instance those of another model: ``F.npy`` and ``F.json``.

        Raises:
            ArtifactError: names or labels are not one per row.
        """
        if len(self.names) != self.num_images or (self.labels is not None and len(self.labels) != self.num_images):
            raise ArtifactError(f"{self.source}: there must be one name and label for each of {self.num_images} rows.")
        with atomic_path(path, self.rows.nbytes) as temporary, temporary.open("wb") as stream:
            np.save(stream, np.ascontiguousarray(self.rows, dtype=np.float32), allow_pickle=False)
        write_json(features_sidecar(path), self.sidecar())

    def sidecar(self) -> dict[str, Any]:
        """What ``F.json`` holds."""
        return {
            "schema_version": SCHEMA_VERSION,
            "complete": True,
            "num_rows": self.num_images,
            "feature_dim": self.dim,
            "weights_fingerprint": self.weights_fingerprint,
            "image_root": self.image_root,
            **{key: value for key, value in self.meta.items() if key != "classes" and key not in _PER_IMAGE},
            "classes": self.classes,
            "labels": None if self.labels is None else self.labels.tolist(),
            "names": names_text(self.names),
        }


def _labels(data: Any) -> NDArray[np.int64] | None:
    """Classes of all images, checked together: one by one they take seconds a million.

    Raises:
        RecordError: they are no list of classes.
    """
    if data is None:
        return None
    try:
        labels = np.asarray(data)
    except ValueError:  # lists of different lengths
        labels = np.empty(0)
    if not isinstance(data, list) or labels.dtype.kind != "i" or labels.ndim != 1 or bool((labels >> 31).any()):
        raise RecordError("'labels' is no list of classes, whole numbers from 0")
    return labels.astype(np.int64)


def partial_path(path: str | os.PathLike[str]) -> Path:
    """``F.npy -> F.npy.partial``, the unfinished file."""
    file = Path(path)
    return file.with_name(file.name + ".partial")


def check_values(features: Features, progress: Callable[[int], object] = lambda rows: None) -> NDArray[np.float32]:
    """One pass over all rows: (D,) mean feature; ``progress`` is told the rows read.

    Raises:
        ArtifactError: a row holds NaN or infinity, or all rows are the same (a collapsed model).
    """
    total = np.zeros(features.dim, dtype=np.float64)
    first = np.asarray(features.rows[0])
    differs = False
    for part in chunks(features.num_images, features.dim):
        rows = np.asarray(features.rows[part])
        sums = rows.sum(axis=0, dtype=np.float64)
        if not np.isfinite(sums).all():
            bad = part.start + int(np.flatnonzero(~np.isfinite(rows).all(axis=1))[0])
            raise ArtifactError(
                f"{features.source}: the features of '{features.names[bad]}' (row {bad}) hold NaN or infinity; check "
                f"the checkpoint and {_ANEW}."
            )
        differs = differs or bool((rows != first).any())
        total += sums
        progress(len(rows))
    if not differs:
        raise ArtifactError(
            f"{features.source}: all {features.num_images} rows are the same, so there is nothing to cluster; the "
            "model that made them has collapsed or the images are one image."
        )
    return (total / features.num_images).astype(np.float32)
