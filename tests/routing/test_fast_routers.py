"""Cluster-guided and halving routers: cheaper, the same figures where they evaluate, and honest about the rest."""

import numpy as np
import pytest
import torch

from mmssl_dynamic.clusters import Clusters
from mmssl_dynamic.errors import ArtifactError, ConfigError
from mmssl_dynamic.features import pooled_features
from mmssl_dynamic.fileio import weights_fingerprint
from mmssl_dynamic.models import StaticResNet
from mmssl_dynamic.routing import ClusterGuidedRouter, KNNRouter, RoutingResult, SuccessiveHalvingRouter
from tests.routing.toy import PROTOCOL

OPTIONS = dict(protocol=PROTOCOL, progress=False)


def base_network(seed):
    torch.manual_seed(seed)
    return StaticResNet(depth=18, stage_channels=(8, 8, 8, 8)).eval()


@pytest.fixture(scope="module")
def base():
    return base_network(3)


@pytest.fixture(scope="module")
def clusters(base, net, splits):
    """Eight clusters around features of training images; 5 and 6 repeat others, so no image is theirs."""
    features, _ = pooled_features(base, splits.train)
    mean = features.numpy().mean(0)
    centroids = features.numpy()[:8] - mean
    centroids[5:7] = centroids[:2]
    centroids /= np.linalg.norm(centroids, axis=1, keepdims=True)
    meta = {"weights_fingerprint": weights_fingerprint(base.state_dict())}
    return Clusters([f"{i}" for i in range(8)], np.arange(8), 8, "sinkhorn", centroids, mean, meta)


@pytest.fixture(scope="module")
def everything(net, bank, splits):
    return KNNRouter(net, bank, **OPTIONS).route(splits)


def same_figures(result, everything):
    return [s for s in everything.subnets if s.name in {x.name for x in result.subnets}] == result.subnets


@pytest.mark.parametrize("bn", ["path", "prefix"])
def test_the_most_hit_clusters_are_the_candidates(net, bank, splits, clusters, base, bn):
    router = ClusterGuidedRouter(net, bank, bn, clusters=clusters, base=base, candidates=3, **OPTIONS)
    result = router.route(splits)
    features, _ = pooled_features(base, splits.train)
    hits = np.bincount(clusters.scores(features.numpy()).argmax(1), minlength=8)
    expected = {net.space.paths[i] for i in np.argsort(-hits, kind="stable")[:3]}
    assert {score.name for score in result.subnets} == expected
    assert result.protocol["cluster_hits"] == {
        net.space.paths[i]: hits[i] for i in sorted(np.argsort(-hits, kind="stable")[:3])
    }
    assert len(result.dropped) == 5
    assert all(drop.select_accuracy is None for drop in result.dropped)
    reference = KNNRouter(net, bank, bn, **OPTIONS).route(splits)
    assert same_figures(result, reference)
    assert result.full == reference.full
    assert result.cost["image_stages"] < reference.cost["image_stages"]
    if bn == "path":
        assert (
            result.cost["image_stages"] == 45 * 4 + 75 * 4 * 4
        )  # the base once, three candidates and the full network


def test_clusters_that_no_image_falls_into_are_no_candidates(net, bank, splits, clusters, base):
    result = ClusterGuidedRouter(net, bank, clusters=clusters, base=base, candidates=8, **OPTIONS).route(splits)
    assert all(result.protocol["cluster_hits"].values())
    assert len(result.subnets) + len(result.dropped) == 8
    assert any("0 of 45" in drop.reason for drop in result.dropped)


def test_halving_ends_with_the_finalists_on_all_images(net, bank, splits, everything):
    router = SuccessiveHalvingRouter(net, bank, factor=2, finalists=2, least_images=10, **OPTIONS)
    result = router.route(splits)
    assert result.protocol["rounds"] == [
        {"subnets": 8, "images": 11},
        {"subnets": 4, "images": 22},
        {"subnets": 2, "images": 45},
    ]
    assert same_figures(result, everything)
    assert result.full == everything.full
    assert [drop.images for drop in result.dropped] == [22, 22, 11, 11, 11, 11]
    names = [score.name for score in result.subnets] + [drop.name for drop in result.dropped]
    assert sorted(names) == sorted(net.space.paths)
    assert result.cost["image_stages"] == 4 * (8 * 11 + 4 * 22 + 3 * 75)
    again = router.route(splits)
    assert (again.subnets, again.dropped) == (result.subnets, result.dropped)


def test_halving_keeps_what_is_best_in_each_round(net, bank, splits):
    router = SuccessiveHalvingRouter(net, bank, factor=4, finalists=2, least_images=20, **OPTIONS)
    result = router.route(splits)
    part = splits.for_selection(1 / 4, 20, seed=0)
    judged = KNNRouter(net, bank, **OPTIONS).route(part)
    assert {score.name for score in result.subnets} == {score.name for score in judged.subnets[:2]}
    assert {drop.name: drop.select_accuracy for drop in result.dropped} == {
        score.name: score.select_accuracy for score in judged.subnets[2:]
    }


def test_few_sub_networks_are_not_halved(net, bank, splits, everything):
    result = SuccessiveHalvingRouter(net, bank, finalists=8, **OPTIONS).route(splits)
    assert (result.subnets, result.dropped) == (everything.subnets, [])


def test_regret_is_measured_against_the_full_ranking(net, bank, splits, everything, clusters, base):
    result = ClusterGuidedRouter(net, bank, clusters=clusters, base=base, candidates=1, **OPTIONS).route(splits)
    best = max(score.test_accuracy for score in everything.subnets)
    assert result.regret(everything) == best - everything.score(result.best.name).test_accuracy
    assert everything.regret() == best - everything.best.test_accuracy
    assert result.regret() == 0
    other = KNNRouter(net, bank, **OPTIONS).route(splits, task="birds")
    with pytest.raises(ArtifactError, match="is of task 'birds'"):
        result.regret(other)


def test_results_of_all_routers_come_back_from_their_files(net, bank, splits, clusters, base, tmp_path):
    for router in (
        ClusterGuidedRouter(net, bank, clusters=clusters, base=base, candidates=2, **OPTIONS),
        SuccessiveHalvingRouter(net, bank, finalists=3, **OPTIONS),
    ):
        result = router.route(splits)
        result.save(tmp_path / "routing.json")
        assert RoutingResult.load(tmp_path / "routing.json") == result
        assert "were not evaluated on all images" in result.table()


def test_bad_input_is_refused(net, bank, splits, clusters, base):
    with pytest.raises(ConfigError, match="candidates=0"):
        ClusterGuidedRouter(net, bank, clusters=clusters, base=base, candidates=0, **OPTIONS)
    with pytest.raises(ConfigError, match="factor=1"):
        SuccessiveHalvingRouter(net, bank, factor=1, **OPTIONS)
    few = Clusters(["a", "b"], np.arange(2), 2, "sinkhorn", np.eye(2, 64, dtype=np.float32))
    with pytest.raises(ArtifactError, match="2 clusters but the network has 8 paths"):
        ClusterGuidedRouter(net, bank, clusters=few, base=base, **OPTIONS)
    random = Clusters([f"{i}" for i in range(8)], np.arange(8), 8, "random")
    with pytest.raises(ArtifactError, match="without centroids"):
        ClusterGuidedRouter(net, bank, clusters=random, base=base, **OPTIONS)
    other = base_network(4)
    with pytest.raises(ArtifactError, match="another network than the base checkpoint"):
        ClusterGuidedRouter(net, bank, clusters=clusters, base=other, **OPTIONS)
