"""What a split is like: sizes, balance, and agreement with the classes where these are known.

N images, K clusters.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mmssl_dynamic.clusters import Clusters


@dataclass(frozen=True)
class ClusterReport:
    """Figures of a split.

    Attributes:
        method: what made the split.
        num_images: N.
        num_clusters: K.
        sizes: images of every cluster.
        entropy: of the distribution of sizes, in nats; log K is perfect balance.
        entropy_share: ``entropy`` as a share of log K.
        empty: clusters without images.
        moved: images moved to fill small clusters.
        num_classes: classes of the data set that occur, if it has labels.
        nmi: normalised mutual information between clusters and classes, 0 to 1, if there are labels.
        nmi_random: the same for a random split with the same sizes: finite samples agree a little by chance.
    """

    method: str
    num_images: int
    num_clusters: int
    sizes: list[int]
    entropy: float
    entropy_share: float
    empty: int
    moved: int = 0
    num_classes: int | None = None
    nmi: float | None = None
    nmi_random: float | None = None

    @classmethod
    def of(cls, clusters: Clusters, labels: NDArray[np.int64] | None = None, seed: int = 0) -> ClusterReport:
        """Judge a split; ``labels`` (N,) are in the order of ``clusters.names``."""
        sizes = clusters.sizes
        shares = sizes[sizes > 0] / sizes.sum()
        entropy = float(-(shares * np.log(shares)).sum()) + 0.0  # no -0.0
        agreement: dict[str, Any] = {}
        if labels is not None:
            from sklearn.metrics import normalized_mutual_info_score

            shuffled = np.random.default_rng(seed).permutation(clusters.assignment)
            agreement = {
                "num_classes": len(np.unique(labels)),
                "nmi": float(normalized_mutual_info_score(labels, clusters.assignment)),
                "nmi_random": float(normalized_mutual_info_score(labels, shuffled)),
            }
        return cls(
            method=clusters.method,
            num_images=len(clusters),
            num_clusters=clusters.num_clusters,
            sizes=sizes.tolist(),
            entropy=entropy,
            entropy_share=entropy / math.log(clusters.num_clusters) if clusters.num_clusters > 1 else 1.0,
            empty=int((sizes == 0).sum()),
            moved=int(clusters.meta.get("moved", 0)),
            **agreement,
        )

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)

    def text(self) -> str:
        """A few lines for a terminal."""
        order = np.argsort(self.sizes, kind="stable")
        small, large = int(order[0]), int(order[-1])
        lines = [
            f"{self.num_images} images in {self.num_clusters} clusters ({self.method})",
            f"  sizes     smallest {self.sizes[small]} (cluster {small}), median {int(np.median(self.sizes))}, "
            f"largest {self.sizes[large]} (cluster {large})",
            f"  entropy   {self.entropy:.4f} nats, {100 * self.entropy_share:.2f} % of log {self.num_clusters}",
        ]
        if self.moved:
            lines.append(f"  moved     {self.moved} images, to fill clusters up to the least size")
        if self.nmi is not None and self.nmi_random is not None:
            lines.append(
                f"  NMI to the {self.num_classes} classes: {self.nmi:.4f}; random split of the same sizes: "
                f"{self.nmi_random:.4f}"
            )
        if self.empty:
            lines.append(
                f"  WARNING   {self.empty} clusters are empty: their sub-networks have no data; give --min-size, more "
                "--epochs or fewer clusters"
            )
        return "\n".join(lines)
