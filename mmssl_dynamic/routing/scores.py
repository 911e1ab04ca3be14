"""Scores of a network's features on labelled training images: by which a sub-network can be chosen without a probe.

A score is larger the better the features suit the task. It sees training images alone. Those that are accuracies
classify every image by the others (leave-one-out), in percent, and say which images were right, so that two networks
can be compared image by image.

Another score is a class in a module of your own, and known as ``my_module.MyScore``, or by the name under which it is
registered::

    @SCORES.register_module("my-score")
    class MyScore(Score):
        def __call__(self, features, labels):
            return Scored(float(...))

N images, D feature dim, K classes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mmssl_dynamic.errors import ConfigError, DataError, first_line
from mmssl_dynamic.evaluation.knn import KNNProtocol, knn_predict
from mmssl_dynamic.own_classes import named_class
from mmssl_dynamic.registry import SCORES

KNN = "knn"
Array = NDArray[np.float64]


@dataclass(frozen=True)
class Scored:
    """What a score says of a network.

    Attributes:
        value: Larger is better; of accuracies in percent.
        correct: Whether each image was classified rightly, (N,), of scores that classify.
    """

    value: float
    correct: NDArray[np.bool_] | None = None

    @classmethod
    def of(cls, predicted: NDArray[np.int64], labels: NDArray[np.int64]) -> Scored:
        """An accuracy."""
        correct = predicted == labels
        return cls(100.0 * float(correct.mean()), correct)


class Score:
    """Base of the scores. Options are arguments of the constructor."""

    def __call__(self, features: NDArray[Any], labels: NDArray[np.int64]) -> Scored:
        """Judge features.

        Args:
            features: Pooled, not normalised, (N, D).
            labels: Class indices, (N,).
        """
        raise NotImplementedError


def build_score(config: str | Mapping[str, Any]) -> Score:
    """A score by its name, or by a config with ``type`` and options.

    Args:
        config: ``type`` is a name in :data:`~mmssl_dynamic.registry.SCORES`, or ``module.Class``.

    Raises:
        ConfigError: no score has that name, or it does not take the options.
    """
    options = {"type": config} if isinstance(config, str) else dict(config)
    name = options.pop("type", None)
    kind = named_class(SCORES, str(name), Score)
    try:
        return kind(**options)
    except TypeError as error:
        raise ConfigError(f"score '{name}' cannot be built: {first_line(error)}") from error


@SCORES.register_module(KNN)
class KNNScore(Score):
    """Leave-one-out accuracy of k nearest neighbours, by which SDR routes (SDR Sec. 4.3).

    Args:
        kwargs: Those of :class:`~mmssl_dynamic.evaluation.knn.KNNProtocol`. ``k`` is cut to N - 1.
    """

    def __init__(self, **kwargs: Any) -> None:
        self.protocol = KNNProtocol(**kwargs)

    def __call__(self, features: NDArray[Any], labels: NDArray[np.int64]) -> Scored:
        """See :class:`Score`."""
        features, labels = _checked(features, labels)
        protocol = KNNProtocol(**{**vars(self.protocol), "k": min(self.protocol.k, len(labels) - 1)})
        rows = features.astype(np.float32)
        return Scored.of(knn_predict(rows, labels, rows, protocol, leave_one_out=True).numpy(), labels)


@SCORES.register_module("ncm")
class NearestClassMean(Score):
    """Leave-one-out accuracy of the nearest class mean by cosine, on centred and L2-normalised features."""

    def __call__(self, features: NDArray[Any], labels: NDArray[np.int64]) -> Scored:
        """See :class:`Score`."""
        rows, labels = _checked(features, labels)
        rows = rows - rows.mean(axis=0)
        rows /= np.linalg.norm(rows, axis=1, keepdims=True).clip(1e-12)
        classes, index = np.unique(labels, return_inverse=True)
        sums = np.zeros((len(classes), rows.shape[1]))
        np.add.at(sums, index, rows)
        # The cosine with a mean is that with the sum; an image's own class is judged without it.
        similarity = rows @ sums.T / np.linalg.norm(sums, axis=1).clip(1e-12)  # (N, K)
        own = sums[index] - rows
        size = np.linalg.norm(own, axis=1)
        alone = size < 1e-9  # the only image of its class: nothing is left to be near to
        own_similarity = (rows * own).sum(axis=1) / size.clip(1e-12)
        similarity[np.arange(len(rows)), index] = np.where(alone, -np.inf, own_similarity)
        return Scored.of(classes[similarity.argmax(axis=1)], labels)


@SCORES.register_module("ridge")
class RidgeProbe(Score):
    """Leave-one-out accuracy of a linear probe: ridge regression on one-hot classes, in closed form.

    With the hat matrix H of the regression the prediction for an image by all others is y - (y - Hy) / (1 - H_ii). One
    singular value decomposition serves every strength of regularisation; the one of least squared error is taken.

    Args:
        strengths: Ridge parameters, in units of the mean squared singular value.
    """

    def __init__(self, strengths: tuple[float, ...] = (1e-4, 1e-3, 1e-2, 1e-1, 1.0)) -> None:
        if not strengths or min(strengths) <= 0:
            raise ConfigError(f"strengths={strengths} of the ridge probe must be positive numbers.")
        self.strengths = tuple(strengths)

    def __call__(self, features: NDArray[Any], labels: NDArray[np.int64]) -> Scored:
        """See :class:`Score`."""
        rows, labels = _checked(features, labels)
        classes, index = np.unique(labels, return_inverse=True)
        targets = np.eye(len(classes))[index]  # Y, (N, K)
        scale = rows.std(axis=0)
        rows = (rows - rows.mean(axis=0)) / np.where(scale > 0, scale, 1.0)
        left, singular, _ = np.linalg.svd(rows, full_matrices=False)  # (N, R), (R,)
        power = singular**2
        projected = left.T @ targets
        best, predicted = np.inf, targets
        for strength in self.strengths:
            shrink = power / (power + strength * power.mean())
            # Centring is the regression on a constant, whose part of the hat matrix is 1 / N everywhere.
            fitted = left @ (shrink[:, None] * projected) + targets.mean(axis=0)
            leverage = (left**2 * shrink).sum(axis=1) + 1 / len(rows)
            residual = (targets - fitted) / (1 - leverage).clip(1e-9)[:, None]
            error = float((residual**2).mean())
            if error < best:
                best, predicted = error, targets - residual
        return Scored.of(classes[predicted.argmax(axis=1)], labels)


@SCORES.register_module("logme")
class LogME(Score):
    """Maximum evidence of a Bayesian linear model of each class, per image (You et al., ICML 2021).

    Weights have the prior N(0, 1/alpha), one-hot targets the noise 1/beta; both are set to maximise the evidence.

    Args:
        iterations: Of the fixed point of alpha and beta, at most.
    """

    def __init__(self, iterations: int = 50) -> None:
        self.iterations = iterations

    def __call__(self, features: NDArray[Any], labels: NDArray[np.int64]) -> Scored:
        """See :class:`Score`."""
        rows, labels = _checked(features, labels)
        left, singular, _ = np.linalg.svd(rows, full_matrices=False)
        power = singular**2  # eigenvalues of F^T F; the others, if D > N, are zero
        classes = np.unique(labels)
        total = 0.0
        for label in classes:
            target = (labels == label).astype(np.float64)
            total += self._evidence(left.T @ target, float(target @ target), power, *rows.shape)
        return Scored(total / len(classes))

    def _evidence(self, projected: Array, energy: float, power: Array, n: int, d: int) -> float:
        """Log evidence per image of one target y; ``projected`` is U^T y and ``energy`` |y|^2."""
        outside = max(energy - float(projected @ projected), 0.0)  # of y, orthogonal to all features
        alpha = beta = 1.0
        for _ in range(self.iterations):
            ratio = alpha / beta
            weights = float((power * projected**2 / (power + ratio) ** 2).sum())  # |m|^2
            residual = float((projected**2 * ratio**2 / (power + ratio) ** 2).sum()) + outside  # |y - F m|^2
            gamma = float((power / (power + ratio)).sum())
            alpha, beta = gamma / max(weights, 1e-12), (n - gamma) / max(residual, 1e-12)
            if abs(alpha / beta / ratio - 1) < 1e-4:
                break
        ratio = alpha / beta
        weights = float((power * projected**2 / (power + ratio) ** 2).sum())
        residual = float((projected**2 * ratio**2 / (power + ratio) ** 2).sum()) + outside
        determinant = float(np.log(alpha + beta * power).sum()) + (d - len(power)) * np.log(alpha)
        evidence = n * np.log(beta) + d * np.log(alpha) - n * np.log(2 * np.pi)
        return float(evidence - beta * residual - alpha * weights - determinant) / (2 * n)


@SCORES.register_module("h-score")
class HScore(Score):
    """Trace of cov(F)^-1 cov(E[F | class]) (Bao et al., ICIP 2019), with the covariance shrunk by Ledoit and Wolf.

    Shrinking is Ibrahim et al.'s (2021) remedy for more features than the images can tell apart.
    """

    def __call__(self, features: NDArray[Any], labels: NDArray[np.int64]) -> Scored:
        """See :class:`Score`."""
        from sklearn.covariance import ledoit_wolf

        rows, labels = _checked(features, labels)
        rows = rows - rows.mean(axis=0)
        covariance, shrinkage = ledoit_wolf(rows, assume_centered=True)
        classes, index = np.unique(labels, return_inverse=True)
        means = np.stack([rows[index == k].mean(axis=0) for k in range(len(classes))])[index]
        between = (1 - shrinkage) * means.T @ means / len(rows)
        return Scored(float(np.trace(np.linalg.lstsq(covariance, between, rcond=None)[0])))


def _checked(features: NDArray[Any], labels: NDArray[np.int64]) -> tuple[Array, NDArray[np.int64]]:
    """Features in double precision.

    Raises:
        DataError: features with NaN, labels that do not fit, or fewer than two classes.
    """
    rows, classes = np.asarray(features, dtype=np.float64), np.asarray(labels)
    if rows.ndim != 2 or classes.shape != (len(rows),):
        raise DataError(f"features of shape {rows.shape} and labels of shape {classes.shape} do not fit.")
    if not np.isfinite(rows).all():
        raise DataError(
            "features hold NaN or infinity; check that the weights and BatchNorm statistics of this network are sound."
        )
    if len(np.unique(classes)) < 2:
        raise DataError("a score needs at least two classes among the training images.")
    return rows, classes.astype(np.int64)
