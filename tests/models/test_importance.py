"""Slimmable super-networks that start from a plain network, its channels sorted by importance."""

import pytest
import torch
from mmpretrain.registry import MODELS

from mmssl_dynamic.errors import ArtifactError
from mmssl_dynamic.models import (
    FromPlain,
    SDRResNet,
    SDRSlimmableResNet,
    SlimmableMobileNetV3,
    SlimmableResNet,
    StaticResNet,
)
from mmssl_dynamic.models.backbones.mobilenet_v3_keys import timm_layers, torchvision_layers
from mmssl_dynamic.models.importance import importance_order
from tests.helpers import build_slimmable, byol_parts, samples, views

CHANNELS = ([8, 8, 8, 16], [12, 16, 20, 32])
BLOCKS = ((1, 1, 1, 1), (2, 2, 3, 2))


def lively(net, seed=0):
    """A plain network in evaluation mode whose affine parameters and running statistics all matter."""
    generator = torch.Generator().manual_seed(seed)
    for name, tensor in net.state_dict().items():
        if tensor.ndim == 1 and tensor.is_floating_point():
            tensor.copy_(0.5 + torch.rand(tensor.shape, generator=generator))
            if "var" not in name and "weight" not in name:
                tensor.sub_(1)
    net.eval()
    return net


def images(size=64):
    return torch.randn(3, 3, size, size, generator=torch.Generator().manual_seed(1))


def started(net, state, file, **options):
    torch.save(state, file)
    FromPlain(str(file), **options)(net)
    return net.eval()


@pytest.mark.parametrize("block", ["basic", "bottleneck"])
@pytest.mark.parametrize("switchable", [None, "all"])
def test_the_largest_resnet_is_the_plain_network_with_its_channels_sorted(tmp_path, block, switchable):
    plain = lively(StaticResNet(None, CHANNELS[1], 12, block=block, blocks=BLOCKS[1]))
    net = SlimmableResNet(channels=CHANNELS, blocks=BLOCKS, block=block, switchable_bn=switchable)
    started(net, plain.state_dict(), tmp_path / "plain.pth")
    (found,), (expected,) = net(images()), plain(images())
    order = importance_order(net, plain.state_dict())[net.feature_channels]
    assert not torch.equal(order, torch.arange(len(order)))
    torch.testing.assert_close(found, expected[:, order], rtol=1e-4, atol=1e-5)
    if switchable:  # all widths start with the affine parameters of the plain network
        row = net.layer2[0].bn1.switch_weight[0]
        torch.testing.assert_close(row, net.layer2[0].bn1.weight)


def test_a_narrower_network_is_made_of_the_most_important_channels(tmp_path):
    """Its inner channels are those that convolutions read with the largest weights, summed in absolute value."""
    plain = lively(StaticResNet(None, CHANNELS[1], 12, block="bottleneck", blocks=BLOCKS[1]))
    net = SlimmableResNet(channels=CHANNELS, blocks=((2, 2, 3, 2),), block="bottleneck")
    started(net, plain.state_dict(), tmp_path / "plain.pth")
    # the inner channels of a stage are one activation here: read by conv2 and conv3 of all its blocks
    total = sum(conv.weight.abs().sum((0, 2, 3)) for block in plain.layer3 for conv in (block.conv2, block.conv3))
    best = total.argsort(descending=True)[:8]
    stream = importance_order(net, plain.state_dict())
    inputs = stream[net.layer3[0].conv1.inputs]
    with net.subnet("w0.041667-d2232"):
        twin = net.static("w0.041667-d2232")
    kept = len(twin.layer3[0].conv1.weight[0])
    torch.testing.assert_close(twin.layer3[0].conv1.weight, plain.layer3[0].conv1.weight[best][:, inputs[:kept]])


