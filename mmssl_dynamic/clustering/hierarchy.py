"""Which path a cluster gets: similar clusters on paths with a common beginning, an alternative to SDR's numbering.

SDR gives cluster i to path i, in whatever order clustering found them. Paths with a common beginning share weights,
so here the centroids form a balanced tree with the branching of ``stage_groups``, and a path is a way through it.
K clusters, D feature dimension, G groups of a stage.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from math import prod

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment

from mmssl_dynamic.clustering.seeding import initial_centroids
from mmssl_dynamic.clusters import Clusters
from mmssl_dynamic.errors import ConfigError
from mmssl_dynamic.rows import normalise

_RESTARTS = 10
_ITERATIONS = 50

FloatArray = NDArray[np.float32]


def order_by_hierarchy(clusters: Clusters, stage_groups: Sequence[int], seed: int = 0) -> Clusters:
    """Number the clusters anew, so that similar ones get paths with a common beginning.

    From the first stage on, the centroids are split into G parts of equal size, as similar inside as balanced
    k-means makes them, and every part again at the next stage.

    Args:
        clusters: with centroids.
        stage_groups: of the super-network; their product is K.
        seed: of the starts of k-means.

    Returns:
        The same clusters in another order; ``meta["hierarchy"]`` holds ``stage_groups``, the original number of each
        cluster, and :func:`prefix_similarity` before and after.

    Raises:
        ConfigError: the product of ``stage_groups`` is not K, or the clusters have no centroids.
    """
    groups = [int(g) for g in stage_groups]
    check_hierarchy(groups, clusters.num_clusters, clusters.method)
    assert clusters.centroids is not None
    order = _leaves(clusters.centroids, np.arange(clusters.num_clusters), groups, np.random.default_rng(seed))
    position = np.empty(len(order), dtype=np.int32)
    position[order] = np.arange(len(order))
    figures = {
        "stage_groups": groups,
        "order": order.tolist(),
        "similarity_by_index": prefix_similarity(clusters.centroids, groups),
        "similarity": prefix_similarity(clusters.centroids[order], groups),
    }
    return replace(
        clusters,
        assignment=position[clusters.assignment],
        centroids=clusters.centroids[order],
        meta={**clusters.meta, "hierarchy": figures},
    )


def check_hierarchy(stage_groups: Sequence[int], num_clusters: int, method: str) -> None:
    """Refuse a hierarchy that :func:`order_by_hierarchy` cannot make, before the clusters are.

    Raises:
        ConfigError: the product of ``stage_groups`` is not K, or ``method`` makes no centroids.
    """
    if min(stage_groups, default=0) < 1 or prod(stage_groups) != num_clusters:
        raise ConfigError(
            f"--hierarchy {' '.join(map(str, stage_groups))} makes {prod(stage_groups)} paths but there are "
            f"{num_clusters} clusters; give the stage_groups of the network, whose product is --num-clusters."
        )
    if method == "random":
        raise ConfigError("--hierarchy needs centroids, which a random split does not have; use --method sinkhorn.")


def prefix_similarity(centroids: FloatArray, stage_groups: Sequence[int]) -> list[float]:
    """How similar clusters are whose paths share their first 0, 1, 2, ... stages.

    Args:
        centroids: (K, D), unit rows in the order of the paths.
        stage_groups: G of every stage.

    Returns:
        Mean cosine over all pairs of different clusters with a common beginning of 0 to S - 1 stages; stages that are
        not split, and beginnings that no two paths share, are left out.
    """
    count = len(centroids)
    cosines = centroids @ centroids.T
    different = ~np.eye(count, dtype=bool)
    result, paths_below = [], count
    for groups in (1, *(g for g in stage_groups if g > 1)):
        paths_below //= groups
        prefix = np.arange(count) // paths_below
        pairs = (prefix[:, None] == prefix[None, :]) & different
        if pairs.any():
            result.append(float(cosines[pairs].mean()))
    return result


def _leaves(
    centroids: FloatArray, members: NDArray[np.int64], stage_groups: list[int], rng: np.random.Generator
) -> NDArray[np.int64]:
    """The members in the order of the paths below them."""
    if not stage_groups or len(members) == 1:
        return members
    parts = _balanced_parts(centroids[members], stage_groups[0], rng)
    # Parts in the order of their first clusters: what is in order already stays so.
    branches = sorted((members[parts == part] for part in range(stage_groups[0])), key=lambda branch: branch[0])
    return np.concatenate([_leaves(centroids, branch, stage_groups[1:], rng) for branch in branches])


def _balanced_parts(rows: FloatArray, num_parts: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """(n,) part of every row: spherical k-means with parts of equal size, the best of several starts."""
    size = len(rows) // num_parts
    if num_parts == 1 or size == 1:
        return np.arange(len(rows)) // size
    best, best_score = np.empty(0, dtype=np.int64), -np.inf
    for _ in range(_RESTARTS):
        means = initial_centroids(rows, num_parts, int(rng.integers(2**31)))
        parts = np.full(len(rows), -1)
        for _ in range(_ITERATIONS):
            # Each part offers `size` places: an optimal assignment of rows to places keeps all parts equal.
            scores = np.repeat(rows @ means.T, size, axis=1)  # (n, n)
            _, places = linear_sum_assignment(scores, maximize=True)
            previous, parts = parts, places // size
            if (parts == previous).all():
                break
            means = normalise(np.stack([rows[parts == part].mean(axis=0) for part in range(num_parts)]))
        score = float((rows * means[parts]).sum())
        if score > best_score:
            best, best_score = parts, score
    return best
