"""What timm's own test suite asks of every model of timm, asked of ours."""

import copy

import pytest
import timm
import torch
from timm.layers import set_scriptable
from timm.models import model_entrypoint
from torch import nn
from torch.fx import symbolic_trace
from torchvision.models.feature_extraction import create_feature_extractor, get_graph_node_names

from mmssl_dynamic.export import timm_models

# Smaller than by default, with as many blocks.
SDR = dict(stage_channels=(16, 16, 32, 32), stem_channels=8)
OPTIONS = {
    **{f"mmssl_sdr_resnet{depth}": SDR for depth in (18, 34, 50, 101)},
    "mmssl_slimmable_resnet": dict(channels=((8, 8, 16, 16), (16, 16, 32, 32)), block="bottleneck"),
    "mmssl_slimmable_mobilenetv3_large": dict(subnet="w0.5"),
    "mmssl_slimmable_mobilenetv3_small": dict(subnet="w0.35"),
}
SIZE = 96
model = pytest.mark.parametrize("name", OPTIONS)
# Where it takes long, one of every class and kind of block.
kind = pytest.mark.parametrize(
    "name", ["mmssl_sdr_resnet18", "mmssl_slimmable_resnet", "mmssl_slimmable_mobilenetv3_small"]
)


def create(name, **options):
    torch.manual_seed(0)
    return timm.create_model(name, **OPTIONS[name], **options)


def images(count=2, size=SIZE):
    return torch.randn(count, 3, size, size, generator=torch.Generator().manual_seed(0))


def test_all_registered_models_are_asked():
    assert set(OPTIONS) == set(timm.list_models("mmssl_*"))
    assert {model_entrypoint(name).__module__ for name in OPTIONS} == {timm_models.__name__}


@model
@torch.no_grad()
def test_forward(name):
    net = create(name, num_classes=10).eval()
    outputs = net(images())
    assert outputs.shape == (2, 10)
    assert torch.isfinite(outputs).all()
    assert net(images(1, 128)).shape == (1, 10)


@model
def test_backward_reaches_every_parameter(name):
    net = create(name, num_classes=10).train()
    outputs = net(images())
    outputs.mean().backward()
    for key, parameter in net.named_parameters():
        assert parameter.grad is not None, f"no gradient for {key}"
        assert torch.isfinite(parameter.grad).all()
    assert outputs.shape == (2, 10)


@model
@torch.no_grad()
def test_what_the_default_config_says_is_so(name):
    net = create(name, num_classes=10).eval()
    cfg = net.default_cfg
    inputs = torch.randn(1, *cfg["input_size"])
    features = net.forward_features(inputs)
    assert features.shape[1] == net.num_features
    assert tuple(features.shape[2:]) == cfg["pool_size"]
    assert net.forward_head(features).shape == (1, 10)
    assert net.forward_head(features, pre_logits=True).shape == (1, net.head_hidden_size)
    state = net.state_dict()
    assert f"{cfg['first_conv']}.weight" in state
    assert f"{cfg['classifier']}.weight" in state
    assert net.get_classifier() is net.get_submodule(cfg["classifier"])


@model
@torch.no_grad()
def test_the_head_can_be_changed_and_removed(name):
    net = create(name, num_classes=10).eval()
    features = net.forward_features(images())
    net.reset_classifier(7)
    assert net.num_classes == 7
    assert net(images()).shape == (2, 7)
    net.reset_classifier(0)
    assert isinstance(net.get_classifier(), nn.Identity)
    pooled = net(images())
    assert pooled.shape == (2, net.num_features)
    torch.testing.assert_close(pooled, features.mean((2, 3)))
    net.reset_classifier(0, "")
    assert torch.equal(net(images()), features)
    for options in (dict(num_classes=0), dict(num_classes=0, global_pool="")):
        other = create(name, **options).eval()
        assert other(images()).shape == (pooled.shape if len(options) == 1 else features.shape)
        assert not any(key.startswith(f"{other.default_cfg['classifier']}.") for key in other.state_dict())