def test_channels_that_shortcuts_add_keep_one_order(tmp_path):
    plain = StaticResNet(None, CHANNELS[1], 12, block="basic", blocks=BLOCKS[1])
    net = SlimmableResNet(channels=CHANNELS, blocks=BLOCKS)
    order = importance_order(net, plain.state_dict())
    stem, first = net.layer1[0].conv1.inputs, net.layer1[0].conv2.outputs
    assert stem is not first
    assert torch.equal(order[stem], order[first])  # no projection between them
    second = net.layer2[0].conv2.outputs
    assert not torch.equal(order[first][: len(order[second])], order[second][: len(order[first])])


def test_unsorted_channels_keep_their_places(tmp_path):
    plain = lively(StaticResNet(None, CHANNELS[1], 12, block="basic", blocks=BLOCKS[1]))
    net = SlimmableResNet(channels=CHANNELS, blocks=BLOCKS)
    started(net, plain.state_dict(), tmp_path / "plain.pth", sort=False)
    torch.testing.assert_close(net.conv1.weight, plain.conv1.weight)
    torch.testing.assert_close(net(images())[0], plain(images())[0])


@pytest.mark.parametrize("arch", ["large", "small"])
@pytest.mark.parametrize("source", ["torchvision", "timm", "mmpretrain"])
def test_the_largest_mobilenet_is_the_stock_one(tmp_path, arch, source):
    import timm
    import torchvision

    torch.manual_seed(0)
    if source == "timm":
        stock = lively(timm.create_model(f"mobilenetv3_{arch}_100", num_classes=5))
        features = torch.nn.Sequential(stock.conv_stem, stock.bn1, stock.blocks)
        state, last = stock.state_dict(), timm_layers(arch)
    elif source == "torchvision":
        stock = lively(getattr(torchvision.models, f"mobilenet_v3_{arch}")(num_classes=5))
        features, state, last = stock.features, stock.state_dict(), torchvision_layers(arch)
    else:
        from mmpretrain.models import MobileNetV3

        stock = lively(MobileNetV3(arch))
        features = stock
        state, last = {f"backbone.{k}": v for k, v in stock.state_dict().items()}, None
    net = SlimmableMobileNetV3(arch, widths=(0.5, 1.0))
    started(net, {"state_dict": state}, tmp_path / "stock.pth")
    plain = net.own_names({k.removeprefix("backbone."): v for k, v in state.items()})
    assert last is None or len(plain) > len(last)
    order = importance_order(net, plain)[net.feature_channels]
    (found,) = net.double()(images().double())  # in floats another order of the channels rounds otherwise
    expected = features.double()(images().double())
    expected = expected[-1] if isinstance(expected, tuple) else expected
    # The variances of timm's network are floats that make up for another constant.
    atol = expected.abs().max().item() * (1e-6 if source == "timm" else 1e-12)
    torch.testing.assert_close(found, expected[:, order], rtol=0, atol=atol)


