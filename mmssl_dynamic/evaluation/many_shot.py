"""Many-shot transfer: logistic regression whose strength of regularisation is chosen on a validation part.

The protocol of Ericsson, Gouk and Hospedales, "How Well Do Self-Supervised Models Transfer?" (CVPR 2021), by which SDR
measures its Table 1: every weight decay of a grid, ascending, each fit from the weights of the one before; the first
that is best on the validation images; then a fit to training and validation images together, and one test.

N images, D feature dim, K classes.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from mmssl_dynamic.errors import ConfigError, DataError
from mmssl_dynamic.evaluation.logistic_regression import Array, Rows, SklearnSolver, Solver, TorchSolver, predict
from mmssl_dynamic.evaluation.metrics import mean_average_precision, mean_per_class, top1

#: Metrics by name, and what tables call them.
METRICS = {"top1": "top-1", "mean_per_class": "mean per class", "map": "11-point mAP"}
SOLVERS = ("sklearn", "torch")


@dataclass(frozen=True)
class ManyShotProtocol:
    """How to fit and how to choose.

    Args:
        solver: ``'sklearn'``, or ``'torch'`` on the device of the network.
        wd_from, wd_to: Exponents of ten of the smallest and the largest weight decay 1 / C.
        wd_count: Values between them, evenly spaced in the exponent.
        max_iter: Steps of L-BFGS.
        tol: Largest entry of the gradient of the summed loss at which it stops.
        patience: Stop the search after so many values in a row that are not better. All of them are tried when left
            out, as the protocol has it.
        val_fraction: Share of the training images that validates where a data set has no validation images.
        seed: Of the draw of these.
        image_size: Side of the images.

    Raises:
        ConfigError: a value that cannot work.
    """

    solver: str = "sklearn"
    wd_from: float = -6.0
    wd_to: float = 5.0
    wd_count: int = 45
    max_iter: int = 100
    tol: float = 1e-4
    patience: int | None = None
    val_fraction: float = 0.2
    seed: int = 0
    image_size: int = 224

    def __post_init__(self) -> None:
        if self.image_size < 1:
            raise ConfigError(f"--image-size {self.image_size} must be positive.")
        if self.solver not in SOLVERS:
            raise ConfigError(f"unknown solver '{self.solver}'; choose one of {', '.join(SOLVERS)}.")
        if self.patience is not None and self.patience < 1:
            raise ConfigError(f"--patience {self.patience} must be at least 1; leave it out to try all values.")
        if self.wd_count < 1 or self.max_iter < 1 or not 0 < self.val_fraction < 1:
            raise ConfigError("a search needs a value to try, a step to take, and a validation part between 0 and 1.")

    @property
    def weight_decays(self) -> list[float]:
        """Ascending."""
        return np.logspace(self.wd_from, self.wd_to, self.wd_count).tolist()

    def record(self) -> dict[str, Any]:
        """Everything that can change a result."""
        return {
            "kind": "many-shot logistic regression",
            **asdict(self),
            "objective": "summed cross-entropy + |W|^2 / (2 C)",
            "C": "1 / weight decay, warm start along ascending weight decays, first best on validation, refit on "
            "training and validation images",
            "features": "global average pooled, not normalised",
        }


@dataclass(frozen=True)
class ManyShotOutcome:
    """What a search found.

    Attributes:
        weight_decay: The chosen one, 1 / C.
        val_score: Of the metric on the validation images, with this weight decay.
        metrics: On the test images: ``top1`` and ``mean_per_class``, or ``map``.
        fits: Values tried.
        iterations: Steps of the last fit, to training and validation images.
    """

    weight_decay: float
    val_score: float
    metrics: dict[str, float]
    fits: int
    iterations: int


def split_indices(count: int, fraction: float = 0.2, seed: int = 0) -> NDArray[np.int64]:
    """Images that validate: the first ``fraction`` of a shuffled list, as in the protocol's published code.

    Args:
        count: N.
        fraction: Of them.
        seed: Of NumPy's legacy generator, which the published code uses.

    Raises:
        DataError: too few images for a training and a validation part.
    """
    held = int(fraction * count)
    if not 0 < held < count:
        raise DataError(f"{count} training images cannot be split into a training and a validation part.")
    return np.random.RandomState(seed).permutation(count)[:held]


def check_labels(train: NDArray, val: NDArray[np.int64], test: NDArray) -> None:
    """Refuse labels that cannot be learned, or whose metric is not defined, before features are computed.

    Args:
        train: Of training and validation images, (N,) or (N, K).
        val: Positions in ``train`` that validate.
        test: Of the test images.

    Raises:
        DataError: there are fewer than two classes; or a class that no image of a part shows, or all training images.
    """
    fitting = np.delete(train, val, axis=0)
    if train.ndim == 1:
        if len(np.unique(fitting)) < 2:
            raise DataError("logistic regression needs at least two classes among the training images.")
        return
    for part, labels in (("training", fitting), ("validation", train[val]), ("test", test)):
        absent = np.flatnonzero(~labels.any(axis=0))
        if len(absent):
            raise DataError(f"no {part} image shows class {absent[0]}; mAP needs some of every class.")
    if fitting.all(axis=0).any():
        raise DataError(f"all training images show class {np.flatnonzero(fitting.all(axis=0))[0]}.")


def many_shot(
    train: NDArray,
    train_labels: NDArray,
    val: NDArray[np.int64],
    test: NDArray,
    test_labels: NDArray,
    metric: str = "top1",
    protocol: ManyShotProtocol | None = None,
    device: torch.device | str = "cpu",
    on_fit: Callable[[], Any] = lambda: None,
) -> ManyShotOutcome:
    """Choose C on the validation images, fit to all training images, test.

    Args:
        train: Features of training and validation images, (N, D).
        train_labels: Class indices (N,), or of images with several classes whether they show each, (N, K).
        val: Positions in ``train`` that validate.
        test: Features of the test images.
        test_labels: Their labels.
        metric: One of :data:`METRICS` to choose by.
        protocol: Defaults to the paper's.
        device: Of the ``torch`` solver.
        on_fit: Called after each of at most ``wd_count + 1`` fits.

    Raises:
        ConfigError: the metric is not known, or not one for these labels.
        DataError: features with NaN, or labels as in :func:`check_labels`.
    """
    protocol = protocol or ManyShotProtocol()
    if metric not in METRICS or (metric == "map") != (train_labels.ndim == 2):
        raise ConfigError(f"metric '{metric}' does not fit labels of shape {train_labels.shape}.")
    check_labels(train_labels, val, test_labels)
    held_out = np.zeros(len(train), dtype=bool)
    held_out[val] = True
    everything = _doubles(train)
    kind = _MultiLabel if metric == "map" else _SingleLabel
    classifier = kind(protocol, device, train_labels)
    fitting, validating = classifier.hold(everything[~held_out]), classifier.hold(everything[held_out])
    fitting_labels, validating_labels = train_labels[~held_out], train_labels[held_out]
    best, chosen, fits, since = -np.inf, 0.0, 0, 0
    for decay in protocol.weight_decays:
        classifier.fit(fitting, fitting_labels, 1 / decay)
        score = classifier.metrics(validating, validating_labels)[metric]
        fits, since = fits + 1, since + 1
        on_fit()
        if score > best:
            best, chosen, since = score, decay, 0
        if protocol.patience is not None and since >= protocol.patience:
            break
    del fitting, validating
    classifier.fit(classifier.hold(everything), train_labels, 1 / chosen)
    on_fit()
    found = classifier.metrics(classifier.hold(_doubles(test)), test_labels)
    return ManyShotOutcome(chosen, best, found, fits, classifier.iterations)


def _doubles(features: NDArray) -> Array:
    values = np.ascontiguousarray(features, dtype=np.float64)
    if not np.isfinite(values).all():
        raise DataError(
            "features hold NaN or infinity; check that the weights and BatchNorm statistics of this network are sound."
        )
    return values


def _solver(protocol: ManyShotProtocol, device: torch.device | str) -> Solver:
    if protocol.solver == "torch":
        return TorchSolver(protocol.max_iter, protocol.tol, device)
    return SklearnSolver(protocol.max_iter, protocol.tol)


def _hold(solver: Solver, features: Array) -> Rows:
    return solver.hold(features) if isinstance(solver, TorchSolver) else features


class _SingleLabel:
    """One classifier of all classes; labels (N,)."""

    def __init__(self, protocol: ManyShotProtocol, device: torch.device | str, labels: NDArray) -> None:
        self._solver = _solver(protocol, device)

    def hold(self, features: Array) -> Rows:
        return _hold(self._solver, features)

    def fit(self, features: Rows, labels: NDArray, c: float) -> None:
        self._solver.fit(features, labels, c)

    def metrics(self, features: Rows, labels: NDArray) -> dict[str, float]:
        predicted = predict(self._solver, features)
        return {"top1": top1(labels, predicted), "mean_per_class": mean_per_class(labels, predicted)}

    @property
    def iterations(self) -> int:
        return self._solver.iterations


class _MultiLabel:
    """A classifier of each class, for or against; labels (N, K).

    *Reading*: each goes on from its own weights. In the published code all share one set of weights, so that each
    class begins where the class before it ended.
    """

    def __init__(self, protocol: ManyShotProtocol, device: torch.device | str, labels: NDArray) -> None:
        self._solvers = [_solver(protocol, device) for _ in range(labels.shape[1])]

    def hold(self, features: Array) -> Rows:
        return _hold(self._solvers[0], features)

    def fit(self, features: Rows, labels: NDArray, c: float) -> None:
        for k, solver in enumerate(self._solvers):
            solver.fit(features, labels[:, k], c)

    def metrics(self, features: Rows, labels: NDArray) -> dict[str, float]:
        scores = np.stack([solver.decision(features) for solver in self._solvers], axis=1)
        return {"map": mean_average_precision(labels, scores)}

    @property
    def iterations(self) -> int:
        return max(solver.iterations for solver in self._solvers)
