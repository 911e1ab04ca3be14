"""Clustering of fixed features into the subsets D_i that the sub-networks train on (SDR Sec. 4.2)."""

from mmssl_dynamic.clustering.cluster import cluster_features
from mmssl_dynamic.clustering.hierarchy import check_hierarchy, order_by_hierarchy, prefix_similarity
from mmssl_dynamic.clustering.report import ClusterReport
from mmssl_dynamic.clustering.sinkhorn import SinkhornOptions, learn_prototypes, sinkhorn

__all__ = [
    "ClusterReport",
    "SinkhornOptions",
    "check_hierarchy",
    "cluster_features",
    "learn_prototypes",
    "order_by_hierarchy",
    "prefix_similarity",
    "sinkhorn",
]