def test_byol_and_its_heads_start_dspnet(tmp_path):
    """The largest network's loss is BYOL's, and the order of the features follows the projector, which reads them."""
    layers, head = byol_parts()
    torch.manual_seed(0)
    byol = MODELS.build(
        dict(
            type="BYOL",
            backbone=dict(
                type="mmssl_dynamic.StaticResNet",
                stage_channels=(16, 16, 32, 32),
                stem_channels=16,
                block="basic",
                blocks=(1, 1, 2, 2),
                zero_init_residual=False,
            ),
            neck=dict(type="NonLinearNeck", in_channels=32, **layers),
            head=head,
        )
    )
    byol.init_weights()
    torch.save({"state_dict": byol.state_dict()}, tmp_path / "byol.pth")
    init = dict(type="mmssl_dynamic.FromPlain", init_from=str(tmp_path / "byol.pth"))
    model = build_slimmable("DSPNet", init_cfg=init)
    view = views(0)[0]
    projected = model.neck(model.backbone(view))[0]
    torch.testing.assert_close(projected, byol.train().neck(byol.backbone(view))[0], rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(model.target_net(view)[0], projected)
    predicted = model.head.predictor([projected])[0]
    torch.testing.assert_close(predicted, byol.head.predictor([projected])[0])
    importance = byol.neck.fc0.weight.abs().sum(0)
    own = importance_order(model.backbone, byol.backbone.state_dict(), (model.neck, byol.neck.state_dict()))[
        model.backbone.feature_channels
    ]
    readers = sum(block.conv1.weight.abs().sum((0, 2, 3)) for block in byol.backbone.layer4[1:])
    torch.testing.assert_close((importance + readers).argsort(descending=True), own)
    losses = model.loss(views(1), samples("full"))
    assert all(torch.isfinite(value).all() for value in losses.values())


def test_a_plain_network_of_another_width_is_refused(tmp_path):
    torch.save(StaticResNet(None, CHANNELS[0], 8, block="basic", blocks=BLOCKS[1]).state_dict(), tmp_path / "a.pth")
    with pytest.raises(ArtifactError, match=r"the largest network of this SlimmableResNet has .*correct the widths"):
        FromPlain(str(tmp_path / "a.pth"))(SlimmableResNet(channels=CHANNELS, blocks=BLOCKS))


PATHS = dict(depth=18, stage_groups=(1, 1, 1, 4), stem_channels=8, stage_channels=(8, 12, 16, 56), shared_ratio=3 / 7)


def test_every_slimmable_path_is_the_plain_network_with_its_channels_sorted(tmp_path):
    plain = lively(StaticResNet(18, (8, 12, 16, 32), 8))
    net = SDRSlimmableResNet(**PATHS, widths=(0.5, 1.0))
    started(net, plain.state_dict(), tmp_path / "plain.pth")
    statistics = {
        name: (norm.running_mean, norm.running_var)
        for name, norm in net.named_modules()
        if hasattr(norm, "running_mean")
    }
    expected = plain(images())[0].mean((2, 3))
    for path in net.space.paths:
        with net.subnet(path):
            chosen = {
                name: tuple(t[indices(layer.channels)] for t in statistics[name])
                for name, layer in net.batch_norms(path).items()
            }
            net.set_bn_statistics(path, chosen)
            found = net(images())[0].mean((2, 3))
        torch.testing.assert_close(found.sort(1).values, expected.sort(1).values, rtol=1e-4, atol=1e-5)


def indices(channels):
    ranges = ((0, channels.total),) if channels.active is None else channels.active.ranges
    return torch.cat([torch.arange(start, stop) for start, stop in ranges])


def test_a_narrower_network_of_a_path_is_made_of_the_most_important_channels(tmp_path):
    plain = lively(StaticResNet(18, (8, 12, 16, 32), 8))
    net = SDRSlimmableResNet(**PATHS, widths=(0.25, 0.5, 1.0))
    started(net, plain.state_dict(), tmp_path / "plain.pth")
    # inner channels of the last stage: read by conv2 of its blocks, 24 shared and 8 of the group
    best = sum(block.conv2.weight.abs().sum((0, 2, 3)) for block in plain.layer4).argsort(descending=True)
    for path in net.space.paths:
        for width, count in (("@w0.25", 8), ("@w0.5", 16)):
            kept = net.static(f"{path}{width}").layer4[0].bn1.weight
            assert sorted(kept.tolist()) == sorted(plain.layer4[0].bn1.weight[best[:count]].tolist())


def test_paths_of_one_width_start_as_those_of_sdr(tmp_path):
    plain = lively(StaticResNet(18, (8, 12, 16, 32), 8))
    one, other = SDRSlimmableResNet(**PATHS, widths=(1.0,)), SDRResNet(**PATHS)
    for net in (one, other):
        started(net, plain.state_dict(), tmp_path / "plain.pth")
    assert all(torch.equal(value, one.state_dict()[key]) for key, value in other.state_dict().items())
