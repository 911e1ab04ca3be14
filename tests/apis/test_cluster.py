"""Clustering by several processes: the first one writes and speaks."""

import numpy as np

from mmssl_dynamic.apis.cluster import ClusterPlan, cluster
from mmssl_dynamic.clusters import Clusters
from mmssl_dynamic.execution import Execution
from mmssl_dynamic.features import Features
from tests.processes import run_together


def test_the_first_process_alone_says_that_there_is_no_montage(tmp_path):
    names = [f"{i}.png" for i in range(8)]
    rows = np.random.default_rng(0).normal(size=(8, 4)).astype(np.float32)
    Features(rows, names, image_root=str(tmp_path / "moved")).save(tmp_path / "F.npy")

    def body(rank):
        how = Execution("cpu", progress=False, launcher="pytorch")
        made = cluster(tmp_path / "F.npy", 2, tmp_path / "c.npz", plan=ClusterPlan(method="random"), execution=how)
        assert bool(made.files) == (rank == 0)

    first, second = run_together(body, tmp_path / "pair")
    assert (first.status, second.status) == (0, 0), first.errors + second.errors
    assert first.output.startswith("no montage: ")
    assert second.output == ""
    assert len(Clusters.load(tmp_path / "c.npz")) == 8
