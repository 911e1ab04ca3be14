"""Evaluation mode is given back exactly."""

import pytest
import torch
from torch import nn

from mmssl_dynamic.models.eval_mode import eval_mode


def test_every_part_gets_its_own_flag_back_even_after_an_error():
    net = nn.Sequential(nn.BatchNorm1d(2), nn.Sequential(nn.Dropout(), nn.BatchNorm1d(2))).train()
    net[1][1].eval()
    flags = [part.training for part in net.modules()]

    def interrupted():
        with eval_mode(net):
            assert not any(part.training for part in net.modules())
            assert not torch.is_grad_enabled()
            raise RuntimeError("stop")

    with pytest.raises(RuntimeError, match="stop"):
        interrupted()
    assert [part.training for part in net.modules()] == flags
    assert torch.is_grad_enabled()
