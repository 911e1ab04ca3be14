"""Spherical k-means with faiss, the plain alternative to Sinkhorn prototypes.

N images, K clusters, D feature dimension.
"""

from __future__ import annotations

import faiss
import numpy as np
from numpy.typing import NDArray

from mmssl_dynamic.clustering.seeding import initial_centroids
from mmssl_dynamic.rows import Rows, normalise, sample_rows

# What faiss itself samples at most; more points hardly move the centroids.
POINTS_PER_CENTROID = 256


def kmeans_centroids(
    rows: Rows,
    num_clusters: int,
    iterations: int = 25,
    restarts: int = 1,
    seed: int = 0,
    mean: NDArray[np.float32] | None = None,
    max_points: int | None = None,
) -> NDArray[np.float32]:
    """Centroids of spherical k-means on L2-normalised features.

    Args:
        rows: F, (N, D), in memory or memory-mapped; a random sample of it is held in memory.
        num_clusters: K.
        iterations: of Lloyd's algorithm.
        restarts: runs from other initial centroids, of which the best counts.
        seed: of the sample and of the initial centroids.
        mean: (D,) subtracted before the L2 normalisation, or None.
        max_points: size of the sample. Defaults to 256 K.

    Returns:
        (K, D) centroids at unit L2 norm.
    """
    sample = sample_rows(rows, max_points or POINTS_PER_CENTROID * num_clusters, np.random.default_rng(seed))
    sample = np.ascontiguousarray(normalise(sample, mean))
    best_score, best = -np.inf, np.empty((0, sample.shape[1]), dtype=np.float32)
    for restart in range(restarts):
        kmeans = faiss.Kmeans(
            sample.shape[1],
            num_clusters,
            niter=iterations,
            seed=seed,
            spherical=True,
            gpu=bool(getattr(faiss, "get_num_gpus", int)()),
            # The sample is drawn above; faiss must neither sample again nor warn about few points.
            max_points_per_centroid=len(sample),
            min_points_per_centroid=1,
        )
        # faiss starts at random points, of which two in one cluster mostly stay there to the end.
        kmeans.train(sample, init_centroids=initial_centroids(sample, num_clusters, seed + restart))
        score = float(np.asarray(kmeans.obj)[-1])  # sum of cosines to the nearest centroid
        if score > best_score:
            best_score, best = score, normalise(np.asarray(kmeans.centroids))
    return best
