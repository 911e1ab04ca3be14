"""Metrics against scikit-learn, an independent implementation of VOC's, and values worked out by hand."""

import numpy as np
import pytest
from sklearn.metrics import accuracy_score, balanced_accuracy_score, precision_recall_curve

from mmssl_dynamic.errors import DataError
from mmssl_dynamic.evaluation.metrics import average_precision_11_point, mean_average_precision, mean_per_class, top1


def test_accuracies_equal_scikit_learn_on_uneven_classes():
    rng = np.random.default_rng(0)
    truth = np.repeat([3, 5, 8], [70, 20, 10])
    predicted = np.where(rng.random(100) < 0.6, truth, rng.choice([3, 5, 8, 9], 100))
    assert top1(truth, predicted) == pytest.approx(100 * accuracy_score(truth, predicted))
    assert mean_per_class(truth, predicted) == pytest.approx(100 * balanced_accuracy_score(truth, predicted))
    assert top1(truth, predicted) != pytest.approx(mean_per_class(truth, predicted))


def test_average_precision_by_hand():
    # Ranked yes no yes no no: precision 1 up to recall 1/2, then 2/3. Recalls 0 ... 0.5 take 1, 0.6 ... 1 take 2/3.
    expected = 100 * (6 * 1 + 5 * 2 / 3) / 11
    assert average_precision_11_point([1, 0, 1, 0, 0], [9, 8, 7, 6, 5]) == pytest.approx(expected)
    # The only image comes third: every recall has precision 1/3, recall 0 too.
    assert average_precision_11_point([0, 0, 1], [3, 2, 1]) == pytest.approx(100 / 3)
    # 3 of 10 found is recall 0.3 exactly: recalls 0 to 0.3 have precision 1, the rest 10/13.
    truth = [1] * 3 + [0] * 3 + [1] * 7
    assert average_precision_11_point(truth, -np.arange(13)) == pytest.approx(100 * (4 + 7 * 10 / 13) / 11)


def test_images_of_one_score_come_in_together():
    for truth in ([1, 0], [0, 1]):
        assert average_precision_11_point(truth, [0.5, 0.5]) == pytest.approx(50)


def reference(truth, scores):
    """From scikit-learn's curve, whose last point (recall 0, precision 1) no ranking reaches and VOC does not have."""
    precision, recall, _ = precision_recall_curve(truth, scores)
    return 100 * np.mean([precision[:-1][recall[:-1] >= t / 10 - 1e-9].max() for t in range(11)])


def test_mean_average_precision_equals_scikit_learns_curves():
    rng = np.random.default_rng(1)
    truth = rng.random((60, 4)) < [0.1, 0.3, 0.5, 0.9]
    scores = np.round(truth + rng.normal(size=(60, 4)), 1)  # with ties
    expected = np.mean([reference(truth[:, k], scores[:, k]) for k in range(4)])
    assert mean_average_precision(truth, scores) == pytest.approx(expected)
    truth[:, 2] = False
    with pytest.raises(DataError, match="class 2"):
        mean_average_precision(truth, scores)
