"""Every backbone that can be built does what users of PyTorch expect of a module."""

import copy
import io
import pickle

import pytest
import torch
from mmdet.registry import MODELS as MMDET_MODELS
from mmpretrain.registry import MODELS as MMPRETRAIN_MODELS

from mmssl_dynamic.errors import ConfigError
from mmssl_dynamic.models import StaticNetwork, SuperNetwork
from mmssl_dynamic.registry import MODELS
from tests.helpers import randomise

SUPER = {
    "sdr-basic": dict(type="SDRResNet", depth=18, stage_channels=(16, 16, 32, 32), stem_channels=8),
    "sdr-bottleneck": dict(
        type="SDRResNet", depth=50, stage_channels=(8, 8, 16, 16), stage_groups=(1, 1, 2, 2), stem_channels=4
    ),
    "resnet-basic": dict(type="SlimmableResNet", channels=((8,) * 4, (16,) * 4), blocks=((1, 1, 1, 1), (1, 2, 1, 1))),
    "resnet-bottleneck": dict(
        type="SlimmableResNet", channels=((8,) * 4, (16,) * 4), blocks=((1, 1, 1, 1),), block="bottleneck"
    ),
    "resnet-switchable": dict(
        type="SlimmableResNet", channels=((8,) * 4, (16,) * 4), blocks=((1, 1, 1, 1),), switchable_bn="all"
    ),
    "mobilenet-large": dict(type="SlimmableMobileNetV3", arch="large", widths=(0.25, 0.5)),
    "mobilenet-small": dict(type="SlimmableMobileNetV3", arch="small", widths=(0.25, 0.5), switchable_bn="statistics"),
}
# The smallest network, and the full one.
KINDS = [(key, name) for key in SUPER for name in ("first", "full")]
ALL_OUTPUTS = {"mobilenet-large": (1, 3, 6, 12, 16), "mobilenet-small": (0, 3, 8, 12)}


def images(count=2):
    return torch.randn(count, 3, 64, 64, generator=torch.Generator().manual_seed(1))


def build(key, **options):
    return MODELS.build({**SUPER[key], "type": f"mmssl_dynamic.{SUPER[key]['type']}", **options})


def super_network(key):
    torch.manual_seed(0)
    options = {} if key.startswith("mobilenet") else dict(zero_init_residual=False)
    net = build(key, out_indices=ALL_OUTPUTS.get(key, (0, 1, 2, 3)), **options)
    return randomise(net, [net.subnets[0], "full"])


@pytest.fixture(scope="module", params=KINDS, ids="-".join)
def static(request):
    key, name = request.param
    net = super_network(key)
    return net.static(net.subnets[0] if name == "first" else "full").eval()


def same(found, wanted):
    assert len(found) == len(wanted) > 1
    for one, other in zip(found, wanted):
        assert float(other.std()) > 0
        torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-5 * float(other.abs().max()))


@torch.no_grad()
def test_static_networks_can_be_scripted_saved_and_frozen(static):
    scripted = torch.jit.script(static)
    same(scripted(images()), static(images()))
    file = io.BytesIO()
    torch.jit.save(scripted, file)
    file.seek(0)
    same(torch.jit.load(file)(images(1)), static(images(1)))
    same(torch.jit.freeze(scripted)(images()), static(images()))


def test_a_scripted_network_trains_as_the_network_does(static):
    one, other = copy.deepcopy(static).train(), copy.deepcopy(static).train()
    scripted = torch.jit.script(one)
    for net in (scripted, other):
        sum(y.square().mean() for y in net(images(4))).backward()
    for (name, parameter), twin in zip(one.named_parameters(), other.parameters(), strict=True):
        torch.testing.assert_close(parameter.grad, twin.grad, rtol=1e-3, atol=1e-5, msg=name)
    for (name, buffer), twin in zip(one.named_buffers(), other.buffers(), strict=True):
        torch.testing.assert_close(buffer, twin, msg=name)


@torch.no_grad()
def test_static_networks_can_be_traced_for_any_batch(static):
    traced = torch.jit.trace(static, images())
    same(traced(images(3)), static(images(3)))


@torch.no_grad()
@pytest.mark.parametrize("key", ["sdr-basic", "sdr-bottleneck", "mobilenet-small"])  # one of each kind of blocks
def test_static_networks_can_be_exported_for_any_batch(key, torch_export):
    net = super_network(key)
    static = net.static(net.subnets[0]).eval()
    batch = torch.export.Dim("batch", min=1, max=64)
    program = torch_export(static, (images(),), dynamic_shapes=({0: batch},))
    same(program.module()(images(3)), static(images(3)))


@torch.no_grad()
def test_copies_are_equal_and_deep_ones_independent(static):
    wanted = static(images())
    for other in (copy.copy(static), copy.deepcopy(static), pickle.loads(pickle.dumps(static))):
        assert type(other) is type(static)
        assert other.origin == static.origin
        same(other(images()), wanted)
    deep = copy.deepcopy(static)
    for parameter in deep.parameters():
        parameter.zero_()
    same(static(images()), wanted)


def assert_attributes_can_be_looked_at(net):
    for name in dir(net):
        assert hasattr(net, name), name
    assert not hasattr(net, "no_such_thing")


def test_no_attribute_of_a_static_network_raises(static):
    assert_attributes_can_be_looked_at(static)


@pytest.mark.parametrize("key", SUPER)
def test_super_networks_can_be_copied_traced_and_looked_at(key):
    net = super_network(key)
    assert_attributes_can_be_looked_at(net)
    first = net.subnets[0]
    with torch.no_grad(), net.subnet(first):
        wanted = net(images())
        traced = torch.jit.trace(net, images())
    same(traced(images()), wanted)
    for other in (copy.deepcopy(net), pickle.loads(pickle.dumps(net))):
        assert type(other) is type(net)
        with torch.no_grad(), other.subnet(first):
            same(other(images()), wanted)
            assert (other.active, net.active) == (first, "full")
    with pytest.raises(ConfigError, match=r"script one of them: torch\.jit\.script\(net\.static\(NAME\)\)"):
        torch.jit.script(net)
    assert_attributes_can_be_looked_at(net)


@pytest.mark.parametrize("registry", [MODELS, MMPRETRAIN_MODELS, MMDET_MODELS], ids=["own", "mmpretrain", "mmdet"])
@pytest.mark.parametrize("key", SUPER)
def test_one_registered_name_builds_both_types(key, registry):
    config = {**SUPER[key], "type": f"mmssl_dynamic.{SUPER[key]['type']}"}
    net = registry.build(config)
    name = net.subnets[0]
    alone = registry.build({**config, "subnet": name})
    assert isinstance(net, SuperNetwork)
    assert not isinstance(net, StaticNetwork)
    assert isinstance(alone, StaticNetwork)
    assert not isinstance(alone, SuperNetwork)
    twin = net.static(name)
    assert {k: v.shape for k, v in alone.state_dict().items()} == {k: v.shape for k, v in twin.state_dict().items()}
    assert alone.origin == twin.origin
    # The config that a network gives builds it again.
    again, alone_again = registry.build(net.config()), registry.build(net.config(name))
    assert (again.config(), alone_again.origin) == (net.config(), alone.origin)
    assert type(net)(**{k: v for k, v in SUPER[key].items() if k != "type"}, subnet=None).subnets == net.subnets
