"""Metrics of transfer: accuracy, mean accuracy per class, and the 11-point mAP of PASCAL VOC 2007, in percent.

N images, K classes.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from mmssl_dynamic.errors import DataError


def top1(truth: ArrayLike, predicted: ArrayLike) -> float:
    """Share of images whose class was predicted; both (N,)."""
    return 100.0 * float(np.mean(np.asarray(truth) == np.asarray(predicted)))


def mean_per_class(truth: ArrayLike, predicted: ArrayLike) -> float:
    """Mean, over the classes that ``truth`` (N,) holds, of the share of their images that was predicted (N,)."""
    classes, index = np.unique(np.asarray(truth), return_inverse=True)
    hits = np.bincount(index, weights=np.asarray(truth) == np.asarray(predicted), minlength=len(classes))
    return 100.0 * float(np.mean(hits / np.bincount(index)))


def average_precision_11_point(truth: ArrayLike, scores: ArrayLike) -> float:
    """Average precision of one class as VOC 2007 defines it.

    The mean, over the recalls 0, 0.1, ..., 1, of the best precision that is reached at this recall or a higher one
    (Everingham et al. 2010, Sec. 4.2). Images of equal score come in or stay out together.

    Args:
        truth: Whether each image shows the class, (N,).
        scores: (N,), higher for a surer yes.

    Raises:
        DataError: no image shows the class.
    """
    positive = np.asarray(truth, dtype=bool)
    values = np.asarray(scores, dtype=np.float64)
    total = int(positive.sum())
    if total == 0:
        raise DataError("average precision needs at least one image of the class.")
    order = np.argsort(-values, kind="stable")
    found = np.cumsum(positive[order])  # true positives among the first n images
    ends = np.flatnonzero(np.append(np.diff(values[order]) != 0, True))  # the last image of each score
    hits, taken = found[ends], ends + 1
    best = np.maximum.accumulate((hits / taken)[::-1])[::-1]  # best precision at this recall or above
    # Whole numbers: 3 of 10 images have a recall of 0.3, which 0.1 + 0.1 + 0.1 is not.
    reached = [int(np.argmax(10 * hits >= tenth * total)) for tenth in range(11)]
    return 100.0 * float(np.mean(best[reached]))


def mean_average_precision(truth: ArrayLike, scores: ArrayLike) -> float:
    """Mean of :func:`average_precision_11_point` over classes.

    Args:
        truth: (N, K), whether an image shows a class.
        scores: (N, K).

    Raises:
        DataError: a class has no image.
    """
    positive, values = np.asarray(truth), np.asarray(scores)
    empty = np.flatnonzero(~positive.astype(bool).any(axis=0))
    if len(empty):
        raise DataError(f"mAP needs images of every class, and class {empty[0]} has none.")
    classes = range(positive.shape[1])
    return float(np.mean([average_precision_11_point(positive[:, k], values[:, k]) for k in classes]))
