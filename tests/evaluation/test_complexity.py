"""Parameters and multiply-accumulates agree with the figures everybody knows."""

import pytest
import torch
import torchvision

from mmssl_dynamic.errors import ConfigError, SubnetError
from mmssl_dynamic.evaluation import complexity
from mmssl_dynamic.models import SDRResNet, StaticResNet


def test_resnet50_has_its_known_cost():
    known = complexity(torchvision.models.resnet50(weights=None))
    assert round(known.params / 1e6, 2) == 25.56
    assert round(known.macs / 1e9, 2) == 4.09
    backbone = complexity(StaticResNet(50))
    assert backbone.params == known.params - 2048 * 1000 - 1000
    assert backbone.macs == known.macs - 2048 * 1000


def test_sub_networks_cost_what_their_twins_cost_without_any_statistics():
    net = SDRResNet(18, stage_channels=(16, 32, 64, 128), stage_groups=(1, 1, 4, 4)).train()
    for name in ("0-0-3-1", "full"):
        cost = complexity(net, name, 64)
        assert cost.params == net.num_parameters(name)
        assert cost == complexity(net.static(name), size=(64, 64))
    assert net.training
    assert complexity(net, size=64) == complexity(net, "full", 64)
    assert complexity(net, "0-0-0-0", 128).macs == 4 * complexity(net, "0-0-0-0", 64).macs


def test_impossible_questions_are_refused():
    net = SDRResNet(18, stage_channels=(16, 32, 64, 128), stage_groups=(1, 1, 4, 4))
    with pytest.raises(SubnetError):
        complexity(net, "7-7-7-7")
    with pytest.raises(ConfigError, match="positive"):
        complexity(net, "full", 0)
    with pytest.raises(ConfigError, match="no sub-networks"):
        complexity(StaticResNet(18), "0-0-0-0")
    assert complexity(SDRResNet(18, subnet="0-1-2-3"), "0-1-2-3", 32).params > 0


def test_counting_keeps_the_training_mode_of_every_part():
    net = StaticResNet(18, norm_eval=True).train()
    flags = [part.training for part in net.modules()]
    complexity(net, size=32)
    assert [part.training for part in net.modules()] == flags
    assert torch.is_grad_enabled()
