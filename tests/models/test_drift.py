"""How far paths lie apart that started as copies of one another."""

import pytest
import torch

from mmssl_dynamic.engine import SubnetOptimWrapper
from mmssl_dynamic.models.drift import path_distance
from tests.helpers import samples, views
from tests.models.test_from_plain import base, sdr  # noqa: F401  (a fixture)

PATHS = [f"0-0-{a}-{b}" for a in range(4) for b in range(4)]


def train(model, seed_of, steps=1):
    """A few steps of every path on the batches that ``seed_of`` gives it, as SDR takes them."""
    wrapper = SubnetOptimWrapper(torch.optim.SGD(model.parameters(), lr=0.05))
    for path in PATHS:
        for step in range(steps):
            with wrapper.optim_context(model):
                losses = model.loss(views(seed_of(path) + step), samples(path))
            wrapper.update_params(losses["loss_ssl"])
    return path_distance(model.backbone)


def test_paths_that_start_as_copies_are_equal_and_clusters_drive_them_apart(base):  # noqa: F811
    _, file = base
    model = sdr(file).train()
    model.distillation = None
    assert path_distance(model.backbone) == 0
    assert train(model, lambda path: 10 * PATHS.index(path)) > 1e-3


def test_the_full_networks_steps_keep_copies_equal(base):  # noqa: F811
    """Copies have the same gradient in it; only steps of paths tell them apart."""
    _, file = base
    model = sdr(file).train()
    before = model.backbone.layer4[1].conv2.weight.clone()
    wrapper = SubnetOptimWrapper(torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9, weight_decay=1e-3))
    for seed in range(4):
        with wrapper.optim_context(model):
            losses = model.loss(views(seed), samples("full"))
        wrapper.update_params(losses["loss_ssl"])
    assert not torch.equal(model.backbone.layer4[1].conv2.weight, before)
    assert path_distance(model.backbone) == pytest.approx(0, abs=1e-5)


def test_distance_is_relative_to_the_norm(base):  # noqa: F811
    _, file = base
    model = sdr(file)
    with torch.no_grad():
        for parameter in model.backbone.parameters():
            parameter.mul_(1 + 0.1 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(0)))
    found = path_distance(model.backbone)
    assert 0.01 < found < 0.2
    with torch.no_grad():
        for parameter in model.backbone.parameters():
            parameter.mul_(3)
    assert path_distance(model.backbone) == pytest.approx(found, rel=1e-4)
