"""Every sub-network evaluated on all images: the paper's routing for classification (SDR Sec. 4.3)."""

from __future__ import annotations

from collections.abc import Sequence

from mmssl_dynamic.downstream.splits import Splits
from mmssl_dynamic.routing.result import RoutingResult
from mmssl_dynamic.routing.router import Effort, Router
from mmssl_dynamic.subnets import FULL


class KNNRouter(Router):
    """Ranks all sub-networks by the kNN accuracy of their frozen features; see :class:`Router` for the arguments."""

    method = "knn"

    def route(self, splits: Splits, names: Sequence[str] | None = None, task: str = "task") -> RoutingResult:
        """Evaluate and rank sub-networks, as :meth:`Router.route` says."""
        effort = Effort()
        names = self.ordered(names)
        wanted = list(dict.fromkeys((FULL, *names)))
        accuracies = self.measure(splits, wanted, f"routing {task}", effort)
        return self.result(task, splits, accuracies, names, effort)
