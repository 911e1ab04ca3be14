from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.optimize import linprog, minimize
from sklearn.metrics import normalized_mutual_info_score

from mmssl_dynamic.clustering.assignment import assign
from mmssl_dynamic.clustering.sinkhorn import (
    SinkhornOptions,
    learn_prototypes,
    objective,
    sinkhorn,
)
from mmssl_dynamic.errors import ConfigError
from mmssl_dynamic.processes import Processes
from tests.processes import run_together


def random_scores(num_images, num_clusters, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.rand((num_images, num_clusters), generator=generator, dtype=torch.float64) * 2 - 1


@pytest.mark.parametrize(("num_images", "num_clusters"), [(40, 5), (7, 7), (6, 9)])
def test_the_plan_gives_every_image_and_every_cluster_the_same_mass(num_images, num_clusters):
    plan = sinkhorn(random_scores(num_images, num_clusters), epsilon=0.1, iterations=500)
    torch.testing.assert_close(plan.sum(dim=1), torch.full((num_images,), 1 / num_images, dtype=torch.float64))
    torch.testing.assert_close(
        plan.sum(dim=0), torch.full((num_clusters,), 1 / num_clusters, dtype=torch.float64), rtol=1e-5, atol=0
    )


def test_three_iterations_keep_images_exact_and_bring_clusters_close():
    scores = random_scores(2000, 8).float() + torch.linspace(0, 0.3, 8)  # some clusters are nearer to all images
    plan = sinkhorn(scores)
    torch.testing.assert_close(plan.sum(dim=1), torch.full((2000,), 1 / 2000))
    assert (plan.sum(dim=0) * 8 - 1).abs().max() < 0.1
    unbalanced = (scores / 0.05).softmax(dim=1).mean(dim=0)
    assert (unbalanced * 8 - 1).abs().max() > 0.15


def test_the_plan_is_the_maximum_of_eq_2_found_by_a_general_optimiser():
    num_images, num_clusters, epsilon = 6, 3, 0.3
    scores = random_scores(num_images, num_clusters)
    s = scores.numpy().ravel()
    images = np.kron(np.eye(num_images), np.ones((1, num_clusters)))
    clusters = np.kron(np.ones((1, num_images)), np.eye(num_clusters))[:-1]  # the last row follows from the others
    marginals = np.concatenate([np.full(num_images, 1 / num_images), np.full(num_clusters - 1, 1 / num_clusters)])
    found = minimize(
        lambda u: -(u @ s) + epsilon * (u @ np.log(u)),
        np.full(s.size, 1 / s.size),
        jac=lambda u: -s + epsilon * (np.log(u) + 1),
        bounds=[(1e-9, 1)] * s.size,
        constraints={"type": "eq", "fun": lambda u: np.concatenate([images, clusters]) @ u - marginals},
        method="SLSQP",
        options={"ftol": 1e-14, "maxiter": 1000},
    )
    plan = sinkhorn(scores, epsilon, iterations=500)
    np.testing.assert_allclose(plan.numpy().ravel(), found.x, atol=1e-5)
    assert float(objective(plan, scores, epsilon)) == pytest.approx(-found.fun, abs=1e-8)


def test_with_little_entropy_the_plan_reaches_the_optimal_transport_of_a_linear_program():
    num_images, num_clusters = 12, 4
    scores = random_scores(num_images, num_clusters)
    images = np.kron(np.eye(num_images), np.ones((1, num_clusters)))
    clusters = np.kron(np.ones((1, num_images)), np.eye(num_clusters))
    marginals = np.concatenate([np.full(num_images, 1 / num_images), np.full(num_clusters, 1 / num_clusters)])
    best = linprog(-scores.numpy().ravel(), A_eq=np.concatenate([images, clusters]), b_eq=marginals)
    plan = sinkhorn(scores, epsilon=0.002, iterations=5000)
    assert float((plan * scores).sum()) == pytest.approx(-best.fun, abs=1e-3)
    np.testing.assert_allclose(plan.numpy().ravel(), best.x, atol=5e-3)


def test_no_feasible_change_of_the_plan_improves_eq_2():
    scores, epsilon = random_scores(10, 4), 0.05
    plan = sinkhorn(scores, epsilon, iterations=3000)
    best = objective(plan, scores, epsilon)
    generator = torch.Generator().manual_seed(1)
    for _ in range(200):
        # Moving mass round a rectangle keeps all marginals.
        change = torch.zeros_like(plan)
        (i, j), (k, m) = torch.randperm(10, generator=generator)[:2], torch.randperm(4, generator=generator)[:2]
        step = 0.5 * torch.rand(1, generator=generator, dtype=torch.float64) * min(plan[i, k], plan[j, m])
        change[i, k], change[j, m], change[i, m], change[j, k] = -step, -step, step, step
        assert objective(plan + change, scores, epsilon) <= best + 1e-12


def test_extreme_scores_and_half_precision_stay_finite():
    scores = random_scores(50, 6) * 1e4
    assert sinkhorn(scores.float(), epsilon=0.01).isfinite().all()
    half = sinkhorn(random_scores(50, 6).half())
    assert half.dtype == torch.float32
    assert half.isfinite().all()


@pytest.mark.parametrize("common", [0.0, 2.0])
def test_planted_clusters_are_recovered_also_under_a_large_common_part(planted, common):
    rows, labels = planted(common=common)
    mean = rows.mean(axis=0)
    centroids = learn_prototypes(rows, SinkhornOptions(6), mean, progress=False)
    np.testing.assert_allclose(np.linalg.norm(centroids, axis=1), 1, rtol=1e-5)
    assignment, _ = assign(rows, centroids, mean, progress=False)
    assert normalized_mutual_info_score(labels, assignment) > 0.98


def test_the_balance_keeps_clusters_alive_where_sizes_are_uneven(planted):
    rows, labels = planted(900, num_clusters=3, noise=0.6)
    rows = rows[(labels == 0) | (np.arange(900) % 10 == 0)]  # one large group, two small ones
    mean = rows.mean(axis=0)
    smallest = []
    for seed in range(5):  # which of the prototypes begin in the large group is chance
        centroids = learn_prototypes(rows, SinkhornOptions(8, seed=seed), mean, progress=False)
        assignment, _ = assign(rows, centroids, mean, progress=False)
        smallest.append(np.bincount(assignment, minlength=8).min())
    assert min(smallest) > 0
    assert np.median(smallest) > len(rows) / 8 / 4


def test_the_result_depends_on_the_seed_and_not_on_where_the_rows_lie(planted, tmp_path):
    rows, _ = planted(noise=0.8)
    np.save(tmp_path / "rows.npy", rows)
    mapped = np.load(tmp_path / "rows.npy", mmap_mode="r")

    def run(source, seed):
        return learn_prototypes(source, SinkhornOptions(6, epochs=2, seed=seed), progress=False)

    first = run(rows, 0)
    np.testing.assert_array_equal(run(rows, 0), first)
    np.testing.assert_array_equal(run(mapped, 0), first)
    assert np.abs(run(rows, 1) - first).max() > 0.1


def test_a_queue_makes_tiny_batches_as_good_as_large_ones(planted):
    rows, labels = planted(600, num_clusters=12, noise=0.4)
    agreement = {}
    for queue in (0, 256):
        options = SinkhornOptions(12, batch_size=8, queue=queue, epochs=5)
        centroids = learn_prototypes(rows, options, progress=False)
        agreement[queue] = normalized_mutual_info_score(labels, assign(rows, centroids, progress=False)[0])
    # Eight images cannot be shared out evenly over twelve clusters.
    assert agreement[256] > max(0.95, agreement[0])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"epochs": 0}, "epochs=0"),
        ({"batch_size": -1}, "batch_size=-1"),
        ({"queue": -1}, "queue >= 0"),
        ({"momentum": 1.0}, "momentum < 1"),
        ({"temperature": 0.05}, "epsilon=0.05 .* must be below temperature=0.05"),
    ],
)
def test_settings_that_cannot_work_are_refused(changes, message):
    with pytest.raises(ConfigError, match=message):
        SinkhornOptions(4, **changes)


