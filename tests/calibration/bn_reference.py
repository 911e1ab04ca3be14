"""torch's own statistics, to compare pooled ones with."""

import copy

import torch
from torch import nn


def images(count, size=16, seed=0):
    return torch.randn(count, 3, size, size, generator=torch.Generator().manual_seed(seed))


def cumulative(module, batch):
    """torch's own statistics of one batch."""
    module = copy.deepcopy(module)
    for part in module.modules():
        if isinstance(part, nn.modules.batchnorm._BatchNorm):
            part.reset_running_stats()
            part.momentum = None
    module.train()(batch)
    return {
        name: (part.running_mean, part.running_var)
        for name, part in module.named_modules()
        if isinstance(part, nn.modules.batchnorm._BatchNorm)
    }


def assert_close(found, expected):
    assert found.keys() == expected.keys()
    for layer in expected:
        for one, other in zip(found[layer], expected[layer]):
            torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-6)
