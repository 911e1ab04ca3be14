from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from mmssl_dynamic.features.feature_file import Features


def make_planted(num_images=600, num_clusters=6, dim=16, noise=0.25, common=0.0, seed=0):
    """Rows around K random directions, sorted by cluster as an image folder would be: rows (N, D), labels (N,)."""
    rng = np.random.default_rng(seed)
    centers = rng.standard_normal((num_clusters, dim))
    centers /= np.linalg.norm(centers, axis=1, keepdims=True)
    labels = np.sort(np.arange(num_images) % num_clusters)
    rows = centers[labels] + noise * rng.standard_normal((num_images, dim)) / np.sqrt(dim)
    return (rows + common).astype(np.float32), labels


@pytest.fixture(autouse=True)
def one_thread():
    """Matrices this small only lose time to threads."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def planted():
    """The function :func:`make_planted`."""
    return make_planted


@pytest.fixture
def features():
    rows, labels = make_planted()
    names = [f"{label}/{i:04d}.png" for i, label in enumerate(labels)]
    return Features(rows, names, labels, [str(i) for i in range(6)], "fingerprint")


@pytest.fixture(scope="session")
def image_folder(tmp_path_factory) -> Path:
    """Three classes of seven images."""
    root = tmp_path_factory.mktemp("images")
    rng = np.random.default_rng(0)
    for label in ("ant", "bee", "cat"):
        (root / label).mkdir()
        for i in range(7):
            Image.fromarray(rng.integers(0, 256, (40, 48, 3), dtype=np.uint8)).save(root / label / f"{i}.png")
    return root
