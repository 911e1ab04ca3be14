"""Sub-networks of slimmable super-networks are stock networks: other projects' classes compute the same with them."""

import pytest
import timm
import torch
import torchvision
from mmpretrain.models import MobileNetV3, ResNet
from torch import nn
from torchvision.models.resnet import BasicBlock, Bottleneck

from mmssl_dynamic.export import find_format
from mmssl_dynamic.export.static_export import source_of
from mmssl_dynamic.models import SlimmableMobileNetV3, SlimmableResNet
from mmssl_dynamic.models.backbones.slimmable import make_divisible
from tests.helpers import IMAGES, randomise

FIVE = (0.5, 0.75, 1.0, 1.25, 1.5)
THREE = (0.5, 1.0, 1.5)
ELEVEN = (0.5, 0.6, 0.7, 0.8, 0.9, 1.0, 1.1, 1.2, 1.3, 1.4, 1.5)
SWITCHES = [
    *[(arch, FIVE, width) for arch in ("large", "small") for width in FIVE],
    *[(arch, THREE, width) for arch, width in (("large", 1.0), ("small", 0.5))],
    *[(arch, ELEVEN, width) for arch, width in (("large", 0.6), ("large", 1.1), ("small", 0.9), ("small", 1.4))],
]


@pytest.fixture(scope="module")
def build():
    """Super-networks by class and options, each built once."""
    built = {}

    def get(kind, name, **options):
        key = (kind, tuple(sorted(options.items())))
        if key not in built:
            torch.manual_seed(0)
            built[key] = kind(**options)
        return randomise(built[key], [name])

    return get


def images(size=48):
    return torch.randn(2, 3, size, size, generator=torch.Generator().manual_seed(3))


def twin_features(net, name):
    """Pooled features (N, C) of the static twin."""
    with torch.no_grad():
        return net.static(name).eval()(images())[-1].mean((2, 3))


def features(model, weights):
    """Features of a stock model with exported weights, strictly loaded; maps are pooled."""
    model.load_state_dict(weights, strict=True)
    model.eval()  # not chained: mmpretrain's ResNet returns nothing here
    with torch.no_grad():
        out = model(images())
    out = out[-1] if isinstance(out, tuple | list) else out
    return out.mean((2, 3)) if out.ndim == 4 else out


def exported(net, name, format):
    """What an export in this format writes; tests/export follows it through files."""
    return find_format(format).tensors(source_of(net, name, IMAGES))


def same(found, expected):
    """Equal but for rounding, on a scale on which the features differ from image to image."""
    scale = float(expected.abs().max())
    assert float((expected[0] - expected[1]).abs().max()) > 0.01 * scale
    torch.testing.assert_close(found, expected, rtol=0, atol=2e-6 * scale)


@pytest.mark.parametrize(("arch", "widths", "width"), SWITCHES)
def test_every_switch_is_torchvisions_mobilenet_v3_of_its_width(build, arch, widths, width):
    name = f"w{width}"
    net = build(SlimmableMobileNetV3, name, arch=arch, widths=widths)
    stock = getattr(torchvision.models, f"mobilenet_v3_{arch}")(width_mult=width)
    stock.classifier = nn.Identity()
    same(features(stock, exported(net, name, "torchvision")), twin_features(net, name))


@pytest.mark.parametrize("arch", ["large", "small"])
def test_width_one_is_timms_and_mmpretrains_mobilenet_v3(build, arch):
    net = build(SlimmableMobileNetV3, "w1.0", arch=arch, widths=FIVE)
    expected = twin_features(net, "w1.0")
    weights = exported(net, "w1.0", "timm")
    stock = timm.create_model(f"mobilenetv3_{arch}_100", num_classes=0)
    stock.conv_head = stock.act2 = nn.Identity()
    same(features(stock, weights), expected)
    # The strict ways that need no change of the model, and what a model with classifier lacks.
    same(features(timm.create_model(f"mobilenetv3_{arch}_100", features_only=True), weights), expected)
    lacking = timm.create_model(f"mobilenetv3_{arch}_100", num_classes=2).load_state_dict(weights, strict=False)
    assert {key.split(".")[0] for key in lacking.missing_keys} == {"conv_head", "classifier"}
    assert not lacking.unexpected_keys

    plain = exported(net, "w1.0", "mmdet")
    same(features(MobileNetV3(arch), plain), expected)


