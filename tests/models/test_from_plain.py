"""Super-networks that start as a plain network."""

import copy

import pytest
import torch
from mmpretrain.registry import MODELS

from mmssl_dynamic.errors import ArtifactError, ConfigError
from mmssl_dynamic.models import FromPlain, SDRResNet, StaticResNet
from mmssl_dynamic.models.elastic import active_modules
from tests.helpers import HEAD, NECK, byol_parts, samples, views

# Stages of 28 and 56 channels with 3/7 of them shared: paths of 16 and 32.
WIDE = dict(depth=18, stage_channels=(8, 16, 28, 56), stage_groups=(1, 1, 4, 4), shared_ratio=3 / 7, stem_channels=8)
PLAIN = dict(depth=18, stage_channels=(8, 16, 16, 32), stem_channels=8)


def simsiam(**options):
    """A SimSiam whose running statistics and affine parameters all matter."""
    torch.manual_seed(3)
    model = MODELS.build(
        dict(
            type="SimSiam",
            backbone=dict(type="mmssl_dynamic.StaticResNet", zero_init_residual=False, **{**PLAIN, **options}),
            neck=dict(type="NonLinearNeck", in_channels=32, **NECK),
            head=HEAD,
        )
    )
    model.init_weights()
    for parameter in model.parameters():
        if parameter.ndim == 1:
            parameter.data = parameter.data + 0.3 * torch.rand(parameter.shape)
    model.train()
    for seed in range(5):
        model.loss(views(seed), samples("full"))
    return model


def sdr(init_from, kind="SDR", neck=NECK, head=HEAD, **options):
    init_cfg = dict(type="mmssl_dynamic.FromPlain", init_from=None if init_from is None else str(init_from), **options)
    torch.manual_seed(0)
    model = MODELS.build(
        dict(
            type=f"mmssl_dynamic.{kind}",
            backbone=dict(type="mmssl_dynamic.SDRResNet", zero_init_residual=False, **WIDE),
            neck=dict(type="mmssl_dynamic.ElasticProjector", **neck),
            head=head,
            init_cfg=init_cfg,
        )
    )
    model.init_weights()
    return model


@pytest.fixture
def base(tmp_path):
    """A SimSiam and its checkpoint."""
    model = simsiam()
    torch.save({"state_dict": model.state_dict(), "meta": {}}, tmp_path / "base.pth")
    return model, tmp_path / "base.pth"


def test_every_path_is_the_plain_network_at_the_start(base):
    """Features with its running statistics, and projections and loss with those of the batch."""
    plain, file = base
    model = sdr(file)
    statistics = {
        name: (norm.running_mean.clone(), norm.running_var.clone())
        for name, norm in plain.backbone.named_modules()
        if hasattr(norm, "running_mean")
    }
    images = views(7)
    expected = plain.eval().backbone(images[0])[0]
    loss = plain.train().loss(images, samples("full"))["loss"]
    for path in model.backbone.space.paths:
        model.backbone.set_bn_statistics(path, statistics)
        with torch.no_grad(), model.backbone.subnet(path):
            torch.testing.assert_close(model.eval().backbone(images[0])[0], expected, rtol=1e-5, atol=1e-6)
            twin = model.backbone.static(path)
        torch.testing.assert_close(twin(images[0])[0], expected, rtol=1e-5, atol=1e-6)
        assert float(model.train().loss(images, samples(path))["loss_ssl"]) == pytest.approx(float(loss), abs=1e-6)


def test_with_scaled_duplicates_the_full_network_is_the_plain_one_with_its_statistics(base):
    plain, file = base
    model = sdr(file, duplicates="scaled")
    images = views(7)
    shared, rest = 24, 8
    expected = plain.eval().backbone(images[0])[0]
    found = model.eval().backbone(images[0])[0].detach()
    for group in range(4):
        start = shared + group * rest
        part = torch.cat([found[:, :shared], found[:, start : start + rest]], dim=1)
        torch.testing.assert_close(part, expected, rtol=1e-4, atol=1e-5)
    loss = float(plain.train().loss(images, samples("full"))["loss"])
    assert float(model.train().loss(images, samples("full"))["loss_ssl"]) == pytest.approx(loss, abs=1e-5)
    # and not so with plain copies
    assert float(sdr(file).train().loss(images, samples("full"))["loss_ssl"]) != pytest.approx(loss, abs=1e-3)


def test_projector_and_predictor_come_along_unless_they_are_not_wanted(base):
    plain, file = base
    model, random = sdr(file), sdr(None)
    for name, value in plain.head.state_dict().items():
        torch.testing.assert_close(model.head.state_dict()[name], value, msg=name)
    with model.backbone.subnet("0-0-2-3"):
        active = {n: m for n, m in active_modules(model.neck) if n == "fc0"}
        torch.testing.assert_close(active["fc0"].active_state()["weight"], plain.neck.fc0.weight)
    torch.testing.assert_close(model.neck.bn1.running_mean, plain.neck.bn1.running_mean)
    without = sdr(file, heads=False)
    torch.testing.assert_close(without.head.state_dict(), random.head.state_dict())
    assert torch.equal(without.backbone.conv1.weight, model.backbone.conv1.weight)
    assert not torch.equal(without.backbone.conv1.weight, random.backbone.conv1.weight)


