from __future__ import annotations

import numpy as np

from mmssl_dynamic.clustering.random_split import random_assignment


def test_sizes_differ_by_one_at_most():
    assert sorted(np.bincount(random_assignment(103, 10, seed=1)).tolist()) == [10] * 7 + [11] * 3


def test_the_split_depends_on_the_seed_and_not_on_the_position():
    first = random_assignment(1000, 4, seed=0)
    np.testing.assert_array_equal(random_assignment(1000, 4, seed=0), first)
    assert (random_assignment(1000, 4, seed=1) != first).mean() > 0.5
    # Every quarter of the file list holds every cluster about equally often.
    assert min(np.bincount(part, minlength=4).min() for part in first.reshape(4, 250)) > 40
