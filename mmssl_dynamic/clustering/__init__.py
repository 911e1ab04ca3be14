"""Clustering of fixed features into the subsets D_i that the sub-networks train on (SDR Sec. 4.2)."""

from mmssl_dynamic.clustering.cluster import cluster_features
from mmssl_dynamic.clustering.hierarchy import check_hierarchy, order_by_hierarchy, prefix_similarity
from mmssl_dynamic.clustering.number_of_paths import Recommendation, chosen_number, recommend
from mmssl_dynamic.clustering.report import ClusterReport
from mmssl_dynamic.clustering.sinkhorn import SinkhornOptions, learn_prototypes, sinkhorn

__all__ = [
    "ClusterReport",
    "Recommendation",
    "SinkhornOptions",
    "check_hierarchy",
    "chosen_number",
    "cluster_features",
    "learn_prototypes",
    "order_by_hierarchy",
    "prefix_similarity",
    "recommend",
    "sinkhorn",
]
