"""The control of SDR Table 3: a random split into clusters of equal size."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def random_assignment(num_images: int, num_clusters: int, seed: int = 0) -> NDArray[np.int32]:
    """(N,) clusters drawn at random; sizes differ by one at most."""
    rng = np.random.default_rng(seed)
    return rng.permutation(np.arange(num_images, dtype=np.int32) % num_clusters)
