"""Networks to evaluate equal the sub-networks they come from, and their configs rebuild them."""

import pytest
import torch
from mmpretrain.registry import MODELS

from mmssl_dynamic.errors import ConfigError, MissingStatisticsError, SubnetError
from mmssl_dynamic.features.networks import image_channels, network_names, single_network
from mmssl_dynamic.models.backbones.pretrained import load_backbone_weights
from tests.helpers import randomise

SUPER = {
    "resnet": dict(
        type="mmssl_dynamic.SlimmableResNet",
        channels=[[8, 8, 8, 8], [16, 16, 16, 16]],
        blocks=[[1, 1, 1, 1], [1, 2, 1, 1]],
        norm_cfg=dict(type="SyncBN"),
    ),
    "mobilenet": dict(type="mmssl_dynamic.SlimmableMobileNetV3", arch="small", widths=[0.25, 0.5], switchable_bn="all"),
    "sdr": dict(
        type="mmssl_dynamic.SDRResNet",
        depth=18,
        stage_channels=[8, 8, 16, 16],
        stage_groups=[1, 1, 1, 2],
        stem_channels=4,
    ),
}


@pytest.mark.parametrize("kind", SUPER)
def test_every_network_equals_its_sub_network_and_is_rebuilt_by_its_config(kind, tmp_path):
    torch.manual_seed(0)
    net = randomise(MODELS.build(SUPER[kind]))
    images = torch.randn(2, 3, 64, 64)
    names = network_names(net, None, "unused")
    assert names == list(net.subnets)
    for name in names if kind != "sdr" else ["0-0-0-1"]:
        network = single_network(net, name, SUPER[kind])
        with torch.no_grad(), net.subnet(name):
            expected = net(images)[-1]
        with torch.no_grad():
            torch.testing.assert_close(network.backbone(images)[-1], expected)
        assert network.feature_dim == expected.shape[1]
        torch.save(network.backbone.state_dict(), tmp_path / "backbone.pth")
        again = MODELS.build(network.config)
        load_backbone_weights(again, str(tmp_path / "backbone.pth"))
        with torch.no_grad():
            assert torch.equal(again.eval()(images)[-1], network.backbone(images)[-1])


def test_names_are_those_of_the_space_in_its_order_and_full_is_the_largest():
    net = MODELS.build(SUPER["resnet"])
    small, large = net.subnets[0], net.subnets[-1]
    assert network_names(net, ["full", small, large], "unused") == [small, large]
    with pytest.raises(SubnetError, match="unknown sub-network 'w0.9'"):
        network_names(net, ["w0.9"], "unused")
    with pytest.raises(ConfigError, match="at least one"):
        network_names(net, [], "unused")


def test_a_network_without_statistics_is_refused():
    net = MODELS.build(SUPER["resnet"])
    with pytest.raises(MissingStatisticsError, match=f"sub-network '{net.subnets[0]}' has no BatchNorm statistics"):
        single_network(net, net.subnets[0], SUPER["resnet"])


def test_an_ordinary_backbone_is_one_network():
    options = dict(type="ResNet", depth=18, in_channels=4, norm_cfg=dict(type="SyncBN"), init_cfg=dict(type="Foo"))
    net = MODELS.build(dict(type="mmpretrain.ResNet", depth=18, in_channels=4))
    net.eval()
    assert network_names(net, None, "byol") == ["byol"]
    with pytest.raises(ConfigError, match="without sub-networks, so none can be named w0.5"):
        network_names(net, ["w0.5"], "byol")
    network = single_network(net, "byol", options)
    assert network.config == dict(type="ResNet", depth=18, in_channels=4, norm_cfg=dict(type="BN"))
    assert (network.feature_dim, image_channels(net)) == (512, 4)


def test_fingerprint_and_shape_tell_networks_apart_by_statistics_and_by_cost():
    torch.manual_seed(0)
    net = randomise(MODELS.build(SUPER["sdr"]))
    first, second, full = (single_network(net, name, SUPER["sdr"]) for name in ("0-0-0-0", "0-0-0-1", "full"))
    assert first.shape == second.shape != full.shape
    before = first.inputs()
    assert before["BN statistics"] != second.inputs()["BN statistics"]
    assert before["architecture"] == second.inputs()["architecture"] != full.inputs()["architecture"]
    first.backbone.bn1.running_var.mul_(2)
    assert first.inputs()["BN statistics"] != before["BN statistics"]
    first.backbone.conv1.stride = (1, 1)
    assert first.inputs()["architecture"] != before["architecture"]
