"""Labels of a task as many-shot transfer takes them: which training images validate, and who says so.

N images, K classes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mmssl_dynamic.downstream.task import Task
from mmssl_dynamic.errors import DataError
from mmssl_dynamic.evaluation.many_shot import ManyShotProtocol, check_labels, split_indices


@dataclass(frozen=True, eq=False)
class SearchLabels:
    """Labels of a search.

    Attributes:
        train: Of the training images, and of the task's validation images after them, (N,) or (N, K).
        val: Positions in ``train`` that validate.
        test: Of the test images.
        how: What chose the images that validate, for results.
    """

    train: NDArray[Any]
    val: NDArray[np.int64]
    test: NDArray[Any]
    how: str

    @classmethod
    def of(cls, task: Task, protocol: ManyShotProtocol) -> SearchLabels:
        """The task's own validation images, or some that the protocol draws.

        Raises:
            DataError: labels that cannot be learned, or too few images to draw from.
        """
        try:
            train, test, how = task.labels("train"), task.labels("test"), "predefined"
            if "val" in task.data:
                first = len(train)
                train = np.concatenate([train, task.labels("val")])
                val = np.arange(first, len(train))
            else:
                val = split_indices(len(train), protocol.val_fraction, protocol.seed)
                how = f"drawn: {protocol.val_fraction:g} of train, seed {protocol.seed}"
            check_labels(train, val, test)
        except DataError as error:
            raise DataError(f"data set {task.name}: {error}") from error
        return cls(train, val, test, how)

    @property
    def classes(self) -> int:
        """K."""
        return int(self.train.shape[1] if self.train.ndim == 2 else self.train.max() + 1)

    def record(self, task: Task) -> dict[str, Any]:
        """The task, for results."""
        return {
            "metric": task.metric,
            "split": task.split,
            "validation": {"images": len(self.val), "from": self.how},
            **{part: images.record() for part, images in task.images.items()},
        }