@model
@torch.no_grad()
def test_torchscript(name):
    with set_scriptable(True):
        net = create(name, num_classes=10).eval()
    scripted = torch.jit.script(net)
    torch.testing.assert_close(scripted(images()), net(images()))


@kind
@torch.no_grad()
def test_torchscript_without_head(name):
    net = create(name, global_pool="").eval()
    torch.testing.assert_close(torch.jit.script(net)(images()), net(images()))


@kind
@torch.no_grad()
def test_trace(name):
    net = create(name, num_classes=10).eval()
    torch.testing.assert_close(torch.jit.trace(net, images())(images(1)), net(images(1)))


@model
@torch.no_grad()
@pytest.mark.parametrize("options", [{}, dict(feature_cls="getter"), dict(out_indices=(1, 3))], ids=str)
def test_feature_maps_are_as_their_info_says(name, options):
    net = create(name, features_only=True, **options).eval()
    maps = net(images())
    assert len(maps) == len(options.get("out_indices", range(5)))
    for found, channels, reduction in zip(maps, net.feature_info.channels(), net.feature_info.reduction(), strict=True):
        assert found.shape == (2, channels, SIZE // reduction, SIZE // reduction)
        assert torch.isfinite(found).all()


@kind
@torch.no_grad()
def test_intermediates_are_those_of_the_forward_pass(name):
    net = create(name, num_classes=10).eval()
    final, maps = net.forward_intermediates(images())
    torch.testing.assert_close(final, net.forward_features(images()))
    assert [m.shape[1] for m in maps] == [info["num_chs"] for info in net.feature_info]
    assert [SIZE // m.shape[-1] for m in maps] == [info["reduction"] for info in net.feature_info]
    only = net.forward_intermediates(images(), indices=[1, 3], intermediates_only=True)
    assert all(torch.equal(one, maps[i]) for one, i in zip(only, (1, 3), strict=True))
    pruned = copy.deepcopy(net)
    pruned.prune_intermediate_layers([1], prune_head=True)
    assert sum(p.numel() for p in pruned.parameters()) < sum(p.numel() for p in net.parameters())


@kind
@torch.no_grad()
def test_fx(name):
    net = create(name, num_classes=10).eval()
    torch.testing.assert_close(symbolic_trace(net)(images()), net(images()))
    _, nodes = get_graph_node_names(net)
    head = create_feature_extractor(net, return_nodes={nodes[-1]: "out"})
    torch.testing.assert_close(head(images())["out"], net(images()))


@kind
def test_gradient_checkpointing_gives_equal_gradients(name):
    plain = create(name, num_classes=10).train()
    saving = copy.deepcopy(plain)
    saving.set_grad_checkpointing(True)
    for net in (plain, saving):
        net(images()).square().mean().backward()
    for (key, one), other in zip(plain.named_parameters(), saving.parameters(), strict=True):
        torch.testing.assert_close(one.grad, other.grad, rtol=1e-4, atol=1e-6, msg=key)


@kind
@torch.no_grad()
def test_device_and_type_are_those_asked_for(name):
    net = create(name, num_classes=10, dtype=torch.bfloat16)
    assert {p.dtype for p in net.parameters()} == {torch.bfloat16}
    net.reset_classifier(3)
    assert net.eval()(images().bfloat16()).dtype is torch.bfloat16
    with torch.device("meta"):
        net = create(name)
    assert {p.device.type for p in net.parameters()} == {"meta"}


@model
@torch.no_grad()
def test_copies_are_equal(name):
    net = create(name, num_classes=10).eval()
    other = copy.deepcopy(net)
    assert torch.equal(other(images()), net(images()))
    for attribute in dir(net):
        assert hasattr(net, attribute), attribute


@kind
@torch.no_grad()
def test_export(name, torch_export):
    net = create(name, num_classes=10).eval()
    torch.testing.assert_close(torch_export(net, (images(),)).module()(images()), net(images()))
