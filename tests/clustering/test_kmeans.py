from __future__ import annotations

import numpy as np
from sklearn.cluster import KMeans
from sklearn.metrics import adjusted_rand_score

from mmssl_dynamic.clustering.assignment import assign
from mmssl_dynamic.clustering.kmeans import kmeans_centroids
from mmssl_dynamic.rows import normalise


def test_clusters_are_those_of_scikit_learn_on_normalised_features(planted):
    rows, _ = planted(noise=0.3)
    centroids = kmeans_centroids(rows, 6, restarts=10)
    assignment, best = assign(rows, centroids, progress=False)
    reference = KMeans(6, n_init=10, random_state=0).fit(normalise(rows))
    assert adjusted_rand_score(reference.labels_, assignment) > 0.99
    # Cosine to the nearest centroid, which spherical k-means maximises.
    other = assign(rows, normalise(reference.cluster_centers_.astype(np.float32)), progress=False)[1]
    assert best.mean() >= other.mean() - 1e-3


def test_centroids_are_unit_vectors_and_depend_on_the_seed_only(planted, tmp_path):
    rows, _ = planted(noise=1.5)
    np.save(tmp_path / "rows.npy", rows)
    first = kmeans_centroids(rows, 9, seed=3)
    np.testing.assert_allclose(np.linalg.norm(first, axis=1), 1, rtol=1e-5)
    np.testing.assert_array_equal(kmeans_centroids(np.load(tmp_path / "rows.npy", mmap_mode="r"), 9, seed=3), first)
    assert np.abs(kmeans_centroids(rows, 9, seed=4) - first).max() > 1e-3


def test_a_sample_of_the_rows_suffices(planted):
    rows, labels = planted(2000, noise=0.3)
    assignment, _ = assign(rows, kmeans_centroids(rows, 6, restarts=5, max_points=200), progress=False)
    assert adjusted_rand_score(labels, assignment) > 0.98


def test_as_many_clusters_as_images_work(planted):
    rows, _ = planted(12)
    assignment, _ = assign(rows, kmeans_centroids(rows, 12), progress=False)
    assert len(np.unique(assignment)) == 12
