"""From features to :class:`Clusters` by any of the three methods (SDR Sec. 4.2 'Data clustering' and Table 3).

N images, K clusters, D feature dimension.
"""

from __future__ import annotations

from dataclasses import asdict, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from mmssl_dynamic.clustering.assignment import (
    ASSIGNMENTS,
    assign,
    balancing_offsets,
    check_min_size,
    enforce_min_size,
)
from mmssl_dynamic.clustering.random_split import random_assignment
from mmssl_dynamic.clustering.sinkhorn import SinkhornOptions, learn_prototypes
from mmssl_dynamic.clusters import Clusters
from mmssl_dynamic.errors import ConfigError
from mmssl_dynamic.execution import Execution
from mmssl_dynamic.features.feature_file import Features, check_values
from mmssl_dynamic.loading import device_of
from mmssl_dynamic.processes import Processes

METHODS = ("sinkhorn", "kmeans", "random")


def cluster_features(
    features: Features,
    num_clusters: int,
    method: str = "sinkhorn",
    options: SinkhornOptions | None = None,
    center: bool = True,
    min_size: int = 1,
    assignment: str = "argmax",
    seed: int = 0,
    execution: Execution | None = None,
    processes: Processes | None = None,
) -> Clusters:
    """Split the images of a feature file into K disjoint subsets D_i.

    Args:
        features: of all images (D_0), memory-mapped or in memory.
        num_clusters: K, the number of paths of the super-network.
        method: ``'sinkhorn'``: learned prototypes, balanced (the paper's). ``'kmeans'``: spherical k-means (faiss).
            ``'random'``: equal sizes by chance, the control of Table 3.
        options: of the Sinkhorn prototypes.
        center: subtract the mean feature before the L2 normalisation. Our reading: pooled features follow a ReLU, so
            all have a large part in common (cosines of 0.9 between any two are usual early in training), in which the
            scores of Eq. 2 would drown; SwAV's projections have no such part.
        min_size: least images per cluster; smaller ones are filled up with the images that lose least similarity.
            With 0 the split is argmax S as it comes; with 1 no cluster is empty; the batch size of the training
            guarantees that every cluster fills a batch.
        assignment: ``'argmax'``: every image to its most similar centroid (the paper's). ``'balanced'``: the likeliest
            cluster of Sinkhorn's U over all images, for clusters of nearly equal size.
        seed: of everything random.
        execution: the device where Sinkhorn and the assignment compute, and whether to show bars.
        processes: those that divide Sinkhorn's batches, and the images of the assignment.

    Returns:
        The clusters, in all processes; ``meta`` holds settings, the fingerprint of the weights, and the number of
        images moved.

    Raises:
        ConfigError: K or ``min_size`` does not fit N, or an unknown method.
        ArtifactError: the features hold NaN, or are all the same.
    """
    num_images = features.num_images
    if method not in METHODS:
        raise ConfigError(f"--method {method} is unknown; use one of {', '.join(METHODS)}.")
    if assignment not in ASSIGNMENTS:
        raise ConfigError(f"--assign {assignment} is unknown; use one of {', '.join(ASSIGNMENTS)}.")
    if num_clusters < 2:
        raise ConfigError(f"--num-clusters {num_clusters} must be at least 2; a network without clusters is SimSiam.")
    if num_clusters > num_images:
        raise ConfigError(
            f"--num-clusters {num_clusters} is more than the {num_images} images of {features.source}; use fewer "
            "clusters or more images."
        )
    check_min_size(num_images, num_clusters, min_size)
    meta: dict[str, Any] = {"seed": seed, "weights_fingerprint": features.weights_fingerprint, "moved": 0}
    if method == "random":
        split = random_assignment(num_images, num_clusters, seed)
        return Clusters(features.names, split, num_clusters, method, meta=meta)

    processes, execution = processes or Processes(), Execution.of(execution, launcher=True)
    device, progress = device_of(execution.device, processes), execution.progress
    average = processes.made_once(lambda: _checked(features, progress))
    mean = average if center else None
    centroids: NDArray[np.float32]
    if method == "sinkhorn":
        settings = replace(options or SinkhornOptions(num_clusters), num_clusters=num_clusters, seed=seed)
        meta["sinkhorn"] = asdict(settings)
        centroids = learn_prototypes(features.rows, settings, mean, device, progress, processes)
    else:
        from mmssl_dynamic.clustering.kmeans import kmeans_centroids

        # faiss itself uses all cores and GPUs of the first process's machine.
        centroids = processes.made_once(lambda: kmeans_centroids(features.rows, num_clusters, seed=seed, mean=mean))
    offsets = None
    if assignment == "balanced":
        epsilon = (options or SinkhornOptions(num_clusters)).epsilon
        offsets = balancing_offsets(features.rows, centroids, epsilon, mean, device, progress, processes)
    split, best = assign(features.rows, centroids, mean, device, progress, offsets, processes)
    split, meta["moved"] = processes.made_once(
        lambda: enforce_min_size(features.rows, centroids, split, best, min_size, mean)
    )
    meta |= {"min_size": min_size, "assignment": assignment}
    return Clusters(features.names, split, num_clusters, method, centroids=centroids, mean=mean, meta=meta)


def _checked(features: Features, progress: bool) -> NDArray[np.float32]:
    """The mean feature (D,) of features that can be clustered."""
    total = features.num_images
    with tqdm(total=total, desc="checking features", unit="img", unit_scale=True, disable=not progress) as bar:
        return check_values(features, bar.update)
