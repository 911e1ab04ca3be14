"""Whether a task gains the more the further its domain lies from the other ones of the pool."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from statistics import fmean

import numpy as np
from comparison import Accuracies, domain_of, gains_by_task
from scipy.linalg import sqrtm
from scipy.stats import spearmanr

from mmssl_dynamic.features import Features


def distances(features: np.ndarray, domains: Sequence[str]) -> dict[str, float]:
    """Fréchet distance of each domain's images from all others (Heusel et al., arXiv 1706.08500, Eq. 6).

    Args:
        features: Of the pool's images, (N, D); their length does not count.
        domains: Domain of each image, N.
    """
    rows = features / np.linalg.norm(features, axis=1, keepdims=True)
    names = np.asarray(domains)
    return {str(name): _frechet(rows[names == name], rows[names != name]) for name in np.unique(names)}


def _frechet(one: np.ndarray, other: np.ndarray) -> float:
    means = one.mean(axis=0) - other.mean(axis=0)
    own, others = np.cov(one, rowvar=False), np.cov(other, rowvar=False)
    return float(means @ means + np.trace(own + others - 2 * np.real(sqrtm(own @ others))))


def read_distances(file: Path) -> dict[str, float]:
    """Of features that tools/extract_features.py wrote, whose images lie in a folder for each domain.

    Raises:
        ArtifactError: there are none, or not of this format.
    """
    features = Features.load(file)
    return distances(np.asarray(features.rows), [Path(name).parts[0] for name in features.names])


def rank_correlation(found: Sequence[dict[str, float]], run: Accuracies, baseline: Accuracies) -> float | None:
    """Spearman's, over tasks, of their domains' distance and of what a run gains over another, means over seeds.

    Args:
        found: Distances by domain, for each seed; a task is named after its domain, as ``steel_6cls``.
        run: Accuracies by task and seed.
        baseline: Those of the other run.

    Returns:
        ``None`` for fewer than three tasks.
    """
    gains = gains_by_task(run, baseline, set(run) & set(baseline))
    if len(gains) < 3 or not found:
        return None
    lengths = [fmean(one[domain_of(task)] for one in found) for task in gains]
    return float(spearmanr(lengths, list(gains.values())).statistic)
