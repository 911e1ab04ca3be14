"""Scores of features, against what they stand for computed at length."""

import numpy as np
import pytest
from scipy.stats import multivariate_normal

from mmssl_dynamic.errors import ConfigError, DataError
from mmssl_dynamic.evaluation.knn import KNNProtocol, leave_one_out_accuracy
from mmssl_dynamic.registry import SCORES
from mmssl_dynamic.routing.scores import LogME, RidgeProbe, Score, Scored, build_score

NAMES = ("knn", "ncm", "ridge", "logme", "h-score")


def features(separation, count=90, dim=12, classes=3, seed=0):
    """Classes as blobs; the larger the separation the easier."""
    rng = np.random.default_rng(seed)
    labels = np.arange(count) % classes
    centres = rng.normal(size=(classes, dim))
    return separation * centres[labels] + rng.normal(size=(count, dim)) + 3, labels


@pytest.mark.parametrize("name", NAMES)
def test_every_score_prefers_features_that_separate_the_classes(name):
    score = build_score(name)
    values = [score(*features(separation)).value for separation in (0.0, 0.4, 0.8, 2.0)]
    assert values == sorted(values)
    assert values[0] < values[-1]


@pytest.mark.parametrize("name", ["knn", "ncm", "ridge"])
def test_accuracies_say_which_images_were_right(name):
    found = build_score(name)(*features(0.6))
    assert found.correct.shape == (90,)
    assert found.value == pytest.approx(100 * found.correct.mean())
    assert 34 < found.value < 100


def test_knn_is_the_routers_accuracy():
    rows, labels = features(0.5)
    expected = leave_one_out_accuracy(rows.astype(np.float32), labels, KNNProtocol(k=7, vote="majority"))
    assert build_score(dict(type="knn", k=7, vote="majority"))(rows, labels).value == expected
    assert build_score("knn")(rows, labels).value > 0  # k = 200 is cut to the 89 other images


def test_the_nearest_mean_leaves_the_image_out_of_its_own_class():
    """Against a loop; without leaving out, two images of their own two classes would be right."""
    rows, labels = features(0.5, count=31)
    unit = rows - rows.mean(0)
    unit /= np.linalg.norm(unit, axis=1, keepdims=True)
    right = []
    for i in range(len(rows)):
        others = np.arange(len(rows)) != i
        means = np.stack([unit[others & (labels == k)].mean(0) for k in range(3)])
        right.append((unit[i] @ means.T / np.linalg.norm(means, axis=1)).argmax() == labels[i])
    np.testing.assert_array_equal(build_score("ncm")(rows, labels).correct, right)
    assert build_score("ncm")(np.eye(4)[:2], np.array([0, 1])).value == 0


@pytest.mark.parametrize("dim", [5, 60])
def test_the_closed_form_of_the_ridge_probe_is_fitting_without_each_image(dim):
    rows, labels = features(0.7, count=40, dim=dim)
    strength = 0.1
    scaled = (rows - rows.mean(0)) / rows.std(0)
    penalty = strength * (np.linalg.svd(scaled, compute_uv=False) ** 2).mean() * np.eye(dim)
    targets = np.eye(3)[labels]
    right = []
    for i in range(len(rows)):
        x, y = np.delete(scaled, i, 0), np.delete(targets, i, 0)
        weights = np.linalg.solve((x - x.mean(0)).T @ (x - x.mean(0)) + penalty, (x - x.mean(0)).T @ (y - y.mean(0)))
        right.append(((scaled[i] - x.mean(0)) @ weights + y.mean(0)).argmax() == labels[i])
    np.testing.assert_array_equal(RidgeProbe(strengths=(strength,))(rows, labels).correct, right)


@pytest.mark.parametrize("dim", [6, 50])
def test_logme_is_the_largest_evidence_there_is(dim):
    """Of y ~ N(0, I / beta + F F^T / alpha), written out for a grid of alpha and beta, averaged over the classes."""
    rows, labels = features(0.8, count=36, dim=dim)
    total = 0.0
    for k in range(3):
        target = (labels == k).astype(float)
        evidences = [
            multivariate_normal(np.zeros(36), np.eye(36) / beta + rows @ rows.T / alpha).logpdf(target)
            for alpha in np.logspace(-1, 4, 51)
            for beta in np.logspace(-1, 3, 41)
        ]
        total += max(evidences) / 36
    assert LogME(iterations=300)(rows, labels).value == pytest.approx(total / 3, abs=2e-3)


def test_the_h_score_of_features_that_are_the_classes_is_their_number_less_one():
    labels = np.arange(3000) % 4
    rows = np.eye(4)[labels][:, :3] + 1e-3 * np.random.default_rng(0).normal(size=(3000, 3))
    assert build_score("h-score")(rows, labels).value == pytest.approx(3, abs=0.05)
    noise = np.random.default_rng(1).normal(size=(3000, 3))
    assert build_score("h-score")(noise, labels).value == pytest.approx(0, abs=0.02)


def test_a_score_of_a_users_own_is_known_by_its_name():
    @SCORES.register_module("spread-for-a-test")
    class Spread(Score):
        def __init__(self, power=1):
            self.power = power

        def __call__(self, features, labels):
            return Scored(float(features.std()) ** self.power)

    try:
        rows, labels = features(1.0)
        found = build_score(dict(type="spread-for-a-test", power=2))(rows, labels)
        assert found == Scored(pytest.approx(rows.std() ** 2))
        with pytest.raises(ConfigError, match="score 'spread-for-a-test' cannot be built"):
            build_score(dict(type="spread-for-a-test", sharpness=1))
    finally:
        SCORES.module_dict.pop("spread-for-a-test")
    with pytest.raises(ConfigError, match="score 'spread-for-a-test' is unknown; use one of h-score, knn, logme"):
        build_score("spread-for-a-test")


@pytest.mark.parametrize("name", NAMES)
def test_features_that_cannot_be_judged_are_refused(name):
    rows, labels = features(1.0)
    score = build_score(name)
    with pytest.raises(DataError, match="two classes"):
        score(rows, np.zeros(90, dtype=int))
    with pytest.raises(DataError, match="do not fit"):
        score(rows, labels[:5])
    rows[3, 2] = np.nan
    with pytest.raises(DataError, match="NaN"):
        score(rows, labels)
