from __future__ import annotations

import numpy as np

from mmssl_dynamic.clustering.seeding import initial_centroids
from mmssl_dynamic.rows import normalise


def test_initial_centroids_are_different_rows_even_when_most_rows_are_copies():
    rows = normalise(np.eye(4, dtype=np.float32)[np.array([0] * 50 + [1, 2, 3])])
    picked = initial_centroids(rows, 4, seed=0)
    assert {tuple(row) for row in picked.tolist()} == {tuple(row) for row in np.eye(4).tolist()}
    assert initial_centroids(rows, 6, seed=0).shape == (6, 4)


def test_groups_far_apart_get_a_centroid_each():
    rng = np.random.default_rng(0)
    groups = np.repeat(np.arange(8), 50)
    rows = normalise(np.eye(8, dtype=np.float32)[groups] + 0.01 * rng.standard_normal((400, 8)).astype(np.float32))
    picked = initial_centroids(rows, 8, seed=1)
    assert sorted(picked.argmax(axis=1).tolist()) == list(range(8))
