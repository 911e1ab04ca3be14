"""Features with clusters that are known, for the tests of features and clustering."""

from __future__ import annotations

import numpy as np

from mmssl_dynamic.features.feature_file import Features


def make_planted(num_images=600, num_clusters=6, dim=16, noise=0.25, common=0.0, seed=0):
    """Rows around K random directions, sorted by cluster as an image folder would be: rows (N, D), labels (N,)."""
    rng = np.random.default_rng(seed)
    centers = rng.standard_normal((num_clusters, dim))
    centers /= np.linalg.norm(centers, axis=1, keepdims=True)
    labels = np.sort(np.arange(num_images) % num_clusters)
    rows = centers[labels] + noise * rng.standard_normal((num_images, dim)) / np.sqrt(dim)
    return (rows + common).astype(np.float32), labels


def planted_features() -> Features:
    """600 rows of six clusters, as a finished feature file gives them."""
    rows, labels = make_planted()
    names = [f"{label}/{i:04d}.png" for i, label in enumerate(labels)]
    return Features(rows, names, labels, [str(i) for i in range(6)], "fingerprint")