@pytest.mark.parametrize(
    ("arch", "width", "name"),
    [("large", 0.75, "large_075"), ("small", 0.75, "small_075"), ("small", 0.5, "small_050")],
)
def test_narrow_models_of_timm_and_mmpretrain_have_other_channels(arch, width, name):
    """Which is why such a width is exported for timm's class and not for its model of this name."""
    twin = SlimmableMobileNetV3(arch, FIVE, subnet=f"w{width}")
    shapes = [value.shape for value in twin.state_dict().values()]
    stock = timm.create_model(f"mobilenetv3_{name}", features_only=True)
    assert [value.shape for value in stock.state_dict().values()] != shapes
    if name in MobileNetV3.arch_settings:
        assert [value.shape for value in MobileNetV3(name).state_dict().values()] != shapes


RESNETS = [(width, blocks) for width in (1.0, 1.25) for blocks in ((2, 2, 2, 2), (3, 3, 4, 3), (3, 4, 6, 3))]


def resnet_of_torchvision(kind, width, blocks):
    """torchvision's class with stages of its own builder, as its constructor knows the stock widths alone."""
    stages = [make_divisible(base * width) for base in (64, 128, 256, 512)]
    model = torchvision.models.ResNet(kind, list(blocks))
    model.conv1 = nn.Conv2d(3, stages[0], 7, 2, 3, bias=False)
    model.bn1, model.inplanes, model.fc = nn.BatchNorm2d(stages[0]), stages[0], nn.Identity()
    for i, (channels, count, stride) in enumerate(zip(stages, blocks, (1, 2, 2, 2)), start=1):
        setattr(model, f"layer{i}", model._make_layer(kind, channels, count, stride=stride))
    return model


@pytest.mark.parametrize(("width", "blocks"), RESNETS)
def test_every_slimmable_resnet_is_torchvisions_class_of_its_widths_and_blocks(build, width, blocks):
    name = f"w{width}-d{''.join(map(str, blocks))}"
    net = build(SlimmableResNet, name)
    stock = resnet_of_torchvision(BasicBlock, width, blocks)
    same(features(stock, exported(net, name, "torchvision")), twin_features(net, name))


@pytest.mark.parametrize(("name", "depth"), [("w1.0-d2222", 18), ("w1.0-d3463", 34)])
def test_resnet_18_and_34_are_those_of_torchvision_timm_and_mmpretrain(build, name, depth):
    net = build(SlimmableResNet, name)
    expected = twin_features(net, name)
    stock = getattr(torchvision.models, f"resnet{depth}")()
    stock.fc = nn.Identity()
    same(features(stock, exported(net, name, "torchvision")), expected)
    weights = exported(net, name, "timm")
    same(features(timm.create_model(f"resnet{depth}", num_classes=0), weights), expected)
    same(features(ResNet(depth), exported(net, name, "mmdet")), expected)


@pytest.mark.parametrize("name", ["w0.25-d1211", "w0.5-d2231"])
def test_bottlenecks_of_several_widths_and_depths_are_torchvisions(build, name):
    blocks = ((1, 2, 1, 1), (2, 2, 3, 1))
    net = build(SlimmableResNet, name, channels=(0.25, 0.5), blocks=blocks, block="bottleneck")
    width, counts = net.space.member(name)
    stock = resnet_of_torchvision(Bottleneck, width, counts)
    same(features(stock, exported(net, name, "torchvision")), twin_features(net, name))
