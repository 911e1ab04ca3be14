"""Routers over paths of several widths: each width has its own cost, and a cluster chooses a path at all of them."""

import numpy as np
import pytest
import torch

from mmssl_dynamic.clusters import Clusters
from mmssl_dynamic.evaluation.complexity import complexity
from mmssl_dynamic.features import pooled_features
from mmssl_dynamic.models import SDRSlimmableResNet, StaticResNet
from mmssl_dynamic.routing import ClusterGuidedRouter, KNNRouter
from tests.routing.toy import PROTOCOL, calibrated

OPTIONS = dict(protocol=PROTOCOL, progress=False)


@pytest.fixture(scope="module")
def net():
    torch.manual_seed(0)
    return SDRSlimmableResNet(18, (8, 8, 12, 16), (1, 1, 1, 4), stem_channels=8, widths=(0.5, 1.0))


@pytest.fixture(scope="module")
def bank(net):
    return calibrated(net)


@pytest.fixture(scope="module")
def everything(net, bank, splits):
    return KNNRouter(net, bank, "prefix", **OPTIONS).route(splits)


def test_all_networks_are_ranked_with_their_own_cost(net, everything):
    assert {score.name for score in everything.subnets} == set(net.space.candidates)
    for score in (*everything.subnets, everything.full):
        cost = complexity(net, score.name, 32)
        assert (score.params, score.macs) == (cost.params, cost.macs), score.name
    one_by_one = 4 * (2 * 4 + 1)
    assert (everything.cost["stage_runs"], everything.cost["stage_runs_one_by_one"]) == (2 * (3 + 4) + 4, one_by_one)


def test_equally_good_networks_are_ranked_the_cheaper_first(everything):
    """Narrow ones come first, and equal ones keep their order."""
    for one, other in zip(everything.subnets, everything.subnets[1:]):
        assert one.ranking > other.ranking or one.macs <= other.macs


def test_features_in_several_passes_give_the_same_ranking(net, bank, splits, everything):
    """With memory for the features of two networks at a time."""
    count = 45 + 30
    memory = 2 * 2 * 4 * count * 10 / 2**30 * 1.01  # half of it for features of ten channels
    router = KNNRouter(net, bank, "prefix", memory_gib=memory, **OPTIONS)
    assert [len(group) for group in router._groups(("full", *net.space.candidates), count)] == [1, 2, 2, 2, 2]
    assert router.route(splits).subnets == everything.subnets


def test_a_name_with_the_whole_width_and_one_without_are_one_network(net, bank, splits, everything):
    router = KNNRouter(net, bank, "prefix", **OPTIONS)
    assert router.ordered(["0-0-0-1@w1.0", "0-0-0-1", "0-0-0-2@w0.5"]) == ["0-0-0-2@w0.5", "0-0-0-1"]


def test_the_paths_whose_clusters_are_hit_most_are_evaluated_at_all_widths(net, bank, splits, everything):
    torch.manual_seed(3)
    base = StaticResNet(depth=18, stage_channels=(8, 8, 8, 8)).eval()
    features, _ = pooled_features(base, splits.train)
    mean = features.numpy().mean(0)
    centroids = features.numpy()[:4] - mean
    centroids /= np.linalg.norm(centroids, axis=1, keepdims=True)
    clusters = Clusters(list("abcd"), np.arange(4), 4, "sinkhorn", centroids, mean)
    hits = np.bincount(clusters.scores(features.numpy()).argmax(1), minlength=4)
    router = ClusterGuidedRouter(net, bank, "prefix", clusters=clusters, base=base, candidates=2, **OPTIONS)
    result = router.route(splits)
    paths = {net.space.paths[i] for i in np.argsort(-hits, kind="stable")[:2]}
    assert {score.name for score in result.subnets} == {n for p in paths for n in net.space.widths_of(p)}
    assert [s for s in everything.subnets if s.name in {x.name for x in result.subnets}] == result.subnets
    assert len(result.dropped) == 4