def test_copies_stay_equal_under_equal_data_and_other_data_drive_them_apart(base):
    """The groups of two paths that are trained on the same batches never differ; on other batches they do."""
    _, file = base

    def distance(seeds_of):
        model = sdr(file).train()
        model.distillation = None
        for path in ("0-0-0-0", "0-0-1-1"):
            trained = copy.deepcopy(model)
            optimizer = torch.optim.SGD(trained.parameters(), lr=0.05)
            for seed in seeds_of(path):
                optimizer.zero_grad()
                trained.loss(views(seed), samples(path))["loss_ssl"].backward()
                optimizer.step()
            with torch.no_grad(), trained.backbone.subnet(path):
                yield trained.backbone.static(path).layer4[1].conv2.weight.clone()

    one, other = distance(lambda path: range(3))
    torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5)
    one, other = distance(lambda path: range(3) if path == "0-0-0-0" else range(10, 13))
    assert float((one - other).norm() / one.norm()) > 1e-3


def test_stock_weights_start_the_backbone_alone(tmp_path):
    """torchvision's keys, with a classifier beside them, and mmpretrain's."""
    from torchvision.models import resnet18

    torch.manual_seed(0)
    stock = resnet18()
    options = dict(depth=18, stage_groups=(1, 1, 4, 4), shared_ratio=3 / 7)
    torch.save(stock.state_dict(), tmp_path / "torchvision.pth")
    renamed = {f"backbone.{k}": v for k, v in stock.state_dict().items() if not k.startswith("fc.")}
    torch.save({"state_dict": {**renamed, "head.fc.weight": stock.fc.weight}}, tmp_path / "mmpretrain.pth")
    images = torch.randn(2, 3, 64, 64)
    stock.fc = torch.nn.Identity()
    expected = stock.train()(images)
    for name in ("torchvision.pth", "mmpretrain.pth"):
        net = SDRResNet(**options, init_cfg=dict(type="mmssl_dynamic.FromPlain", init_from=str(tmp_path / name)))
        net.init_weights()
        assert net.stage_channels == (64, 128, 448, 896)
        with net.train().subnet("0-0-3-1"):
            torch.testing.assert_close(net(images)[0].mean((2, 3)), expected, rtol=1e-4, atol=1e-5)


def test_byols_target_starts_as_the_online_network(base, tmp_path):
    layers, head = byol_parts()
    byol = MODELS.build(
        dict(
            type="BYOL",
            backbone=dict(type="mmssl_dynamic.StaticResNet", zero_init_residual=False, **PLAIN),
            neck=dict(type="NonLinearNeck", in_channels=32, **layers),
            head=head,
        )
    )
    byol.init_weights()
    torch.save({"state_dict": byol.state_dict()}, tmp_path / "byol.pth")
    model = sdr(tmp_path / "byol.pth", kind="SDRBYOL", neck=layers, head=head)
    with torch.no_grad():
        for path in ("full", "0-0-1-2"):
            with model.train().backbone.subnet(path), model.target_net[0].subnet(path):
                image = views(0)[0]
                torch.testing.assert_close(model.target_net(image)[0], model.neck(model.backbone(image))[0])
    with model.backbone.subnet("0-0-1-2"):
        own = model.neck(model.backbone(image))[0]
    torch.testing.assert_close(own, byol.train().neck(byol.backbone(image))[0], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            dict(stage_channels=(8, 16, 24, 32)),
            r"'layer3.0.conv1.weight' of shape \(24, 16, 3, 3\) .* the path .*shared_ratio",
        ),
        (dict(depth=34), r"has 'layer1.2.conv1.weight', which the path"),
    ],
)
def test_a_checkpoint_of_other_widths_or_depth_is_refused_in_one_sentence(tmp_path, options, message):
    other = StaticResNet(**{**PLAIN, **options})
    torch.save(other.state_dict(), tmp_path / "other.pth")
    net = SDRResNet(**WIDE)
    before = copy.deepcopy(net.state_dict())
    with pytest.raises(ArtifactError, match=message):
        FromPlain(str(tmp_path / "other.pth"))(net)
    torch.testing.assert_close(net.state_dict(), before)  # nothing half-loaded
    state = StaticResNet(**PLAIN).state_dict()
    del state["bn1.weight"]
    torch.save(state, tmp_path / "broken.pth")
    with pytest.raises(ArtifactError, match=r"lacks 'bn1.weight'"):
        FromPlain(str(tmp_path / "broken.pth"))(net)


def test_a_projector_that_does_not_fit_is_refused_with_the_way_out(base, tmp_path):
    plain, _ = base
    state = plain.state_dict()
    state["neck.fc1.weight"] = torch.zeros(8, 8)
    torch.save({"state_dict": state}, tmp_path / "neck.pth")
    model = sdr(None)
    before = copy.deepcopy(model.state_dict())
    with pytest.raises(ArtifactError, match=r"'fc1.weight'.*heads=False"):
        FromPlain(str(tmp_path / "neck.pth"))(model)
    torch.testing.assert_close(model.state_dict(), before)  # the backbone, too
    sdr(tmp_path / "neck.pth", heads=False)


def test_only_super_networks_start_from_plain_ones(base):
    with pytest.raises(ConfigError, match="StaticResNet"):
        FromPlain(str(base[1]))(StaticResNet(**PLAIN))
    with pytest.raises(ConfigError, match="duplicates"):
        FromPlain(str(base[1]), duplicates="halved")
    with pytest.raises(ConfigError, match="needs init_from"):
        FromPlain()(SDRResNet(**WIDE))
