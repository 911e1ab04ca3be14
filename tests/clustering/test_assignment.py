from __future__ import annotations

import numpy as np
import pytest
import torch

from mmssl_dynamic.clustering import assignment as assigning
from mmssl_dynamic.clustering.assignment import assign, balancing_offsets, enforce_min_size
from mmssl_dynamic.clustering.sinkhorn import sinkhorn
from mmssl_dynamic.errors import ConfigError
from mmssl_dynamic.processes import Processes
from mmssl_dynamic.rows import chunks, normalise
from tests.processes import run_together


@pytest.fixture
def case(planted):
    """Rows near one centroid more than others, with the argmax assignment."""
    rows, _ = planted(200, num_clusters=4, noise=0.5)
    centroids = normalise(np.random.default_rng(5).standard_normal((10, rows.shape[1])).astype(np.float32))
    return rows, centroids, *assign(rows, centroids, progress=False)


def test_every_image_goes_to_its_most_similar_centroid(case):
    rows, centroids, assignment, best = case
    scores = normalise(rows) @ centroids.T
    np.testing.assert_array_equal(assignment, scores.argmax(axis=1))
    np.testing.assert_allclose(best, scores.max(axis=1), rtol=1e-5)
    assert assignment.dtype == np.int32


def test_small_clusters_are_filled_and_no_other_falls_below_the_least_size(case):
    rows, centroids, assignment, best = case
    assert np.bincount(assignment, minlength=10).min() < 15
    filled, moved = enforce_min_size(rows, centroids, assignment, best, 15)
    assert np.bincount(filled, minlength=10).min() == 15
    assert moved == (filled != assignment).sum() > 0
    lacking = np.maximum(15 - np.bincount(assignment, minlength=10), 0).sum()
    assert moved == lacking  # no more than needed


def test_the_images_moved_are_those_that_lose_least(case):
    rows, centroids, assignment, best = case
    smallest = int(np.bincount(assignment, minlength=10).argmin())
    size = int(np.bincount(assignment, minlength=10)[smallest])
    others = np.bincount(assignment, minlength=10)
    others[smallest] = 200
    least = size + 1
    assert others.min() >= least, "the case must have one smallest cluster"
    filled, moved = enforce_min_size(rows, centroids, assignment, best, least)
    loss = best - normalise(rows) @ centroids[smallest]
    givers = np.bincount(assignment, minlength=10)[assignment] > least
    candidates = np.flatnonzero(givers & (assignment != smallest))
    assert moved == 1
    assert np.flatnonzero(filled != assignment) == candidates[loss[candidates].argmin()]


def test_perfect_balance_can_be_enforced(case):
    rows, centroids, assignment, best = case
    filled, _ = enforce_min_size(rows, centroids, assignment, best, 20)
    assert np.bincount(filled).tolist() == [20] * 10


def test_zero_changes_nothing_and_too_much_is_refused_with_the_largest_possible_value(case):
    rows, centroids, assignment, best = case
    filled, moved = enforce_min_size(rows, centroids, assignment, best, 0)
    np.testing.assert_array_equal(filled, assignment)
    assert moved == 0
    with pytest.raises(ConfigError, match="use --min-size 0 to 20, or fewer clusters"):
        enforce_min_size(rows, centroids, assignment, best, 21)


def test_balanced_assignment_is_the_likeliest_cluster_of_sinkhorns_plan_over_all_images(case):
    rows, centroids, assignment, _ = case
    offsets = balancing_offsets(rows, centroids, epsilon=0.05, progress=False)
    balanced, best = assign(rows, centroids, progress=False, offsets=offsets)
    scores = normalise(rows) @ centroids.T
    plan = sinkhorn(torch.from_numpy(scores).double(), epsilon=0.05, iterations=500)
    assert (balanced == plan.argmax(dim=1).numpy()).mean() > 0.98  # but for images between two clusters
    np.testing.assert_allclose(best, scores[np.arange(len(rows)), balanced], rtol=1e-5)
    spread = [np.bincount(a, minlength=10).std() for a in (assignment, balanced)]
    assert spread[1] < spread[0] / 3


def test_offsets_of_balanced_scores_are_none():
    rows = np.repeat(np.eye(4, dtype=np.float32), 25, axis=0)
    np.testing.assert_allclose(balancing_offsets(rows, np.eye(4, dtype=np.float32), 0.05, progress=False), 0, atol=1e-6)


def test_processes_share_out_chunks_and_find_what_one_finds_to_the_last_bit(case, tmp_path, monkeypatch):
    rows, centroids = case[:2]
    monkeypatch.setattr(assigning, "chunks", lambda count, dim: chunks(count, dim, chunk_bytes=28 * 4 * dim))
    offsets = balancing_offsets(rows, centroids, 0.05, progress=False)
    alone = assign(rows, centroids, progress=False, offsets=offsets)
    assert np.abs(offsets).max() > 0.01

    def body(rank):
        processes = Processes.now()
        found = balancing_offsets(rows, centroids, 0.05, progress=False, processes=processes)
        assert np.array_equal(found, offsets)
        found = assign(rows, centroids, progress=False, offsets=offsets, processes=processes)
        assert all(map(np.array_equal, found, alone))

    ends = run_together(body, tmp_path, count=3)  # of eight chunks
    assert [end.status for end in ends] == [0, 0, 0], ends[0].errors
