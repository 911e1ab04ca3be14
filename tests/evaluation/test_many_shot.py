"""Many-shot transfer: both solvers are scikit-learn's classifier and choose the same C, by the protocol."""

import warnings

import numpy as np
import pytest
from scipy.special import softmax
from sklearn.linear_model import LogisticRegression

from mmssl_dynamic.errors import ConfigError, DataError
from mmssl_dynamic.evaluation.logistic_regression import SklearnSolver, TorchSolver, predict
from mmssl_dynamic.evaluation.many_shot import ManyShotProtocol, many_shot, split_indices

SOLVERS = ["sklearn", "torch"]


def blobs(classes, count=240, dim=10, noise=2.0, seed=0):
    """Features and labels of overlapping classes, so that the regularisation matters."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, classes, count)
    return rng.normal(size=(classes, dim))[labels] + noise * rng.normal(size=(count, dim)), labels


def search(data, solver="sklearn", metric="top1", **options):
    features, labels = data
    cut = 2 * len(features) // 3
    protocol = ManyShotProtocol(solver, **options)
    val = split_indices(cut)
    return many_shot(features[:cut], labels[:cut], val, features[cut:], labels[cut:], metric, protocol)


@pytest.mark.parametrize("classes", [2, 5])
def test_the_torch_solver_is_scikit_learns(classes):
    features, labels = blobs(classes)
    for c in (0.01, 1.0, 100.0):
        ours, theirs = TorchSolver(1000, 1e-8), SklearnSolver(1000, 1e-8)
        for solver in (ours, theirs):
            solver.fit(features, labels, c)
        np.testing.assert_allclose(ours.decision(features), theirs.decision(features), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("solver", [SklearnSolver, TorchSolver])
def test_two_classes_are_fitted_as_many_are(solver):
    # A third class far away, behind a feature of its own, leaves the other two a softmax of two penalised rows.
    features, labels = blobs(2, dim=3)
    away = np.zeros((40, 4))
    away[:, 3] = 1e4
    three = np.concatenate([np.pad(features, ((0, 0), (0, 1))), away])
    both, alone = SklearnSolver(5000, 1e-9), solver(5000, 1e-9)
    both.fit(three, np.concatenate([labels, np.full(40, 2)]), 0.03)
    alone.fit(features, labels, 0.03)
    logits = both.decision(three[:240])
    # The mean loss of the three is over more images; the sum is the same.
    np.testing.assert_allclose(alone.decision(features), logits[:, 1] - logits[:, 0], rtol=0.02, atol=0.01)


@pytest.mark.parametrize("metric", ["top1", "mean_per_class", "map"])
def test_both_solvers_choose_the_same_c_and_test_alike(metric):
    features, labels = blobs(5)
    if metric == "map":
        labels = (np.eye(5)[labels] + np.eye(5)[(labels + features[:, 0].round().astype(int)) % 5]) > 0
    one, other = (search((features, labels), solver, metric) for solver in SOLVERS)
    assert one.weight_decay == other.weight_decay
    assert one.val_score == pytest.approx(other.val_score)
    assert one.metrics == pytest.approx(other.metrics)
    assert one.fits == other.fits == 45
    assert 1e-6 < one.weight_decay < 1e5
    assert set(one.metrics) == ({"map"} if metric == "map" else {"top1", "mean_per_class"})


def test_the_search_is_the_protocols():
    """Written out with scikit-learn alone, as the protocol's authors do."""
    (features, labels), cut = blobs(5, noise=1.5), 160
    indices = list(range(cut))
    np.random.seed(0)
    np.random.shuffle(indices)
    val, train = indices[:32], sorted(indices[32:])  # sums in one order, so that both round alike
    model, best, chosen = LogisticRegression(warm_start=True), 0.0, None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for decay in np.logspace(-6, 5, 45):
            # The protocol's 1e-4 is of the summed loss, which scikit-learn had until 1.4 in place of the mean.
            model.set_params(C=1 / decay, tol=1e-4 / len(train))
            score = model.fit(features[train], labels[train]).score(features[val], labels[val])
            if score > best:
                best, chosen = score, decay
        model.set_params(C=1 / chosen, tol=1e-4 / cut).fit(features[:cut], labels[:cut])
    found = search((features, labels))
    assert sorted(split_indices(cut)) == sorted(val)
    assert found.weight_decay == pytest.approx(chosen)
    assert found.val_score == pytest.approx(100 * best)
    assert found.metrics["top1"] == pytest.approx(100 * model.score(features[cut:], labels[cut:]))


