"""Routing: finding the sub-network that suits a downstream task (SDR Sec. 4.3)."""

from mmssl_dynamic.routing.cluster_router import ClusterGuidedRouter
from mmssl_dynamic.routing.halving_router import SuccessiveHalvingRouter
from mmssl_dynamic.routing.knn_router import KNNRouter
from mmssl_dynamic.routing.result import DroppedSubnet, RoutingResult, SubnetScore
from mmssl_dynamic.routing.router import Router
from mmssl_dynamic.routing.scores import Score, Scored, build_score

__all__ = [
    "ClusterGuidedRouter",
    "DroppedSubnet",
    "KNNRouter",
    "Router",
    "RoutingResult",
    "Score",
    "Scored",
    "SubnetScore",
    "SuccessiveHalvingRouter",
    "build_score",
]
