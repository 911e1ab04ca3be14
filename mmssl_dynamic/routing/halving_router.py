"""Successive halving (Jamieson, Talwalkar 2016): many sub-networks on few images, few of them on all images."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from mmssl_dynamic.downstream.splits import Splits, count_images, labels_of
from mmssl_dynamic.errors import ConfigError
from mmssl_dynamic.routing.result import DroppedSubnet, RoutingResult
from mmssl_dynamic.routing.router import Effort, Router
from mmssl_dynamic.subnets import FULL

_PER_CLASS = 4  # images of a class in the first round, for there to be neighbours


class SuccessiveHalvingRouter(Router):
    """Ranks on a growing part of the training images, and keeps one in ``factor`` sub-networks each round.

    Every round takes ``factor`` times the images of the one before it, and the last one all images and the test images,
    so the rounds cost about the same. A round's images hold those of the rounds before.

    Args:
        factor: How many times fewer sub-networks, and more images, each round has.
        finalists: Sub-networks in the last round.
        least_images: Training images in a round at least; 64, or four of each class, when left out.
        seed: Chooses the images of the rounds.
        options: As of :class:`Router`.

    Raises:
        ConfigError: a factor below 2, no finalist, or another option that is impossible.
    """

    method = "halving"

    def __init__(
        self,
        *args: Any,
        factor: int = 4,
        finalists: int = 4,
        least_images: int | None = None,
        seed: int = 0,
        **options: Any,
    ) -> None:
        super().__init__(*args, **options)
        if factor < 2 or finalists < 1 or (least_images is not None and least_images < 2):
            raise ConfigError(
                f"halving needs factor={factor} of at least 2, finalists={finalists} of at least 1 and "
                f"least_images={least_images} of at least 2."
            )
        self.factor, self.finalists, self.least_images, self.seed = factor, finalists, least_images, seed

    def settings(self) -> dict[str, Any]:
        """As :meth:`Router.settings`."""
        own = {"factor": self.factor, "finalists": self.finalists, "least_images": self.least_images, "seed": self.seed}
        return {**super().settings(), **own}

    def route(self, splits: Splits, names: Sequence[str] | None = None, task: str = "task") -> RoutingResult:
        """Halve, then rank the finalists, as :meth:`Router.route` says."""
        effort = Effort()
        names = self.ordered(names)
        left = list(names)
        dropped: list[DroppedSubnet] = []
        rounds: list[dict[str, int]] = []
        least = self._least(splits)
        for power in range(self._rounds(len(names)), 0, -1):
            part = splits.for_selection(self.factor**-power, least, self.seed)
            images = count_images(part.train)
            label = f"routing {task}: {len(left)} on {images} images"
            accuracies = self.measure(part, left, label, effort)
            keep = max(self.finalists, -(-len(left) // self.factor))
            order = sorted(left, key=lambda name: -accuracies[name].ranking)
            text = f"round {len(rounds) + 1}"
            dropped = [DroppedSubnet(name, accuracies[name].select, images, text) for name in order[keep:]] + dropped
            rounds.append({"subnets": len(left), "images": images})
            left = self.ordered(order[:keep])
        rounds.append({"subnets": len(left), "images": count_images(splits.train)})
        accuracies = self.measure(splits, list(dict.fromkeys((FULL, *left))), f"routing {task}: finalists", effort)
        details = {"factor": self.factor, "rounds": rounds, "seed": self.seed}
        return self.result(task, splits, accuracies, names, effort, dropped, **details)

    def _rounds(self, count: int) -> int:
        """Rounds before the last one."""
        rounds = 0
        while count > self.finalists:
            count = max(self.finalists, -(-count // self.factor))
            rounds += 1
        return rounds

    def _least(self, splits: Splits) -> int:
        if self.least_images is not None:
            return self.least_images
        labels = labels_of(splits.train)
        return 64 if labels is None else max(64, _PER_CLASS * len(np.unique(labels)))
