"""What the images of a task say of a sub-network: its kNN accuracies, and the score that ranks it.

N images, D feature dim.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mmssl_dynamic.errors import DataError
from mmssl_dynamic.evaluation.knn import KNNProtocol, knn_accuracy, knn_correct, leave_one_out_correct, percent
from mmssl_dynamic.routing.scores import Score


class Measured(NamedTuple):
    """What the images say of a sub-network.

    Attributes:
        select: kNN accuracy in percent on the images of the choice.
        test: kNN accuracy in percent on the test images.
        score: Value of the score that ranks, where that is another one.
        better: Images of the choice that kNN classifies rightly with it and wrongly with the full network.
        worse: The other way round.
    """

    select: float
    test: float | None
    score: float | None = None
    better: int = 0
    worse: int = 0

    @property
    def ranking(self) -> float:
        """By which sub-networks are chosen."""
        return self.select if self.score is None else self.score

    @property
    def reported(self) -> float:
        """The accuracy on the test images, on those of the choice without any."""
        return self.select if self.test is None else self.test


Accuracies = dict[str, Measured]


@dataclass(frozen=True)
class Judged:
    """What the images say of a sub-network alone.

    Attributes:
        select, test, score: As of :class:`Measured`.
        correct: Which images of the choice kNN classifies rightly, (N,).
    """

    select: float
    test: float | None
    score: float | None
    correct: NDArray[np.bool_]

    def beside(self, full: NDArray[np.bool_] | None) -> Measured:
        """The same with what tells it from the full network, where that has been judged by the same images."""
        full = self.correct if full is None else full
        better, worse = int((self.correct & ~full).sum()), int((~self.correct & full).sum())
        return Measured(self.select, self.test, self.score, better, worse)


@dataclass(frozen=True)
class Judge:
    """Classifies the images of a task by their neighbours.

    Attributes:
        protocol: How.
        score: What ranks in place of the accuracy, if anything does.
        device: Where features are compared.
    """

    protocol: KNNProtocol
    score: Score | None
    device: torch.device

    def __call__(
        self, name: str, features: Mapping[str, Tensor], labels: Mapping[str, Tensor], memory_gib: float
    ) -> Judged:
        """Judge a sub-network.

        Args:
            name: Its name, for messages.
            features: By part of the task, ``train`` and perhaps ``val`` and ``test``, each (N, D).
            labels: Likewise, each (N,).
            memory_gib: For the comparison.

        Raises:
            DataError: features with NaN, fewer than two classes.
        """
        bank, protocol = (features["train"], labels["train"]), replace(self.protocol, memory_gib=memory_gib)
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", UserWarning)  # k: said once, for all sub-networks
                if "val" in features:
                    correct = knn_correct(*bank, features["val"], labels["val"], protocol, self.device)
                else:
                    correct = leave_one_out_correct(*bank, protocol, self.device)
                test = None
                if "test" in features:
                    test = knn_accuracy(*bank, features["test"], labels["test"], protocol, self.device)
        except DataError as error:
            if "NaN" in str(error):
                raise DataError(f"sub-network '{name}': {error}") from error
            raise
        return Judged(percent(correct), test, self._scored(features, labels), correct.numpy())

    def _scored(self, features: Mapping[str, Tensor], labels: Mapping[str, Tensor]) -> float | None:
        if self.score is None:
            return None
        seen = [part for part in ("train", "val") if part in features]
        rows = torch.cat([features[part] for part in seen]).numpy()
        return self.score(rows, torch.cat([labels[part] for part in seen]).numpy()).value
