"""Where centroids start: at images far apart. K clusters, D feature dimension, n sampled images."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mmssl_dynamic.rows import Rows


def initial_centroids(rows: Rows, num_clusters: int, seed: int) -> NDArray[np.float32]:
    """K of the given unit rows (n, D), far apart: k-means++ seeding on cosine distance, (K, D)."""
    rng = np.random.default_rng(seed)
    picked = [int(rng.integers(len(rows)))]
    nearest = np.full(len(rows), np.inf, dtype=np.float32)
    for _ in range(num_clusters - 1):
        nearest = np.minimum(nearest, np.maximum(2 - 2 * (rows @ rows[picked[-1]]), 0))  # squared distance
        weights = nearest.astype(np.float64)
        weights[picked] = 0
        total = weights.sum()
        if total <= 0:  # fewer distinct rows than clusters: any row that is left
            weights[:] = 1
            weights[picked] = 0
            total = weights.sum()
        picked.append(int(rng.choice(len(rows), p=weights / total)))
    return rows[picked].copy()
