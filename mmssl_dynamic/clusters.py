"""The artifact ``clusters.npz``: which image of a data set belongs to which cluster D_i (SDR Sec. 4.2).

N images, K clusters, D feature dimension.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mmssl_dynamic.arrays import ArrayKind, read_arrays
from mmssl_dynamic.errors import ArtifactError, first_line
from mmssl_dynamic.file_checks import existing_file
from mmssl_dynamic.fingerprints import fingerprint
from mmssl_dynamic.image_names import ImageNames
from mmssl_dynamic.rows import normalise
from mmssl_dynamic.writing import to_json, write_stream

SCHEMA_VERSION = 1

_MOST_CLUSTERS = 2**20
_ARRAYS = {
    "schema_version": ArrayKind("iu", 0),
    "names": ArrayKind("u", 1),
    "assignment": ArrayKind("iu", 1),
    "num_clusters": ArrayKind("iu", 0),
    "method": ArrayKind("u", 1),
    "meta": ArrayKind("u", 1),
    "centroids": ArrayKind("f", 2),
    "mean": ArrayKind("f", 1),
}
_MAKE_ANEW = "write it anew with tools/cluster.py"


@dataclass(frozen=True, eq=False)
class Clusters:
    """A disjoint split of a data set into D_0, ..., D_{K-1}; cluster i belongs to path i of the super-network.

    Args:
        names: one name per image, N in all; ``datasets.sample_names`` makes them. Images are matched by name, so a
            clusters file stays right when files are listed in another order. Held as
            :class:`~mmssl_dynamic.image_names.ImageNames`.
        assignment: (N,) cluster of every image, 0 to K - 1.
        num_clusters: K; a cluster may be empty.
        method: what made the split, such as ``'sinkhorn'``.
        centroids: (K, D) L2-normalised prototypes, or None for a random split.
        mean: (D,) feature that is subtracted before features are L2-normalised, or None.
        meta: settings and figures of the clustering; anything JSON can hold.
        source: the file it was read from, for messages.

    Raises:
        ArtifactError: the parts contradict each other or a name appears twice.
    """

    names: Sequence[str] = field(repr=False)
    assignment: NDArray[np.int32] = field(repr=False)
    num_clusters: int
    method: str
    centroids: NDArray[np.float32] | None = field(default=None, repr=False)
    mean: NDArray[np.float32] | None = field(default=None, repr=False)
    meta: dict[str, Any] = field(default_factory=dict, repr=False)
    source: str = "the clusters"

    def __post_init__(self) -> None:
        assignment = np.asarray(self.assignment)
        if assignment.ndim != 1 or assignment.dtype.kind not in "iu":
            raise ArtifactError(f"{self.source}: the assignment must be one whole number per image; {_MAKE_ANEW}.")
        if len(self.names) != len(assignment):
            raise ArtifactError(
                f"{self.source}: {len(self.names)} image names but {len(assignment)} assignments; {_MAKE_ANEW}."
            )
        if not 0 < self.num_clusters <= _MOST_CLUSTERS:
            raise ArtifactError(f"{self.source}: {self.num_clusters} clusters cannot be; {_MAKE_ANEW}.")
        if not len(assignment) or assignment.min() < 0 or assignment.max() >= self.num_clusters:
            raise ArtifactError(
                f"{self.source}: no images, or clusters outside 0..{self.num_clusters - 1}; {_MAKE_ANEW}."
            )
        names = ImageNames.of(self.names)
        if (twice := names.twice()) is not None:
            raise ArtifactError(
                f"{self.source}: image '{twice}' appears twice; every image of the data set needs a name of its own."
            )
        object.__setattr__(self, "names", names)
        object.__setattr__(self, "assignment", assignment.astype(np.int32))
        if self.centroids is not None:
            centroids = np.asarray(self.centroids, dtype=np.float32)
            if centroids.ndim != 2 or len(centroids) != self.num_clusters:
                raise ArtifactError(
                    f"{self.source}: {self.num_clusters} clusters, centroids of shape {centroids.shape}; {_MAKE_ANEW}."
                )
            if not np.isfinite(centroids).all():
                raise ArtifactError(f"{self.source}: the centroids hold NaN or infinity; {_MAKE_ANEW}.")
            object.__setattr__(self, "centroids", centroids)
        if self.mean is not None:
            mean = np.asarray(self.mean, dtype=np.float32)
            if self.centroids is None or mean.shape != self.centroids.shape[1:] or not np.isfinite(mean).all():
                raise ArtifactError(f"{self.source}: a mean of shape {mean.shape} fits no centroids; {_MAKE_ANEW}.")
            object.__setattr__(self, "mean", mean)

    @property
    def fingerprint(self) -> str:
        """SHA-256 of the split: which image is in which cluster, and the prototypes."""
        arrays = {"assignment": self.assignment, "centroids": self.centroids, "mean": self.mean}
        return fingerprint({"names": list(self.names), "num_clusters": self.num_clusters, **arrays}, self.source)

    def __len__(self) -> int:
        """N."""
        return len(self.names)

    @property
    def sizes(self) -> NDArray[np.int64]:
        """(K,) images per cluster."""
        return np.bincount(self.assignment, minlength=self.num_clusters)

    @property
    def members_fingerprint(self) -> str:
        """SHA-256 over the names and clusters of all images, in whatever order they are listed; prototypes left out."""
        digest = hashlib.sha256()
        for name, cluster in sorted(zip(self.names, self.assignment.tolist())):
            digest.update(f"{name} {cluster}\n".encode("utf-8", "surrogateescape"))
        return digest.hexdigest()

    def members(self, index: int) -> NDArray[np.int64]:
        """Positions in ``names`` of the images of cluster ``index``, ascending."""
        if not 0 <= index < self.num_clusters:
            raise ArtifactError(
                f"{self.source} has no cluster {index}, only 0..{self.num_clusters - 1}; check that the number of "
                "clusters is the number of paths."
            )
        return np.flatnonzero(self.assignment == index)

    def scores(self, features: NDArray[np.float32]) -> NDArray[np.float32]:
        """S = F^T C of any images, downstream ones too: features (n, D) -> (n, K), the cosine to each centroid.

        Raises:
            ArtifactError: a random split has no centroids, or the features have another dimension.
        """
        if self.centroids is None:
            raise ArtifactError(f"{self.source} is a {self.method} split without centroids; cluster with sinkhorn.")
        if features.ndim != 2 or features.shape[1] != self.centroids.shape[1]:
            raise ArtifactError(
                f"{self.source} was made from features of {self.centroids.shape[1]} dimensions, not of shape "
                f"{features.shape}; use the backbone that the clusters were made with."
            )
        return normalise(features, self.mean) @ self.centroids.T

    def align(self, names: Sequence[str]) -> NDArray[np.int32]:
        """(len(names),) clusters in the order of ``names``, matched by name.

        The file may hold more images than ``names``: training on a part of the data that was clustered is allowed.

        Raises:
            ArtifactError: some images are not in the file.
        """
        places = ImageNames.of(self.names).find(names)
        missing = np.flatnonzero(places < 0)
        if len(missing):
            raise ArtifactError(
                f"{self.source} belongs to another data set: {len(missing)} of {len(names)} images are not in it, such "
                f"as '{names[missing[0]]}' (it holds '{self.names[0]}'); extract features of this data set and cluster "
                "them."
            )
        return self.assignment[places]

    def check_paths(self, num_paths: int) -> None:
        """Refuse clusters that do not match the super-network one to one.

        Raises:
            ArtifactError: K is not the number of paths.
        """
        if self.num_clusters != num_paths:
            raise ArtifactError(
                f"{self.source} has {self.num_clusters} clusters but the network has {num_paths} paths; cluster anew "
                f"with --num-clusters {num_paths} or set stage_groups so that its product is {self.num_clusters}."
            )

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write ``clusters.npz`` atomically; nothing in it is pickled.

        Raises:
            ArtifactError: a name holds a line break, which separates names in the file.
        """
        arrays: dict[str, NDArray[Any]] = {
            "schema_version": np.asarray(SCHEMA_VERSION),
            "names": np.frombuffer(ImageNames.of(self.names).lines(), dtype=np.uint8),
            "assignment": self.assignment,
            "num_clusters": np.asarray(self.num_clusters),
            "method": np.frombuffer(self.method.encode(), dtype=np.uint8),
            "meta": np.frombuffer(to_json(self.meta).encode(), dtype=np.uint8),
        }
        if self.centroids is not None:
            arrays["centroids"] = self.centroids
        if self.mean is not None:
            arrays["mean"] = self.mean
        write_stream(path, lambda stream: np.savez_compressed(stream, **arrays))  # type: ignore[arg-type]

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Clusters:
        """Read ``clusters.npz``.

        Raises:
            ArtifactError: the file is missing, broken, or of another format version.
        """
        file = existing_file(path, "clusters file", "write it with tools/cluster.py")
        try:
            arrays = read_arrays(file, _ARRAYS)
            version = int(arrays["schema_version"])
            if version == SCHEMA_VERSION:
                meta = json.loads(arrays["meta"].tobytes())
                if not isinstance(meta, dict):
                    raise ValueError("'meta' is no record")
                return cls(
                    names=ImageNames.from_lines(arrays["names"].tobytes()),
                    assignment=arrays["assignment"],
                    num_clusters=int(arrays["num_clusters"]),
                    method=arrays["method"].tobytes().decode(),
                    centroids=arrays.get("centroids"),
                    mean=arrays.get("mean"),
                    meta=meta,
                    source=f"clusters file {file}",
                )
        except ArtifactError:
            raise
        except Exception as e:  # damaged archives and headers raise nearly anything
            raise ArtifactError(
                f"clusters file {file} is broken or no clusters file ({first_line(e)}); {_MAKE_ANEW}."
            ) from e
        raise ArtifactError(f"clusters file {file} has format version {version}, not {SCHEMA_VERSION}; {_MAKE_ANEW}.")
