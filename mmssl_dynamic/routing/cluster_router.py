"""Only the sub-networks whose clusters look like the task are evaluated."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from torch import nn

from mmssl_dynamic.clusters import Clusters
from mmssl_dynamic.downstream.splits import Splits, count_images
from mmssl_dynamic.errors import ArtifactError, ConfigError
from mmssl_dynamic.features.pooling import pooled_features
from mmssl_dynamic.fileio import weights_fingerprint
from mmssl_dynamic.fingerprints import architecture_fingerprint, running_statistics, statistics_fingerprint
from mmssl_dynamic.routing.result import DroppedSubnet, RoutingResult
from mmssl_dynamic.routing.router import Effort, Router
from mmssl_dynamic.subnets import FULL, split_width

_STAGES = 4  # of a ResNet, the base of SDR


class ClusterGuidedRouter(Router):
    """Assigns the training images to the clusters, and ranks the M paths whose clusters were hit most.

    Where paths have several widths, all widths of a path that are to choose from.

    One pass through the base network replaces the evaluation of most sub-networks. What it may miss is stated as the
    regret against the full ranking: :meth:`~mmssl_dynamic.routing.RoutingResult.regret`.

    Args:
        clusters: The clusters that the sub-networks trained on, with centroids.
        base: The network whose features were clustered (SimSiam's backbone), on the device of ``net``.
        candidates: M.
        options: As of :class:`Router`.

    Raises:
        ConfigError: fewer than one candidate, or another option that is impossible.
        ArtifactError: the clusters have no centroids, another number of paths, or were made with another network.
    """

    method = "cluster"

    def __init__(self, *args: Any, clusters: Clusters, base: nn.Module, candidates: int = 16, **options: Any) -> None:
        super().__init__(*args, **options)
        if candidates < 1:
            raise ConfigError(f"candidates={candidates} must be at least 1.")
        clusters.check_paths(self.net.space.num_paths)
        if clusters.centroids is None:
            raise ArtifactError(
                f"{clusters.source} is a {clusters.method} split without centroids, so images cannot be assigned to "
                "its clusters; route with another --method."
            )
        expected = clusters.meta.get("weights_fingerprint")
        if expected is not None and expected != weights_fingerprint(base.state_dict()):
            raise ArtifactError(
                f"{clusters.source} was made with another network than the base checkpoint; give the checkpoint that "
                "tools/extract_features.py was given."
            )
        self.clusters, self.base, self.candidates = clusters, base, candidates

    def settings(self) -> dict[str, Any]:
        """As :meth:`Router.settings`."""
        return {**super().settings(), "candidates": self.candidates}

    def inputs(self, names: Sequence[str] | None = None) -> dict[str, Any]:
        """As :meth:`Router.inputs`."""
        base = {
            "weights": weights_fingerprint(self.base.state_dict()),
            "BN statistics": statistics_fingerprint(running_statistics(self.base)),
            "architecture": architecture_fingerprint(self.base),
        }
        return {**super().inputs(names), "clusters": {"clusters": self.clusters.fingerprint, "base network": base}}

    def route(self, splits: Splits, names: Sequence[str] | None = None, task: str = "task") -> RoutingResult:
        """Assign, choose candidates, evaluate and rank them, as :meth:`Router.route` says."""
        effort = Effort()
        names = self.ordered(names)
        hits = self._hits(splits, effort)
        paths = list(dict.fromkeys(map(_path, names)))
        order = sorted((path for path in paths if hits.get(path, 0)), key=lambda path: -hits[path])
        most = set(order[: self.candidates] or paths[: self.candidates])
        chosen = self.ordered([name for name in names if _path(name) in most])
        wanted = list(dict.fromkeys((FULL, *chosen)))
        accuracies = self.measure(splits, wanted, f"routing {task}", effort)
        total = sum(hits.values())
        dropped = [
            DroppedSubnet(name, None, 0, f"{hits.get(_path(name), 0)} of {total} training images in its cluster")
            for name in names
            if name not in chosen
        ]
        counted = {name: hits.get(_path(name), 0) for name in chosen}
        return self.result(
            task, splits, accuracies, names, effort, dropped, most_hit=self.candidates, cluster_hits=counted
        )

    def _hits(self, splits: Splits, effort: Effort) -> dict[str, int]:
        """Training images in the cluster of every path."""
        features, _ = pooled_features(self.base, splits.train, processes=self.processes)
        assignment = self.clusters.scores(features.cpu().numpy()).argmax(axis=1)
        counts = np.bincount(assignment, minlength=self.clusters.num_clusters)
        effort.image_stages += _STAGES * count_images(splits.train)
        return dict(zip(self.net.space.paths, counts.tolist()))


def _path(name: str) -> str:
    """The path that a sub-network is, at whichever width."""
    return split_width(name)[0]
