"""Routing chooses on training images only, and sharing prefixes changes no digit of its result."""

from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch

from mmssl_dynamic.calibration import BNBank
from mmssl_dynamic.downstream import Splits
from mmssl_dynamic.errors import ArtifactError, ConfigError, DataError, MissingStatisticsError, SubnetError
from mmssl_dynamic.evaluation import KNNProtocol, knn_accuracy, leave_one_out_accuracy
from mmssl_dynamic.evaluation.knn import knn_predict
from mmssl_dynamic.features import pooled_features
from mmssl_dynamic.routing import KNNRouter
from mmssl_dynamic.routing.scores import build_score
from tests.routing.toy import PROTOCOL, split, super_network


def route(net, bank, splits, names=None, **options):
    return KNNRouter(net, bank, **{"protocol": PROTOCOL, "progress": False, **options}).route(splits, names)


def scores(result):
    return {s.name: (s.select_accuracy, s.test_accuracy, s.gain_over_full) for s in (*result.subnets, result.full)}


def test_shared_prefixes_and_one_by_one_agree_to_the_last_digit(net, bank, splits):
    shared = route(net, bank, splits, bn="prefix")
    alone = route(net, bank, splits, bn="prefix", share=False)
    assert scores(shared) == scores(alone)
    assert [s.name for s in shared.subnets] == [s.name for s in alone.subnets]
    assert shared.cost["stage_runs"] == 1 + 1 + 2 + 8 + 4
    assert alone.cost["stage_runs"] == shared.cost["stage_runs_one_by_one"] == 4 * 9
    assert len(set(scores(shared).values())) > 1


@pytest.mark.parametrize("bn", ["path", "prefix"])
def test_accuracies_are_those_of_each_sub_network_evaluated_by_hand(net, bank, splits, bn):
    result = route(net, bank, splits, bn=bn)
    for name in ("0-0-0-3", "0-0-1-2", "full"):
        bank.apply(net, [name], bn)
        train, labels = pooled_features(net, splits.train, name)
        test, truth = pooled_features(net, splits.test, name)
        score = result.score(name)
        assert score.select_accuracy == leave_one_out_accuracy(train, labels, PROTOCOL)
        assert score.test_accuracy == knn_accuracy(train, labels, test, truth, PROTOCOL)
        assert score.gain_over_full == score.test_accuracy - result.full.test_accuracy
        assert score.params == net.num_parameters(name)
        assert score.macs > 0
    assert result.full.gain_over_full == 0


@pytest.mark.parametrize("with_val", [False, True])
def test_each_sub_network_is_compared_with_the_full_one_image_by_image(net, bank, splits, with_val):
    splits = replace(splits, val=split(20, 5)) if with_val else splits
    result = route(net, bank, splits)
    right = {}
    for name in ("full", "0-0-1-2"):
        bank.apply(net, [name])
        train, labels = pooled_features(net, splits.train, name)
        if with_val:
            val, truth = pooled_features(net, splits.val, name)
            right[name] = knn_predict(train, labels, val, PROTOCOL) == truth
        else:
            right[name] = knn_predict(train, labels, train, PROTOCOL, leave_one_out=True) == labels
    score = result.score("0-0-1-2")
    assert score.better == int((right["0-0-1-2"] & ~right["full"]).sum())
    assert score.worse == int((~right["0-0-1-2"] & right["full"]).sum())
    assert (result.full.better, result.full.worse) == (0, 0)


@pytest.mark.parametrize("with_val", [False, True])
def test_another_score_ranks_by_the_images_of_the_choice(net, bank, splits, with_val):
    splits = replace(splits, val=split(20, 5)) if with_val else splits
    result = route(net, bank, splits, score=dict(type="ridge", strengths=(0.1,)))
    ridge = build_score(dict(type="ridge", strengths=(0.1,)))
    for name in ("0-0-0-3", "0-0-1-2", "full"):
        bank.apply(net, [name])
        parts = [pooled_features(net, part, name) for part in (splits.train, splits.val) if part is not None]
        rows, labels = (torch.cat(columns).numpy() for columns in zip(*parts))
        assert result.score(name).score == ridge(rows, labels).value
    values = [score.score for score in result.subnets]
    assert values == sorted(values, reverse=True)
    assert result.protocol["selection"] == ("ridge on train and val" if with_val else "ridge on train")
    plain = route(net, bank, splits)
    assert {s.name: s.select_accuracy for s in plain.subnets} == {s.name: s.select_accuracy for s in result.subnets}
    assert [s.name for s in plain.subnets] != [s.name for s in result.subnets]


def test_an_unknown_score_is_refused_before_anything_is_computed(net, bank):
    with pytest.raises(ConfigError, match="score 'magic' is unknown"):
        KNNRouter(net, bank, score="magic")


def test_the_test_images_never_take_part_in_the_choice(net, bank, splits):
    ranking = [s.name for s in route(net, bank, splits).subnets]
    shuffled = [SimpleNamespace(images=b.images, labels=(b.labels + 1) % 3) for b in splits.test]
    other = route(net, bank, replace(splits, test=shuffled))
    assert [s.name for s in other.subnets] == ranking
    assert scores(other) != scores(route(net, bank, splits))
    assert [s.name for s in route(net, bank, replace(splits, test=None)).subnets] == ranking
    selected = [s.select_accuracy for s in other.subnets]
    assert selected == sorted(selected, reverse=True)


