"""Baselines are classified as sub-networks are, kept, and random weights have statistics that fit."""

import pytest
import torch

from mmssl_dynamic.datasets.normalisation import Normalisation
from mmssl_dynamic.downstream.task import Task
from mmssl_dynamic.evaluation import KNNProtocol
from mmssl_dynamic.evaluation.knn import knn_accuracy, leave_one_out_accuracy
from mmssl_dynamic.features.pooling import pooled_features
from mmssl_dynamic.models import StaticResNet
from mmssl_dynamic.routing.baselines import RANDOM, BaselineTask, random_path
from tests.helpers import build_sdr, write_images

NORMALISATION = Normalisation((120.0, 120.0, 120.0), (60.0, 60.0, 60.0), True)
PIPELINE = [dict(type="mmssl_dynamic.LoadImage"), dict(type="PackInputs")]


@pytest.fixture
def measure(tmp_path):
    for part, count in (("train", 16), ("test", 8)):
        write_images(tmp_path / "task" / part, count, seed=len(part))
    task = Task.from_folder(tmp_path / "task", PIPELINE)
    return BaselineTask(task, NORMALISATION, KNNProtocol(k=3), tmp_path / "kept", batch_size=8)


def plain(seed=0):
    torch.manual_seed(seed)
    return StaticResNet(18, (8, 8, 8, 8), 8).eval()


def test_a_baseline_has_the_accuracies_of_its_features(measure):
    network = plain()
    found = measure("SimSiam", network)
    splits = measure.task.splits(NORMALISATION, 8)
    (bank, labels), (queries, truth) = pooled_features(network, splits.train), pooled_features(network, splits.test)
    assert found.select_accuracy == leave_one_out_accuracy(bank, labels, KNNProtocol(k=3))
    assert found.test_accuracy == knn_accuracy(bank, labels, queries, truth, KNNProtocol(k=3))


def test_a_baseline_is_evaluated_again_for_other_weights_or_statistics_alone(measure, monkeypatch):
    calls = []
    original = BaselineTask._accuracies
    monkeypatch.setattr(BaselineTask, "_accuracies", lambda *a: calls.append(1) or original(*a))
    first = measure("SimSiam", plain())
    assert measure("SimSiam", plain()) == first
    assert len(calls) == 1
    measure("SimSiam", plain(seed=1))
    other = plain()
    other.get_buffer("bn1.running_var").mul_(4)
    measure("SimSiam", other)
    assert len(calls) == 3


def test_random_weights_are_those_of_a_path_and_get_statistics_of_the_training_images(measure):
    net = build_sdr().backbone
    state = torch.get_rng_state()
    network = random_path(net)
    assert torch.equal(torch.get_rng_state(), state)
    shapes = {key: value.shape for key, value in net.plain_twin(net.space.paths[0]).state_dict().items()}
    assert {key: value.shape for key, value in network.state_dict().items()} == shapes
    assert all(torch.equal(a, b) for a, b in zip(network.parameters(), random_path(net).parameters()))
    measure(RANDOM, network)
    assert not torch.equal(
        network.get_buffer("bn1.running_mean"), torch.zeros_like(network.get_buffer("bn1.running_mean"))
    )