def test_the_plan_is_that_of_one_process_however_its_rows_are_divided(tmp_path):
    scores = random_scores(9, 4)
    plan = sinkhorn(scores, 0.01)
    cuts = [slice(0, 6), slice(6, 6), slice(6, 9)]  # one has no rows

    def body(rank):
        own = sinkhorn(scores[cuts[rank]], 0.01, processes=Processes.now())
        torch.testing.assert_close(own, plan[cuts[rank]], rtol=1e-13, atol=0)

    ends = run_together(body, tmp_path, count=3)
    assert [end.status for end in ends] == [0, 0, 0], ends[0].errors


@pytest.mark.parametrize("queue", [0, 70, 130])
def test_prototypes_of_two_processes_are_those_of_one_but_for_rounding(planted, tmp_path, queue):
    """Batches of 30, a last one of 20 rows, and a queue that ends within a batch."""
    rows, _ = planted(230, num_clusters=4, noise=1.0)
    options = SinkhornOptions(4, epochs=1, batch_size=30, queue=queue, seed=1)
    alone = learn_prototypes(rows, options, progress=False)
    other = learn_prototypes(rows, replace(options, queue=queue + 5), progress=False)
    assert np.abs(other - alone).max() > 1e-3  # five features more or less in the queue are seen here

    def body(rank):
        found = learn_prototypes(rows, options, progress=False, processes=Processes.now())
        np.testing.assert_allclose(found, alone, rtol=0, atol=1e-5)
        np.save(tmp_path / f"{rank}.npy", found)

    ends = run_together(body, tmp_path)
    assert [end.status for end in ends] == [0, 0], ends[0].errors
    assert np.array_equal(*(np.load(tmp_path / f"{rank}.npy") for rank in range(2)))
