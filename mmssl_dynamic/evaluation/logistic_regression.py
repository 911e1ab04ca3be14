"""Logistic regression on features, by scikit-learn, or by the same optimiser with the arithmetic on a GPU.

Both minimise  mean cross-entropy + |W|^2 / (2 C N)  by SciPy's L-BFGS-B from where the last fit ended, so they take the
same steps but for rounding.

``tol`` is of the *summed* cross-entropy, N times that: so scikit-learn had it before 1.4, and published protocols too.
Taken for the mean, the same number is N times looser, and a search along strengths of regularisation leaves the weights
as they are at a third of the strengths and more.

Two classes are fitted as the softmax that many classes are, whose two rows of weights are both penalised (what
scikit-learn called ``multi_class='multinomial'``). The one row that scikit-learn fits today is its equal at 2 C.

N images, D feature dim, K classes (one row of weights where there are two).
"""

from __future__ import annotations

import warnings
from typing import Protocol

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from scipy.optimize import minimize
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from torch import Tensor

from mmssl_dynamic.errors import ConfigError, DataError

Array = NDArray[np.float64]
Rows = Array | Tensor  # features (N, D), float64; the torch solver holds them on its device


class Solver(Protocol):
    """One classifier that is fitted again and again.

    Attributes:
        classes: (K,) labels, ascending.
        iterations: Of the last fit.
    """

    classes: NDArray
    iterations: int

    def fit(self, features: Rows, labels: NDArray, c: float) -> None:
        """Fit to features (N, D) and labels (N,), from the weights of the last fit if it had the same classes.

        Raises:
            DataError: there is only one class.
        """
        ...

    def decision(self, features: Rows) -> Array:
        """(N, D) -> logits (N, K); of two classes the logit of the second, (N,)."""
        ...


def _classes(labels: NDArray) -> NDArray:
    classes = np.unique(labels)
    if len(classes) < 2:
        raise DataError("logistic regression needs at least two classes among the training images, and here is one.")
    return classes


def predict(solver: Solver, features: Rows) -> NDArray:
    """Likeliest class of each image, (N, D) -> (N,)."""
    logits = solver.decision(features)
    return solver.classes[(logits > 0).astype(int) if logits.ndim == 1 else logits.argmax(axis=1)]


class SklearnSolver:
    """scikit-learn's.

    Args:
        max_iter: Steps of L-BFGS.
        tol: Largest entry of the gradient of the summed loss at which it stops.
    """

    def __init__(self, max_iter: int = 100, tol: float = 1e-4) -> None:
        self.tol = tol
        self._model = LogisticRegression(solver="lbfgs", warm_start=True, max_iter=max_iter)
        self.classes: NDArray = np.empty(0)
        self.iterations = 0

    def fit(self, features: Rows, labels: NDArray, c: float) -> None:
        """See :class:`Solver`."""
        classes = _classes(labels)
        if not np.array_equal(classes, self.classes):
            self._model = LogisticRegression(**self._model.get_params())
        self.classes = classes
        self._model.set_params(C=2 * c if len(classes) == 2 else c, tol=self.tol / len(features))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)  # max_iter is the protocol's
            self._model.fit(features, labels)
        self.iterations = int(np.max(self._model.n_iter_))

    def decision(self, features: Rows) -> Array:
        """See :class:`Solver`."""
        return self._model.decision_function(features)


class TorchSolver:
    """Loss and gradient in torch, float64, on any device that has it.

    Args:
        max_iter: Steps of L-BFGS.
        tol: Largest entry of the gradient of the summed loss at which it stops.
        device: Where the features are held and multiplied.

    Raises:
        ConfigError: the device has no float64.
    """

    def __init__(self, max_iter: int = 100, tol: float = 1e-4, device: torch.device | str = "cpu") -> None:
        self.device = torch.device(device)
        if self.device.type == "mps":
            raise ConfigError("--solver torch needs float64, which 'mps' does not have; use --solver sklearn.")
        self.max_iter, self.tol = max_iter, tol
        self.classes: NDArray = np.empty(0)
        self.iterations = 0
        self._weights = np.empty(0)

    def fit(self, features: Rows, labels: NDArray, c: float) -> None:
        """See :class:`Solver`."""
        classes = _classes(labels)
        x = self.hold(features)
        rows = 1 if len(classes) == 2 else len(classes)
        if not np.array_equal(classes, self.classes):
            self._weights = np.zeros(rows * (x.shape[1] + 1))
        self.classes = classes
        y = torch.from_numpy(np.searchsorted(classes, labels)).to(self.device)
        penalty = 1 / (c * len(x) * (2 if rows == 1 else 1))

        def objective(flat: Array) -> tuple[float, Array]:
            weights = torch.from_numpy(flat).to(self.device).view(rows, -1)
            loss, residual = _loss(_logits(x, weights), y)
            gradient = torch.empty_like(weights)
            gradient[:, :-1] = residual.T @ x + penalty * weights[:, :-1]
            gradient[:, -1] = residual.sum(0)
            loss = loss + penalty / 2 * weights[:, :-1].square().sum()
            return loss.item(), gradient.flatten().cpu().numpy()

        # scikit-learn's values for all that its users cannot choose.
        options = {"maxiter": self.max_iter, "gtol": self.tol / len(x), "maxls": 50, "ftol": 64 * np.finfo(float).eps}
        found = minimize(objective, self._weights, method="L-BFGS-B", jac=True, options=options)
        self._weights = found.x
        self.iterations = min(int(found.nit), self.max_iter)

    def decision(self, features: Rows) -> Array:
        """See :class:`Solver`."""
        rows = 1 if len(self.classes) == 2 else len(self.classes)
        weights = torch.from_numpy(self._weights).to(self.device).view(rows, -1)
        logits = _logits(self.hold(features), weights).cpu().numpy()
        return logits[:, 0] if rows == 1 else logits

    def hold(self, features: Rows) -> Tensor:
        """Features on the solver's device, for several fits; features that are there already stay as they are."""
        rows = features if isinstance(features, Tensor) else torch.from_numpy(features)
        return rows.to(self.device)


def _logits(x: Tensor, weights: Tensor) -> Tensor:
    """(N, D), (K, D + 1) with the bias last -> (N, K)."""
    return torch.addmm(weights[:, -1], x, weights[:, :-1].T)


def _loss(logits: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """Mean cross-entropy and its gradient with respect to the logits (N, K)."""
    if logits.shape[1] == 1:
        truth = y.to(logits.dtype).unsqueeze(1)
        return (F.softplus(logits) - truth * logits).mean(), (logits.sigmoid() - truth) / len(y)
    log_p = logits.log_softmax(1)
    residual = log_p.exp()
    residual[torch.arange(len(y), device=y.device), y] -= 1
    return F.nll_loss(log_p, y), residual / len(y)
