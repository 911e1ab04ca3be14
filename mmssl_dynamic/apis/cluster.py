"""The subsets that paths train on: what ``mmssl-dynamic cluster`` does."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from mmssl_dynamic.clustering import (
    ClusterReport,
    SinkhornOptions,
    check_hierarchy,
    chosen_number,
    cluster_features,
    order_by_hierarchy,
)
from mmssl_dynamic.clusters import Clusters
from mmssl_dynamic.execution import Execution
from mmssl_dynamic.features import Features
from mmssl_dynamic.loading import select_device
from mmssl_dynamic.locks import locks_file
from mmssl_dynamic.processes import joined
from mmssl_dynamic.visualization.montage import cluster_montage, find_image_root, size_plot
from mmssl_dynamic.writing import write_json

PathLike = str | os.PathLike[str]


@dataclass(frozen=True)
class ClusterPlan:
    """How images are divided.

    Args:
        method: ``'sinkhorn'``, ``'kmeans'`` or ``'random'``, see :func:`~mmssl_dynamic.clustering.cluster_features`.
        images_per_cluster: Images that a cluster should have on average, where their number is ``'auto'``.
        min_size: Least images per cluster.
        assignment: ``'argmax'`` or ``'balanced'``.
        center: Subtract the mean feature.
        hierarchy: The network's ``stage_groups``, to give similar clusters paths with a common beginning; cluster i
            gets path i when left out.
        sinkhorn: Arguments of :class:`~mmssl_dynamic.clustering.SinkhornOptions` but the number of clusters.
        seed: Of everything random.
    """

    method: str = "sinkhorn"
    images_per_cluster: int = 256
    min_size: int = 1
    assignment: str = "argmax"
    center: bool = True
    hierarchy: Sequence[int] | None = None
    sinkhorn: Mapping[str, Any] = field(default_factory=dict)
    seed: int = 0


@dataclass(frozen=True)
class Montage:
    """The picture of sample images of every cluster.

    Args:
        draw: Whether there is to be one.
        image_root: Folder of the images; the one that they were in when the features were extracted when left out.
        samples: Images of a cluster.
        clusters: Only so many, the largest; all when left out.
    """

    draw: bool = True
    image_root: PathLike | None = None
    samples: int = 8
    clusters: int | None = None


@dataclass(frozen=True)
class Clustering:
    """What :func:`cluster` made.

    Attributes:
        clusters: The clusters.
        report: How large they are, and how well they agree with classes.
        files: What was written, by this process.
    """

    clusters: Clusters
    report: ClusterReport
    files: Sequence[Path]


@locks_file()
def cluster(
    features: PathLike,
    num_clusters: int | str,
    out: PathLike = "clusters.npz",
    *,
    plan: ClusterPlan | None = None,
    montage: Montage | None = None,
    execution: Execution | None = None,
) -> Clustering:
    """Split the images of a feature file into clusters, one for every path; write figures and pictures beside them.

    Args:
        features: File of :func:`~mmssl_dynamic.apis.extract_features`.
        num_clusters: K, the number of paths; ``'auto'``: as many as the images are good for.
        out: File of the clusters, ``.npz``; ``.json``, ``_sizes.png`` and ``_montage.png`` get its name.
        plan: How to divide the images.
        montage: The picture of sample images.
        execution: Where to compute, and whether to show bars. With a ``launcher``, its processes share the work, and
            the first one writes.

    Returns:
        The clusters, in all processes.

    Raises:
        UserError: anything that does not fit.
    """
    plan, montage, target = plan or ClusterPlan(), montage or Montage(), Path(out)
    execution = Execution.of(execution, launcher=True)
    found = Features.load(features)
    count = chosen_number(str(num_clusters), found.num_images, plan.images_per_cluster)
    if plan.hierarchy:
        check_hierarchy(plan.hierarchy, count, plan.method)
    say = print if execution.first else lambda _: None
    image_root = find_image_root(found, montage.image_root, say) if montage.draw else None
    select_device(execution.device)  # refuses one that is not there, before processes wait for one another
    with joined(execution.launcher) as processes:
        clusters = cluster_features(
            found,
            count,
            plan.method,
            SinkhornOptions(count, **plan.sinkhorn),
            center=plan.center,
            min_size=plan.min_size,
            assignment=plan.assignment,
            seed=plan.seed,
            execution=replace(execution, progress=execution.progress and processes.first),
            processes=processes,
        )
    if plan.hierarchy:
        clusters = order_by_hierarchy(clusters, plan.hierarchy, plan.seed)
    report = ClusterReport.of(clusters, found.labels, plan.seed)
    clusters.meta["report"] = report.as_dict()
    if not execution.first:
        return Clustering(clusters, report, [])
    clusters.save(target)
    write_json(target.with_suffix(".json"), {**clusters.meta, "features": str(features)})
    files = [target, target.with_suffix(".json"), size_plot(clusters, target.with_name(f"{target.stem}_sizes.png"))]
    if image_root is not None:
        picture, shown = target.with_name(f"{target.stem}_montage.png"), montage.clusters
        files.append(cluster_montage(clusters, image_root, picture, montage.samples, shown, seed=plan.seed))
    return Clustering(clusters, report, files)
