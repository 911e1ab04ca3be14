"""Pooled features: averages over positions, in the order of the images."""

from types import SimpleNamespace

import pytest
import torch
import torchvision
from torch import nn

from mmssl_dynamic.errors import DataError, MissingStatisticsError
from mmssl_dynamic.features import pooled_features
from mmssl_dynamic.models import SDRResNet, StaticResNet


def batches(labels=True):
    images = torch.randn(5, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    classes = torch.tensor([2, 0, 1, 1, 0])
    return [SimpleNamespace(images=x, labels=y if labels else None) for x, y in zip(images.split(2), classes.split(2))]


def test_features_are_the_last_map_averaged_over_positions():
    torch.manual_seed(0)
    net = StaticResNet(18, (4, 4, 8, 8), out_indices=(1, 3)).train()
    features, labels = pooled_features(net, batches())
    assert net.training
    assert features.shape == (5, 8)
    assert labels.tolist() == [2, 0, 1, 1, 0]
    with torch.no_grad():
        expected = [net.eval()(batch.images)[1].mean((2, 3)) for batch in batches()]
    torch.testing.assert_close(features, torch.cat(expected))


def test_models_that_pool_themselves_are_taken_too():
    torch.manual_seed(0)
    net = torchvision.models.resnet18(weights=None)
    net.fc = nn.Identity()
    features, labels = pooled_features(net, batches(labels=False))
    assert features.shape == (5, 512)
    assert labels is None


def test_a_sub_network_needs_statistics_and_a_data_set_images():
    net = SDRResNet(18, stage_channels=(8, 8, 8, 8), stage_groups=(1, 1, 1, 4))
    with pytest.raises(MissingStatisticsError):
        pooled_features(net, batches(), "0-0-0-2")
    with pytest.raises(DataError, match="no images"):
        pooled_features(net, [], "full")
