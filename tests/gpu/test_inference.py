"""Nearest neighbours and features on a card are those of the CPU."""

import pytest
import torch

from mmssl_dynamic.evaluation import KNNProtocol
from mmssl_dynamic.evaluation.knn import knn_predict
from mmssl_dynamic.features import pooled_features
from mmssl_dynamic.routing.prefix_tree import PathFeatures
from tests.routing.toy import calibrated, split, super_network


@pytest.mark.parametrize("backend", ["torch", "faiss"])
def test_neighbours_of_a_card_are_those_of_the_cpu(device, backend):
    generator = torch.Generator().manual_seed(0)
    centres = 3 * torch.randn(4, 16, generator=generator)
    labels = torch.arange(400) % 4
    rows = centres[labels] + torch.randn(400, 16, generator=generator)
    protocol = KNNProtocol(k=10, backend=backend)
    found = knn_predict(rows[:300], labels[:300], rows[300:], protocol, device)
    expected = knn_predict(rows[:300], labels[:300], rows[300:], KNNProtocol(k=10))
    assert torch.equal(found, expected)
    assert (found == labels[300:]).float().mean() > 0.9


def test_features_of_a_card_are_those_of_the_cpu(device):
    net = super_network()
    bank = calibrated(net)
    bank.apply(net, bn="prefix")
    expected, _ = PathFeatures(net, net.subnets)(split(10, 0))
    moved = super_network().to(device)
    bank.apply(moved, bn="prefix")
    images = split(10, 0)
    for batch in images:
        batch.images = batch.images.to(device)
    found, _ = PathFeatures(moved, moved.subnets)(images)
    for name, rows in expected.items():
        torch.testing.assert_close(found[name], rows, rtol=1e-2, atol=1e-3)
        alone, _ = pooled_features(moved, images, name)
        torch.testing.assert_close(found[name], alone, rtol=1e-2, atol=1e-3)