def test_a_validation_split_is_chosen_on_where_there_is_one(net, bank, splits):
    val = split(20, 3)
    result = route(net, bank, replace(splits, val=val))
    bank.apply(net)
    name = result.best.name
    train, labels = pooled_features(net, splits.train, name)
    features, truth = pooled_features(net, val, name)
    assert result.best.select_accuracy == knn_accuracy(train, labels, features, truth, PROTOCOL)
    assert result.protocol["selection"].startswith("val")
    assert result.cost["images"] == 45 + 30 + 20


def test_without_test_images_gains_are_those_of_the_selection(net, bank, splits):
    result = route(net, bank, replace(splits, test=None))
    assert result.best.test_accuracy is None
    assert result.best.gain_over_full == result.best.select_accuracy - result.full.select_accuracy
    assert result.protocol["gain_over_full"] == "select accuracy"


def test_little_memory_costs_more_passes_and_changes_nothing(net, bank, splits):
    for bn, runs in (("path", 36), ("prefix", 4 + 2 * (1 + 1 + 1 + 4))):
        plenty = route(net, bank, splits, bn=bn)
        # Room for the features of five sub-networks: two groups of whole sub-trees, four paths each.
        router = KNNRouter(net, bank, bn, PROTOCOL, memory_gib=2 * 5 * 75 * 10 * 4 / 2**30, progress=False)
        groups = router._groups(["full", *net.space.paths], 75)
        assert groups == [["full"], list(net.space.paths[:4]), list(net.space.paths[4:])]
        bounded = router.route(splits)
        assert scores(bounded) == scores(plenty)
        assert bounded.cost["stage_runs"] == runs


def test_some_sub_networks_only(net, bank, splits):
    result = route(net, bank, splits, ["0-0-1-2", "0-0-0-1"], bn="prefix")
    assert {s.name for s in result.subnets} == {"0-0-0-1", "0-0-1-2"}
    assert result.full.name == "full"
    assert route(net, bank, splits, ["full"]).best == result.full


def test_equally_good_sub_networks_keep_the_order_of_their_clusters(net, bank):
    easy = Splits(
        [
            SimpleNamespace(
                images=torch.ones(4, 3, 32, 32) * torch.tensor([0, 0, 5, 5.0]).view(-1, 1, 1, 1),
                labels=torch.tensor([0, 0, 1, 1]),
            )
        ]
    )
    result = KNNRouter(net, bank, protocol=KNNProtocol(k=1), progress=False).route(easy)
    assert {s.select_accuracy for s in result.subnets} == {100.0}
    assert [s.name for s in result.subnets] == list(net.space.paths)


def test_the_result_says_how_it_was_found(net, bank, splits):
    result = KNNRouter(net, bank, "prefix", PROTOCOL, progress=False).route(splits, task="flowers")
    assert result.task == "flowers"
    assert result.weights_fingerprint == bank.fingerprint
    expected = {"k": 5, "temperature": 0.07, "vote": "weighted", "bn": "prefix", "image_size": [32, 32]}
    assert expected.items() <= result.protocol.items()
    assert result.protocol["selection"] == "leave-one-out on train"
    assert "never selected on" in result.protocol["test"]


def test_k_beyond_the_images_is_cut_with_one_warning(net, bank, splits):
    with pytest.warns(UserWarning, match="k=200 is cut") as caught:
        result = KNNRouter(net, bank, progress=False).route(splits)
    assert len(caught) == 1
    assert (result.protocol["k"], result.protocol["k_used"]) == (200, 44)


def test_bad_input_is_refused(net, bank, splits):
    with pytest.raises(ArtifactError, match="other weights"):
        KNNRouter(super_network(1), bank)
    with pytest.raises(ConfigError, match="unknown kind"):
        KNNRouter(net, bank, "own")
    with pytest.raises(ConfigError, match="only be shared with bn='prefix'"):
        KNNRouter(net, bank, "path", share=True)
    with pytest.raises(ConfigError, match="memory_gib"):
        KNNRouter(net, bank, memory_gib=-1)
    with pytest.raises(SubnetError, match="unknown sub-network '9-9-9-9'"):
        route(net, bank, splits, ["9-9-9-9"])
    with pytest.raises(ConfigError, match="at least one"):
        route(net, bank, splits, [])
    with pytest.raises(DataError, match="two classes"):
        route(net, bank, Splits(split(10, 0, classes=1)))
    with pytest.raises(DataError, match="needs test images, and there are none"):
        route(net, bank, Splits(splits.train, []))
    unlabelled = [SimpleNamespace(images=b.images, labels=None) for b in splits.test]
    with pytest.raises(DataError, match="some images of train or test have none"):
        route(net, bank, Splits(splits.train, unlabelled))
    poor = BNBank(bank.fingerprint, bank.space, path=bank.path)
    with pytest.raises(MissingStatisticsError, match="tools/calibrate_bn.py"):
        route(net, poor, splits, bn="prefix")


def test_a_broken_sub_network_is_named(net, bank, splits):
    sick = BNBank(bank.fingerprint, bank.space, path=dict(bank.path))
    sick.path["0-0-1-1"] = {k: (m, v * torch.nan) for k, (m, v) in bank.path["0-0-1-1"].items()}
    with pytest.raises(DataError, match="sub-network '0-0-1-1': features hold NaN"):
        route(net, sick, splits)