def steepest(features, labels, solver, decay):
    """Largest entry of the gradient of  summed cross-entropy + decay |W|^2 / 2  where a solver stands."""
    weights, bias = (solver._model.coef_, solver._model.intercept_) if hasattr(solver, "_model") else (None, None)
    if weights is None:
        flat = solver._weights.reshape(len(solver.classes), -1)
        weights, bias = flat[:, :-1], flat[:, -1]
    residual = softmax(features @ weights.T + bias, axis=1) - np.eye(len(weights))[labels]
    return max(abs(residual.T @ features + decay * weights).max(), abs(residual.sum(0)).max())


@pytest.mark.parametrize("solver", [SklearnSolver, TorchSolver])
def test_a_fit_stops_where_the_gradient_of_the_summed_loss_is_below_the_tolerance(solver):
    features, labels = blobs(5, count=600)
    tried, moved = solver(), 0
    tried.fit(features, labels, 1e6)
    for decay in ManyShotProtocol().weight_decays:
        before = steepest(features, labels, tried, decay)
        tried.fit(features, labels, 1 / decay)
        assert (tried.iterations > 0) == (before > 1e-4), decay
        assert steepest(features, labels, tried, decay) < 1e-3  # or nothing more is to be had in double precision
        moved += tried.iterations > 0
    assert moved >= 36  # of 45; with 1e-4 for the mean of the losses 25


def test_patience_ends_the_search_and_a_search_without_it_tries_all_values():
    data = blobs(4)
    calls = []
    features, labels = data
    protocol = ManyShotProtocol(patience=3, wd_count=20)
    found = many_shot(
        features, labels, split_indices(240), features, labels, "top1", protocol, on_fit=lambda: calls.append(1)
    )
    assert found.fits < 20
    assert len(calls) == found.fits + 1
    later = [d for d in protocol.weight_decays if d > found.weight_decay]
    assert found.fits == 20 - len(later) + 3


@pytest.mark.parametrize("solver", SOLVERS)
def test_a_class_that_only_the_validation_part_has_is_learned_for_the_test(solver):
    features, labels = blobs(3, noise=0.3)
    labels[:] = np.where(labels == 2, 0, labels)
    features[:6] += 50
    labels[:6] = 2
    test = features[:6] + 1
    protocol = ManyShotProtocol(solver, wd_count=3)
    found = many_shot(features, labels, np.arange(30), test, np.full(6, 2), "top1", protocol)
    assert found.metrics["top1"] == 100


@pytest.mark.parametrize("solver", [SklearnSolver, TorchSolver])
def test_each_fit_goes_on_from_the_last_one(solver):
    features, labels = blobs(4)
    cold, warm = solver(), solver()
    for c in (1.0, 1.01):
        warm.fit(features, labels, c)
    cold.fit(features, labels, 1.01)
    assert warm.iterations < cold.iterations / 2
    assert (predict(warm, features) == predict(cold, features)).all()


def test_what_cannot_be_fitted_is_refused():
    features, labels = blobs(3, count=60)
    with pytest.raises(DataError, match="two classes"):
        search((features, np.zeros(60, int)))
    with pytest.raises(DataError, match="NaN"):
        search((np.where(np.arange(10) == 3, np.nan, features), labels))
    with pytest.raises(DataError, match="no training image shows class 1"):
        search((features, np.stack([labels == 0, labels > 7], 1)), metric="map")
    with pytest.raises(DataError, match="all training images show class 1"):
        search((features, np.stack([labels == 0, labels < 7], 1)), metric="map")
    with pytest.raises(ConfigError, match="does not fit labels"):
        search((features, labels), metric="map")
    with pytest.raises(DataError, match="cannot be split"):
        split_indices(4)
    for options in ({"solver": "liblinear"}, {"patience": 0}, {"val_fraction": 1.0}):
        with pytest.raises(ConfigError):
            ManyShotProtocol(**options)
