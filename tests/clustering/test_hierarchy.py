"""Similar clusters get paths with a common beginning."""

import numpy as np
import pytest

from mmssl_dynamic.clustering import order_by_hierarchy, prefix_similarity
from mmssl_dynamic.clusters import Clusters
from mmssl_dynamic.errors import ConfigError
from mmssl_dynamic.rows import normalise
from mmssl_dynamic.subnets import PathSpace


def tree_of_centroids(branches, seed=0, dims=64):
    """Unit vectors at the leaves of a tree: each level moves away from its parent half as far as the one above."""
    rng = np.random.default_rng(seed)
    rows = np.zeros((1, dims))
    for level, count in enumerate(branches):
        steps = normalise(rng.standard_normal((len(rows) * count, dims)).astype(np.float32))
        rows = np.repeat(rows, count, axis=0) + steps * 0.5**level
    return normalise(rows.astype(np.float32))


def shuffled_clusters(centroids, seed=1):
    permutation = np.random.default_rng(seed).permutation(len(centroids))
    count = len(centroids)
    names = [f"{i}.png" for i in range(3 * count)]
    return Clusters(names, np.arange(3 * count) % count, count, "sinkhorn", centroids[permutation]), permutation


@pytest.mark.parametrize("branches", [(4, 4), (4, 4, 4), (2, 3, 4)])
def test_finds_the_tree_that_the_centroids_come_from(branches):
    centroids = tree_of_centroids(branches)
    clusters, permutation = shuffled_clusters(centroids)
    ordered = order_by_hierarchy(clusters, branches)
    leaf = permutation[np.array(ordered.meta["hierarchy"]["order"])]  # leaf of the tree that each path got
    below = len(leaf)
    for count in branches:
        below //= count
        subtrees = (leaf // below).reshape(-1, below)
        assert (subtrees == subtrees[:, :1]).all()


def test_images_stay_with_their_centroids():
    clusters, _ = shuffled_clusters(tree_of_centroids((4, 4)))
    ordered = order_by_hierarchy(clusters, (1, 1, 4, 4))
    assert ordered.names == clusters.names
    np.testing.assert_array_equal(ordered.centroids[ordered.assignment], clusters.centroids[clusters.assignment])
    assert sorted(ordered.meta["hierarchy"]["order"]) == list(range(16))


def test_similar_paths_share_more_stages():
    clusters, _ = shuffled_clusters(tree_of_centroids((4, 4, 4)))
    figures = order_by_hierarchy(clusters, (1, 4, 4, 4)).meta["hierarchy"]
    assert figures["similarity"][0] == pytest.approx(figures["similarity_by_index"][0])  # all pairs, in any order
    assert figures["similarity"][0] < figures["similarity"][1] < figures["similarity"][2]
    assert figures["similarity"][2] > figures["similarity_by_index"][2] + 0.1


def test_prefix_similarity_counts_the_pairs_of_the_path_space():
    centroids = tree_of_centroids((2, 3), seed=3)
    paths = PathSpace((1, 2, 3)).paths
    pairs = [(i, j) for i in range(6) for j in range(6) if i != j]
    shared = [centroids[i] @ centroids[j] for i, j in pairs if paths[i][:3] == paths[j][:3]]
    everything = [centroids[i] @ centroids[j] for i, j in pairs]
    assert prefix_similarity(centroids, (1, 2, 3)) == pytest.approx([np.mean(everything), np.mean(shared)], abs=1e-5)


def test_same_seed_same_order():
    clusters, _ = shuffled_clusters(np.random.default_rng(5).standard_normal((16, 8)).astype(np.float32))
    first, again = (order_by_hierarchy(clusters, (4, 4), seed=7).assignment for _ in range(2))
    np.testing.assert_array_equal(first, again)


def test_refuses_groups_that_do_not_make_the_clusters():
    clusters, _ = shuffled_clusters(tree_of_centroids((4, 4)))
    with pytest.raises(ConfigError, match="--hierarchy 4 4 4 makes 64 paths but there are 16 clusters"):
        order_by_hierarchy(clusters, (4, 4, 4))
    with pytest.raises(ConfigError, match="makes 0 paths"):
        order_by_hierarchy(clusters, (4, 0))


def test_refuses_a_split_without_centroids():
    with pytest.raises(ConfigError, match="--hierarchy needs centroids"):
        order_by_hierarchy(Clusters(["a", "b", "c", "d"], np.arange(4), 4, "random"), (4,))
