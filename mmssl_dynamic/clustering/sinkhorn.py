"""Sinkhorn prototypes: centroids C and balanced soft assignments U optimised in turn (SDR Sec. 4.2, Eq. 2).

The paper follows SwAV on fixed features. Where it is silent we read, with SwAV: features and centroids at unit L2
norm, temperature T = 0.1, epsilon = 0.05, 3 Sinkhorn iterations, mini-batches with the balance taken over the batch
and a queue of the features of recent batches.

Several processes divide the rows of every batch and of the queue, and sum over all of them where the balance does, as
SwAV. What comes of it is that of one process but for the order of sums.

N images, K clusters, D feature dimension, B batch, Q queue.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F
from tqdm import tqdm

from mmssl_dynamic.clustering.seeding import initial_centroids
from mmssl_dynamic.errors import ConfigError
from mmssl_dynamic.processes import Processes
from mmssl_dynamic.rows import Rows, ShuffledBatches, normalise, sample_rows


def sinkhorn(scores: Tensor, epsilon: float = 0.05, iterations: int = 3, processes: Processes | None = None) -> Tensor:
    """U = argmax Tr(U^T S) + epsilon H(U) over the plans that share the images out evenly (SDR Eq. 2).

    U lies in the transportation polytope: every image (row) has mass 1/N and every cluster (column) mass 1/K. The
    maximum has the form diag(a) exp(S / epsilon) diag(b); Sinkhorn-Knopp scales columns and rows in turn. It is done
    on logarithms, so that no epsilon overflows. The rows come last and are exact, the columns approach 1/K.

    Args:
        scores: S, tensor of shape (N, K).
        epsilon: weight of the entropy; smaller is harder.
        iterations: pairs of scalings.
        processes: those that hold a part of the rows each; a part may be empty.

    Returns:
        U, tensor of shape (N, K), float32 at least; its sum is 1. Of several processes, the rows of this one.
    """
    processes = processes or Processes()
    num_images = int(processes.reduced(torch.tensor(len(scores))))
    num_clusters = scores.shape[1]
    log_plan = scores.to(torch.promote_types(scores.dtype, torch.float32)) / epsilon  # (N, K)
    for _ in range(iterations):
        log_plan = log_plan - _columns(log_plan, processes) - math.log(num_clusters)
        log_plan = log_plan - log_plan.logsumexp(dim=1, keepdim=True) - math.log(num_images)
    return log_plan.exp()


def _columns(log_plan: Tensor, processes: Processes) -> Tensor:
    """Logarithms of the sums of columns, (K,), over the rows of all processes."""
    if processes.count == 1:
        return log_plan.logsumexp(dim=0)
    least = log_plan.new_full((1, log_plan.shape[1]), -torch.inf)  # of a process without rows
    top = processes.reduced(torch.cat([log_plan, least]).amax(dim=0), largest=True)
    return top + processes.reduced((log_plan - top).exp().sum(dim=0)).log()


def objective(plan: Tensor, scores: Tensor, epsilon: float) -> Tensor:
    """Tr(U^T S) + epsilon H(U), a scalar, for a plan U and scores S of shape (N, K) (SDR Eq. 2)."""
    return (plan * scores).sum() + epsilon * torch.special.entr(plan).sum()


@dataclass(frozen=True)
class SinkhornOptions:
    """How prototypes are learned.

    Args:
        num_clusters: K.
        epochs: passes over the features.
        lr: step size of SGD on the centroids; see :func:`learn_prototypes`. Decays to 0 along a cosine.
        momentum: of SGD.
        temperature: T of softmax(S / T).
        epsilon: weight of the entropy in Eq. 2.
        iterations: of Sinkhorn-Knopp.
        batch_size: B; None for 1024, or less where that leaves fewer than 8 batches in an epoch.
        queue: Q features of recent batches that take part in the balance, but not in the loss; cut to N - B.
        seed: of initial centroids and of the order of batches.

    Raises:
        ConfigError: a value that cannot work.
    """

    num_clusters: int
    epochs: int = 20
    lr: float = 0.5
    momentum: float = 0.9
    temperature: float = 0.1
    epsilon: float = 0.05
    iterations: int = 3
    batch_size: int | None = None
    queue: int = 3072
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("epochs", "lr", "temperature", "epsilon", "iterations", "batch_size"):
            value = getattr(self, name)
            if value is not None and not value > 0:
                raise ConfigError(f"{name}={value} of the Sinkhorn clustering must be above 0.")
        # Targets U ~ exp(S / epsilon) must be sharper than the predictions softmax(S / T) that learn them. Otherwise
        # SGD makes S ever flatter, and all centroids meet in one point.
        if self.epsilon >= self.temperature:
            raise ConfigError(
                f"epsilon={self.epsilon} of the Sinkhorn clustering must be below temperature={self.temperature}, such "
                f"as {self.temperature / 2}; otherwise the prototypes collapse to one point."
            )
        if self.queue < 0 or not 0 <= self.momentum < 1:
            raise ConfigError("the Sinkhorn clustering needs queue >= 0 and 0 <= momentum < 1.")


def learn_prototypes(
    rows: Rows,
    options: SinkhornOptions,
    mean: NDArray[np.float32] | None = None,
    device: torch.device | str = "cpu",
    progress: bool = True,
    processes: Processes | None = None,
) -> NDArray[np.float32]:
    """Centroids C by SGD on the cross-entropy between U and softmax(S / T), S = F^T C (SDR Sec. 4.2).

    The gradient of a centroid is a sum over the images it takes, about 1/K of a batch, so the step is ``lr * K``:
    the same ``lr`` then fits any number of clusters.

    Args:
        rows: F, (N, D), in memory or memory-mapped; read in shuffled mini-batches.
        options: settings.
        mean: (D,) subtracted before the L2 normalisation, or None.
        device: where the mini-batches are computed.
        progress: show a bar with the loss and the time left.
        processes: those that divide every batch. All read all rows, and all get the centroids.

    Returns:
        (K, D) centroids at unit L2 norm.
    """
    processes = processes or Processes()
    # A small data set needs smaller batches for enough steps; the queue keeps the balance meaningful.
    batch_size = options.batch_size or min(1024, max(len(rows) // 8, 2))
    batches = ShuffledBatches(rows, batch_size, options.seed)
    # Never the same image twice in one balance.
    queue = _Queue(max(0, min(options.queue, len(rows) - batches.batch_size)), rows.shape[1], device)
    num_clusters = options.num_clusters
    start = processes.made_once(lambda: _start(rows, options, mean))
    centroids = torch.from_numpy(start).to(device).requires_grad_()
    optimizer = torch.optim.SGD([centroids], lr=options.lr * num_clusters, momentum=options.momentum)
    steps = options.epochs * len(batches)
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=steps)
    with tqdm(total=steps, desc="Sinkhorn prototypes", unit="batch", disable=not progress) as bar:
        for epoch in range(options.epochs):
            for batch in batches.epoch(epoch):
                own = processes.share(len(batch))
                features = torch.from_numpy(normalise(batch[own.start : own.stop], mean)).to(device)  # (B, D)
                scores = features @ centroids.T  # S, (B, K)
                with torch.no_grad():
                    everything = torch.cat([scores, queue.rows @ centroids.T])  # (B + Q, K)
                    plan = sinkhorn(everything, options.epsilon, options.iterations, processes)  # SDR Eq. 2
                    targets = plan[: len(scores)] * (len(batch) + len(queue))  # rows sum to 1
                loss = F.cross_entropy(scores / options.temperature, targets, reduction="sum") / len(batch)
                optimizer.zero_grad()
                loss.backward()
                assert centroids.grad is not None
                summed = processes.reduced(torch.cat([centroids.grad.flatten(), loss.detach()[None]]))
                centroids.grad.copy_(summed[:-1].view_as(centroids))
                optimizer.step()
                scheduler.step()
                with torch.no_grad():
                    centroids.copy_(F.normalize(centroids, dim=1))
                queue.add(features, own.start, len(batch))
                bar.set_postfix(loss=f"{summed[-1].item():.4f}", refresh=False)
                bar.update()
    return processes.told(centroids.detach().cpu().numpy())  # different machines may round differently


def _start(rows: Rows, options: SinkhornOptions, mean: NDArray[np.float32] | None) -> NDArray[np.float32]:
    """(K, D) centroids to begin with."""
    rng = np.random.default_rng((options.seed, 1))
    sample = normalise(sample_rows(rows, max(64 * options.num_clusters, 4096), rng), mean)
    return initial_centroids(sample, options.num_clusters, options.seed)


class _Queue:
    """The Q latest features, of which every process holds those that it had in their batches.

    Features are queued, not scores: the scores of old features follow the centroids.

    Attributes:
        rows: Those of this process, (q, D).
    """

    def __init__(self, size: int, dim: int, device: torch.device | str) -> None:
        self._size, self._batches = size, list[tuple[int, int, Tensor]]()
        self.rows = torch.empty((0, dim), device=device)

    def __len__(self) -> int:
        """Features of all processes."""
        return sum(count for count, _, _ in self._batches)

    def add(self, features: Tensor, first: int, count: int) -> None:
        """Put a batch in, and the oldest features out.

        Args:
            features: Those of this process.
            first: Position of the first of them in the batch.
            count: Features of the batch.
        """
        left, kept = self._size, list[tuple[int, int, Tensor]]()
        for images, start, rows in [(count, first, features), *self._batches]:
            kept.append((min(images, left), start, rows[: max(0, left - start)]))
            left -= kept[-1][0]
        self._batches = [batch for batch in kept if batch[0]]
        self.rows = torch.cat([rows for _, _, rows in kept])
