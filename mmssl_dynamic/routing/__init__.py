"""Routing: finding the sub-network that suits a downstream task (SDR Sec. 4.3)."""

from mmssl_dynamic.routing.knn_router import KNNRouter
from mmssl_dynamic.routing.result import RoutingResult, SubnetScore

__all__ = ["KNNRouter", "RoutingResult", "SubnetScore"]
