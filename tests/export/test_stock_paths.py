"""With 3/7 of the channels shared a path has the widths of a stock ResNet, and its export is one: no plugin needed."""

import pytest
import timm
import torch
import torchvision

from mmssl_dynamic.fileio import load_state_dict
from mmssl_dynamic.loading import build_backbone, find_config, load_config
from mmssl_dynamic.models import SDRResNet
from tests.helpers import export_subnet, randomise

PATH = "0-0-3-1"
WIDTHS = {(1, 1, 4, 4): (64, 128, 448, 896), (4, 4, 4, 4): (112, 224, 448, 896)}


def images():
    return torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))


def stock_classes(depth, file, keyed):
    """Stock networks of three packages with the weights of an export, and what they give for images."""
    tv = getattr(torchvision.models, f"resnet{depth}")()
    tv.fc = torch.nn.Identity()
    tv.load_state_dict(load_state_dict(file), strict=True)
    yield tv.eval()(images())
    tm = timm.create_model(f"resnet{depth}", num_classes=0)
    tm.load_state_dict(load_state_dict(file), strict=True)
    yield tm.eval()(images())
    from mmdet.models import ResNet as DetectionResNet
    from mmpretrain.models import ResNet

    for kind, prefix in ((ResNet, "backbone."), (DetectionResNet, "")):
        net = kind(depth)
        state = {k.removeprefix("backbone."): v for k, v in load_state_dict(keyed if prefix else file).items()}
        net.load_state_dict(state, strict=True)
        net.eval()
        yield net(images())[-1].mean((2, 3))


@pytest.mark.parametrize(("depth", "groups"), [(18, (1, 1, 4, 4)), (34, (1, 1, 4, 4)), (50, (1, 1, 4, 4))])
def test_an_export_is_a_stock_resnet(tmp_path, depth, groups):
    net = randomise(SDRResNet(depth=depth, stage_groups=groups, shared_ratio=3 / 7), [PATH])
    assert net.stage_channels == WIDTHS[groups]
    with torch.no_grad(), net.subnet(PATH):
        expected = net(images())[0].mean((2, 3))
    export_subnet(net, PATH, tmp_path / "plain.pth", "torchvision")
    export_subnet(net, PATH, tmp_path / "keyed.pth", "mmpretrain")
    with torch.no_grad():
        found = list(stock_classes(depth, tmp_path / "plain.pth", tmp_path / "keyed.pth"))
    assert len(found) == 4
    for features in found:
        torch.testing.assert_close(features, expected, rtol=1e-4, atol=1e-4 * float(expected.abs().max()))


def test_every_path_of_the_custom_configs_has_the_shapes_of_a_stock_resnet():
    for name, depth, split in (
        ("sdr_simsiam_r18_16path_custom", 18, (1, 1, 4, 4)),
        ("sdr_simsiam_r34_16path_custom", 34, (1, 1, 4, 4)),
        ("sdr_simsiam_r50_16path_custom", 50, (1, 1, 4, 4)),
        ("sdr_simsiam_r50_256path_custom", 50, (4, 4, 4, 4)),
    ):
        with torch.device("meta"):
            net = build_backbone(load_config(find_config(f"sdr/{name}.py")))
            stock = getattr(torchvision.models, f"resnet{depth}")()
            twins = [net.plain_twin(path) for path in (net.space.paths[0], net.space.paths[-1])]
        assert (net.stage_channels, net.space.stage_groups) == (WIDTHS[split], split)
        shapes = {k: v.shape for k, v in stock.state_dict().items() if not k.startswith("fc.")}
        for twin in twins:
            assert {k: v.shape for k, v in twin.state_dict().items()} == shapes
