"""Pruning by magnitude keeps the largest weights of all layers together."""

import pytest
import torch
from torch import nn

from mmssl_dynamic.errors import ConfigError
from mmssl_dynamic.models.pruning import num_nonzero, prune_by_magnitude
from tests.helpers import build_sdr


def build():
    return build_sdr(stage_groups=(1, 1, 1, 1)).backbone


def convolutions(net):
    return {name: module.weight.detach() for name, module in net.named_modules() if isinstance(module, nn.Conv2d)}


def test_the_largest_weights_stay_and_the_number_is_exact():
    net = build()
    before = {name: weight.clone() for name, weight in convolutions(net).items()}
    state_keys = list(net.state_dict())
    total = sum(p.numel() for p in net.parameters())
    target = total * 2 // 5
    left = prune_by_magnitude(net, target)
    assert num_nonzero(net) == target
    assert list(net.state_dict()) == state_keys  # any loader still takes it
    kept = torch.cat([before[n][w != 0].abs() for n, w in convolutions(net).items()])
    gone = torch.cat([before[n][w == 0].abs() for n, w in convolutions(net).items()])
    assert kept.min() >= gone.max() > 0
    for name, weight in convolutions(net).items():
        assert torch.equal(weight[weight != 0], before[name][weight != 0])
        assert left[name] == pytest.approx((weight != 0).double().mean().item())


def test_norms_and_biases_are_counted_but_stay():
    net = nn.Sequential(nn.Conv2d(4, 8, 3), nn.BatchNorm2d(8))
    nn.init.constant_(net[1].weight, 1e-6)
    prune_by_magnitude(net, 100)
    assert num_nonzero(net) == 100
    assert (net[0].weight != 0).sum() == 100 - 8 - 16  # bias and norm
    assert (net[1].weight == 1e-6).all()


@pytest.mark.parametrize("count", [0, 24, 312, 1000])
def test_refuses_what_cannot_be_reached(count):
    net = nn.Sequential(nn.Conv2d(4, 8, 3), nn.BatchNorm2d(8))  # 312 parameters, 288 of them prunable
    with pytest.raises(ConfigError, match="of which 24 always stay; give a number between them"):
        prune_by_magnitude(net, count)
    assert num_nonzero(net) == 312
