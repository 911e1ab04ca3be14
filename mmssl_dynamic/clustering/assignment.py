"""From centroids to a split: every image to its most similar centroid, and clusters filled up to a least size.

N images, K clusters, D feature dimension.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from tqdm import tqdm

from mmssl_dynamic.errors import ConfigError
from mmssl_dynamic.processes import Processes
from mmssl_dynamic.rows import Rows, chunks, normalise

ASSIGNMENTS = ("argmax", "balanced")
# Scalings of the whole data set: at most so many, and no more once every cluster's mass is this close to 1/K.
_SCALINGS, _PRECISION = 50, 0.01
# Clusters filled up together: each takes one float per image.
_FILL_TOGETHER = 32


def assign(
    rows: Rows,
    centroids: NDArray[np.float32],
    mean: NDArray[np.float32] | None = None,
    device: torch.device | str = "cpu",
    progress: bool = True,
    offsets: NDArray[np.float32] | None = None,
    processes: Processes | None = None,
) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
    """Give every image to argmax S, S = F^T C (SDR Sec. 4.2), read from disk in chunks.

    Args:
        rows: F, (N, D), in memory or memory-mapped.
        centroids: C, (K, D) at unit L2 norm.
        mean: (D,) subtracted before the L2 normalisation, or None.
        device: where scores are computed.
        progress: show a bar.
        offsets: (K,) added to the scores before the choice, as of :func:`balancing_offsets`.
        processes: those that share the chunks out; every one gets the clusters of all images.

    Returns:
        (N,) cluster of every image and (N,) its score there, without the offset.
    """
    weights = torch.from_numpy(centroids).to(device).T
    added = 0.0 if offsets is None else torch.from_numpy(offsets).to(device)
    processes = processes or Processes()
    parts = list(chunks(len(rows), rows.shape[1]))
    own = [parts[index] for index in processes.share(len(parts))]
    images = sum(part.stop - part.start for part in own)
    found: list[tuple[NDArray[np.int32], NDArray[np.float32]]] = []
    with tqdm(total=images, desc="assigning images", unit="img", unit_scale=True, disable=not progress) as bar:
        for part in own:
            scores = torch.from_numpy(normalise(rows[part], mean)).to(device) @ weights  # (n, K)
            index = (scores + added).argmax(dim=1)
            value = scores.gather(1, index[:, None])[:, 0]
            found.append((index.cpu().numpy().astype(np.int32), value.cpu().numpy()))
            bar.update(part.stop - part.start)
    everything = [pair for share in processes.gathered(found) for pair in share]
    return np.concatenate([index for index, _ in everything]), np.concatenate([value for _, value in everything])


def balancing_offsets(
    rows: Rows,
    centroids: NDArray[np.float32],
    epsilon: float,
    mean: NDArray[np.float32] | None = None,
    device: torch.device | str = "cpu",
    progress: bool = True,
    processes: Processes | None = None,
) -> NDArray[np.float32]:
    """What to add to the scores so that argmax is the likeliest cluster of Sinkhorn's U over all images (SDR Eq. 2).

    U = diag(a) exp(S / epsilon) diag(b) with rows of mass 1/N and columns of mass 1/K; in a row the largest entry is
    that of S + epsilon log b. Only b, K numbers, is kept between passes over the features.

    Args:
        rows: F, (N, D), read from disk in chunks, once for each scaling.
        centroids: C, (K, D) at unit L2 norm.
        epsilon: Weight of the entropy.
        mean: (D,) subtracted before the L2 normalisation, or None.
        device: where scores are computed.
        progress: show a bar.
        processes: those that share the chunks out; sums are over all of them, in the order of one process.

    Returns:
        (K,) epsilon log b.
    """
    processes = processes or Processes()
    parts = list(chunks(len(rows), rows.shape[1]))
    own = [parts[index] for index in processes.share(len(parts))]
    weights = torch.from_numpy(centroids).to(device).T
    log_b = torch.zeros(len(centroids), dtype=torch.float64, device=device)
    with tqdm(total=_SCALINGS, desc="balancing clusters", unit="pass", disable=not progress) as bar:
        for _ in range(_SCALINGS):
            masses = []
            for part in own:
                scores = torch.from_numpy(normalise(rows[part], mean)).to(device) @ weights  # (n, K)
                masses.append((scores.double() / epsilon + log_b).softmax(dim=1).sum(dim=0).cpu())
            mass = torch.stack([entry for share in processes.gathered(masses) for entry in share]).sum(dim=0).to(device)
            share = mass * len(centroids) / len(rows)  # 1 where a cluster has its share
            log_b -= share.log()
            bar.update()
            if bool(((share - 1).abs() < _PRECISION).all()):
                break
    return (epsilon * (log_b - log_b.mean())).float().cpu().numpy()


def check_min_size(num_images: int, num_clusters: int, min_size: int) -> None:
    """Raise a ConfigError if K * ``min_size`` exceeds N, or ``min_size`` is negative."""
    if not 0 <= min_size * num_clusters <= num_images:
        raise ConfigError(
            f"--min-size {min_size} needs {min_size * num_clusters} images for {num_clusters} clusters but there are "
            f"{num_images}; use --min-size 0 to {num_images // num_clusters}, or fewer clusters."
        )


def enforce_min_size(
    rows: Rows,
    centroids: NDArray[np.float32],
    assignment: NDArray[np.int32],
    best: NDArray[np.float32],
    min_size: int,
    mean: NDArray[np.float32] | None = None,
) -> tuple[NDArray[np.int32], int]:
    """Fill every cluster up to ``min_size`` images with those that lose least similarity by moving.

    Every cluster must fill a training batch of its sub-network, but argmax S does not keep the balance of U exactly.
    Greedy, in order of the loss S[n, own] - S[n, new]; a cluster gives images only while it stays at ``min_size``,
    and an image moves at most once.

    Args:
        rows: F, (N, D).
        centroids: C, (K, D).
        assignment: (N,) of :func:`assign`.
        best: (N,) scores of :func:`assign`.
        min_size: least images per cluster; 0 changes nothing.
        mean: as in :func:`assign`.

    Returns:
        (N,) new assignment and the number of images moved.

    Raises:
        ConfigError: K * min_size exceeds N.
    """
    num_images, num_clusters = len(rows), len(centroids)
    check_min_size(num_images, num_clusters, min_size)
    result = assignment.copy()
    sizes = np.bincount(assignment, minlength=num_clusters)
    moved = np.zeros(num_images, dtype=bool)
    small = np.flatnonzero(sizes < min_size)
    for start in range(0, len(small), _FILL_TOGETHER):
        group = small[start : start + _FILL_TOGETHER]
        loss = np.empty((num_images, len(group)), dtype=np.float32)
        for part in chunks(num_images, rows.shape[1]):
            loss[part] = best[part, None] - normalise(rows[part], mean) @ centroids[group].T
        for flat in np.argsort(loss, axis=None, kind="stable"):
            image, column = divmod(int(flat), len(group))
            receiver, giver = group[column], result[image]
            if sizes[receiver] >= min_size or sizes[giver] <= min_size or moved[image]:
                continue
            result[image], moved[image] = receiver, True
            sizes[receiver] += 1
            sizes[giver] -= 1
            if (sizes[group] >= min_size).all():
                break
    return result, int(moved.sum())
