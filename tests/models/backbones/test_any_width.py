"""Networks of any width (US3L): active, static and calibrated like listed ones, whatever list was trained."""

import pytest
import torch

from mmssl_dynamic.calibration import calibrate_path
from mmssl_dynamic.errors import ArtifactError, ConfigError, SubnetError
from mmssl_dynamic.models import SlimmableMobileNetV3, SlimmableResNet
from mmssl_dynamic.subnets import FULL, SlimmableSpace, space_from_record

RESNET = dict(channels=(0.125, 0.5), blocks=((1, 1, 1, 1),), any_width=True)


def images(count=4):
    return torch.randn(count, 3, 32, 32, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize(
    ("build", "name"),
    [
        (lambda **options: SlimmableResNet(**{**RESNET, **options}), "w0.3-d1111"),
        (lambda **options: SlimmableMobileNetV3("small", (0.25, 0.75), any_width=True, **options), "w0.6"),
    ],
    ids=["resnet", "mobilenet"],
)
def test_a_width_that_nobody_listed_is_calibrated_and_equals_its_static_twin(build, name):
    net = build()
    assert name not in net.subnets
    net.set_bn_statistics(name, calibrate_path(net, name, [images(8)]))
    net.set_bn_statistics(net.space.smallest, calibrate_path(net, net.space.smallest, [images(8)]))
    net.eval()
    with torch.no_grad(), net.subnet(name):
        (features,) = net(images())
    ends = [net.static(end)(images())[-1].shape[1] for end in (net.space.smallest, FULL)]
    assert ends[0] < features.shape[1] < ends[1]
    twin = net.static(name).eval()
    torch.testing.assert_close(twin(images())[-1], features)
    alone = build(subnet=name)
    assert {k: v.shape for k, v in alone.state_dict().items()} == {k: v.shape for k, v in twin.state_dict().items()}


def test_names_between_the_ends_are_networks_and_others_are_not():
    space = SlimmableSpace((0.25, 0.5, 1.0), any_width=True)
    assert space.check("w0.613") == "w0.613"
    assert space.check("w0.5000") == "w0.5"
    assert space.check("w1.000") == FULL
    assert space.member("w0.7") == (0.7, None)
    for name in ("w0.2", "w1.01", "w0.5-d11", "0.5"):
        with pytest.raises(SubnetError, match="any width between 0.25 and 1.0"):
            space.check(name)
    assert space_from_record(space.record()) == space
    with pytest.raises(SubnetError):
        SlimmableSpace((0.25, 0.5, 1.0)).check("w0.613")


def test_weights_load_with_any_list_of_the_same_ends():
    trained = SlimmableResNet(**RESNET)
    listed = SlimmableResNet(**{**RESNET, "channels": (0.125, 0.25, 0.5)})
    listed.load_state_dict(trained.state_dict())
    assert torch.equal(listed.conv1.weight, trained.conv1.weight)
    for other in (SlimmableResNet(**{**RESNET, "channels": (0.25, 0.5)}),):
        with pytest.raises(ArtifactError, match="was trained with the networks"):
            other.load_state_dict(trained.state_dict())
    fixed = SlimmableResNet(**{**RESNET, "channels": (0.125, 0.25, 0.5), "any_width": False})
    with pytest.raises(ArtifactError, match="was trained with the networks"):
        fixed.load_state_dict(trained.state_dict())


def test_any_width_needs_multipliers_and_no_switches():
    with pytest.raises(ConfigError, match="any_width=True needs channels as multipliers"):
        SlimmableResNet(channels=[[8, 8, 8, 8], [8, 8, 8, 16]], any_width=True)
    with pytest.raises(ConfigError, match="any_width=True has networks that are on no list"):
        SlimmableResNet(**RESNET, switchable_bn="all")
