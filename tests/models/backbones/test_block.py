"""Gradient checkpointing (``with_cp``): less memory, and nothing else is different."""

import copy

import pytest
import torch
from mmpretrain.registry import MODELS as MMPRETRAIN_MODELS
from torch import nn

from mmssl_dynamic.registry import MODELS

SUPER = {
    "sdr": dict(type="SDRResNet", depth=50, stage_channels=(16, 16, 32, 32), stem_channels=8, zero_init_residual=False),
    "resnet": dict(
        type="SlimmableResNet",
        channels=((8,) * 4, (16,) * 4),
        blocks=((1, 1, 1, 1), (1, 2, 1, 1)),
        switchable_bn="statistics",
        zero_init_residual=False,
    ),
    # At the first width two blocks have a shortcut that they lack at the second.
    "mobilenet": dict(type="SlimmableMobileNetV3", arch="small", widths=(0.5, 0.75, 1.0), switchable_bn="all"),
}
STATIC = {
    "StaticResNet": dict(depth=18, stage_channels=(8, 8, 16, 16), stem_channels=8),
    "StaticMobileNetV3": dict(arch="small", width=0.5),
}


def views(seed=1):
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(4, 3, 64, 64, generator=generator) for _ in range(2)]


def build(options, **more):
    torch.manual_seed(0)
    return MODELS.build({**options, "type": f"mmssl_dynamic.{options['type']}", **more}).train()


def sub_networks(net, names):
    """Losses of several sub-networks and views in one graph, as a sandwich step makes it."""
    loss = 0.0
    for name in names:
        with net.subnet(name):
            for view in views():
                loss = loss + sum(y.square().mean() for y in net(view))
    return loss


def assert_same(one, other):
    for (name, parameter), twin in zip(one.named_parameters(), other.parameters(), strict=True):
        assert (parameter.grad is None) == (twin.grad is None), name
        if parameter.grad is not None:
            torch.testing.assert_close(parameter.grad, twin.grad, rtol=1e-4, atol=1e-6, msg=name)
    for (name, buffer), twin in zip(one.named_buffers(), other.buffers(), strict=True):
        assert torch.equal(buffer, twin), name


@pytest.mark.parametrize("key", SUPER)
def test_sub_networks_have_equal_losses_gradients_and_statistics(key):
    """The backward pass comes when none of them is active any more."""
    plain, saving = build(SUPER[key]), build(SUPER[key], with_cp=True)
    names = [plain.subnets[0], plain.subnets[1], "full"]
    losses = [sub_networks(net, names) for net in (plain, saving)]
    assert torch.equal(*losses)
    for loss in losses:
        loss.backward()
    assert saving.active == "full"
    assert any(float(p.grad.abs().max()) > 0 for p in saving.parameters() if p.grad is not None)
    assert_same(plain, saving)
    counts = [b for name, b in saving.named_buffers() if name.endswith("num_batches_tracked")]
    assert counts
    assert all(int(count) == 2 for count in counts)  # two views of the full network


@pytest.mark.parametrize("kind", STATIC)
def test_static_networks_have_equal_outputs_gradients_and_statistics(kind):
    options = dict(type=kind, **STATIC[kind])
    plain, saving = build(options), build(options, with_cp=True)
    for net in (plain, saving):
        loss = sum(y.square().mean() for view in views() for y in net(view))
        loss.backward(retain_graph=True)
        loss.backward()  # computes everything a second time
    assert_same(plain, saving)
    norm = next(m for m in saving.modules() if isinstance(m, nn.BatchNorm2d))
    assert int(norm.num_batches_tracked) == 2
    assert norm.momentum > 0
    with torch.no_grad():
        torch.testing.assert_close(saving.eval()(views()[0]), plain.eval()(views()[0]))


def test_mmpretrains_own_counts_every_batch_twice():
    """Which is why this is not done as there."""
    net = MMPRETRAIN_MODELS.build(dict(type="ResNet", depth=18, with_cp=True, norm_cfg=dict(type="BN")))
    net.train()  # not chained: it returns nothing
    net(views()[0])[0].mean().backward()
    assert {int(m.num_batches_tracked) for m in net.layer2.modules() if isinstance(m, nn.BatchNorm2d)} == {2}


@pytest.mark.parametrize("key", SUPER)
def test_frozen_layers_and_norm_eval_go_with_it(key):
    nets = [build(SUPER[key], frozen_stages=2, norm_eval=True, with_cp=flag) for flag in (False, True)]
    for net in nets:
        net.train()
        sum(y.square().mean() for y in net(views()[0])).backward()
    assert_same(*nets)


def test_the_inside_of_blocks_is_not_kept():
    """Tensors that the backward pass finds, by autograd's own hooks."""

    def kept(net):
        total = 0

        def pack(tensor):
            nonlocal total
            total += tensor.numel()
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
            net(views()[0])
        return total

    plain = build(dict(type="StaticResNet", depth=50, stage_channels=(8, 8, 16, 16), stem_channels=8))
    saving = copy.deepcopy(plain)
    for module in saving.modules():
        if hasattr(module, "with_cp"):
            module.with_cp = True
    assert kept(saving) < kept(plain) / 3


def test_autocast_computes_again_as_it_did():
    nets = [build(SUPER["sdr"], with_cp=flag) for flag in (False, True)]
    for net in nets:
        with torch.autocast("cpu", torch.bfloat16):
            loss = sub_networks(net, [net.subnets[3], "full"])
        loss.backward()
    assert_same(*nets)
