import random

import pytest
import torch
from mmdet.registry import MODELS as MMDET_MODELS
from mmpretrain.registry import MODELS as MMPRETRAIN_MODELS

from mmssl_dynamic.errors import ArtifactError, ConfigError, MissingStatisticsError, SubnetError
from mmssl_dynamic.models import SDRResNet, SlimmableMobileNetV3, SlimmableResNet, StaticResNet, SuperNetwork
from mmssl_dynamic.models.backbones import Origin
from mmssl_dynamic.models.elastic import active_regions

TINY = (16, 16, 32, 32)
ARCHITECTURES = [
    dict(depth=18, stage_channels=TINY, stage_groups=(4, 4, 4, 4)),
    dict(depth=34, stage_channels=TINY, stage_groups=(1, 1, 4, 4)),
    dict(depth=50, stage_channels=TINY, stage_groups=(1, 2, 4, 4), norm_cfg=dict(type="SyncBN")),
    dict(depth=101, stage_channels=(8, 8, 8, 8), stage_groups=(2, 1, 1, 4)),
    dict(depth=18, stage_channels=(12, 12, 24, 24), stage_groups=(3, 3, 3, 3), shared_ratio=0.75),
]


def make(seed=0, **options):
    torch.manual_seed(seed)
    net = SDRResNet(stem_channels=8, out_indices=(0, 1, 2, 3), **options)
    for parameter in net.parameters():  # BatchNorm's weights too: ones would hide a wrong slice
        torch.nn.init.normal_(parameter, std=0.1 if parameter.ndim > 1 else 1.0)
    return net


@pytest.mark.parametrize("options", ARCHITECTURES, ids=lambda o: f"r{o['depth']}-{o['stage_groups']}")
def test_active_subnet_equals_its_static_twin_in_outputs_and_gradients(options):
    net = make(**options)
    x = torch.randn(2, 3, 64, 64)
    names = random.Random(0).sample(net.subnets[:-1], min(5, len(net.subnets) - 1))
    for name in [*names, "full"]:
        net.zero_grad()
        twin = net.static(name).train()
        with net.subnet(name):
            outputs = net(x)
            channels = net.out_channels
            regions = active_regions(net)
        expected = twin(x)
        assert channels == twin.out_channels == tuple(y.shape[1] for y in expected)
        for y, z in zip(outputs, expected):
            torch.testing.assert_close(y, z, rtol=0, atol=1e-6 * float(z.abs().max()))
        sum(y.square().mean() for y in outputs).backward()
        sum(z.square().mean() for z in expected).backward()
        twin_parameters = dict(twin.named_parameters())
        for key, parameter in net.named_parameters():
            gradient, plain = parameter.grad, twin_parameters[key].grad
            selections = regions.get(parameter, ())
            inside = gradient
            for dimension, selection in enumerate(selections):
                if selection is not None:
                    picked = torch.cat([torch.arange(a, b) for a, b in selection.ranges])
                    inside = inside.index_select(dimension, picked)
            scale = float(plain.abs().max()) + 1e-12
            torch.testing.assert_close(inside, plain, rtol=0, atol=1e-4 * scale)
            # What lies outside the sub-network gets a gradient of exactly zero.
            assert torch.count_nonzero(gradient) == torch.count_nonzero(inside), key


def test_subnets_with_the_same_prefix_share_their_stage_features_exactly():
    net = make(**ARCHITECTURES[0])
    x = torch.randn(2, 3, 64, 64)
    features = {}
    for name in ("0-3-1-2", "0-3-2-2", "0-3-1-0", "1-3-1-2"):
        with net.subnet(name), torch.no_grad():
            features[name] = net(x)
    one = features["0-3-1-2"]
    shared = {"0-3-2-2": 2, "0-3-1-0": 3, "1-3-1-2": 0}
    for other, stages in shared.items():
        for stage in range(4):
            assert torch.equal(one[stage], features[other][stage]) == (stage < stages)


def test_full_network_of_one_group_equals_mmpretrains_resnet():
    for depth in (18, 50):
        theirs = MMPRETRAIN_MODELS.build(dict(type="ResNet", depth=depth, out_indices=(0, 1, 2, 3)))
        ours = SDRResNet(depth=depth, stage_groups=(1, 1, 1, 1), out_indices=(0, 1, 2, 3))
        ours.load_state_dict(theirs.state_dict(), strict=True)
        assert ours.subnets == ("full",)
        x = torch.randn(2, 3, 64, 64)
        for mode in (True, False):
            ours.train(mode), theirs.train(mode)
            for y, z in zip(ours(x), theirs(x)):
                assert torch.equal(y, z)
        for name, value in theirs.state_dict().items():  # running statistics moved alike
            assert torch.equal(ours.state_dict()[name], value), name


def test_256_paths_of_resnet50_have_the_sizes_of_the_paper():
    net = SDRResNet(depth=50)
    full, path = net.num_parameters("full"), net.num_parameters("0-3-1-2")
    print(f"super-network {full / 1e6:.1f} M, sub-network {path / 1e6:.1f} M (paper: 56.3 M and 22.6 M)")
    assert len(net.subnets) == 257
    assert full == sum(p.numel() for p in net.parameters()) == 58_133_184
    assert path == sum(p.numel() for p in net.static("0-3-1-2").parameters()) == 22_740_576
    assert abs(full / 56.3e6 - 1) < 0.04
    assert abs(path / 22.6e6 - 1) < 0.01
    assert all(net.num_parameters(name) == path for name in net.subnets[:-1:37])


@pytest.mark.parametrize("registry", [MMPRETRAIN_MODELS, MMDET_MODELS], ids=["mmpretrain", "mmdet"])
def test_a_fixed_path_builds_that_subnet_alone_from_any_openmmlab_registry(registry, tmp_path):
    options = dict(depth=50, stage_channels=TINY, stage_groups=(4, 4, 4, 4), stem_channels=8)
    net = make(**{k: v for k, v in options.items() if k != "stem_channels"})
    twin = net.static("1-0-3-2")
    torch.save(twin.state_dict(), tmp_path / "twin.pth")
    fixed = registry.build(
        dict(
            type="mmssl_dynamic.SDRResNet",
            subnet="1-0-3-2",
            out_indices=(1, 3),
            frozen_stages=1,
            norm_eval=True,
            init_cfg=dict(type="Pretrained", checkpoint=str(tmp_path / "twin.pth")),
            **options,
        )
    )
    fixed.init_weights()
    assert list(fixed.state_dict()) == list(twin.state_dict())
    x = torch.randn(2, 3, 64, 64)
    for y, z in zip(fixed.eval()(x), (twin.eval()(x)[1], twin(x)[3])):
        assert torch.equal(y, z)
    assert fixed.out_channels == (twin.out_channels[1], twin.out_channels[3])
    fixed.train()
    assert not any(m.training for m in fixed.modules() if isinstance(m, torch.nn.BatchNorm2d))
    assert not any(p.requires_grad for p in (*fixed.conv1.parameters(), *fixed.layer1.parameters()))
    assert all(p.requires_grad for p in fixed.layer2.parameters())
    assert isinstance(fixed, StaticResNet)
    assert not isinstance(fixed, SuperNetwork)
    assert fixed.origin == twin.origin == Origin(net.config(), "1-0-3-2")
    assert not hasattr(fixed, "subnet")


def test_pretrained_weights_that_do_not_fit_are_refused(tmp_path):
    net = make(**ARCHITECTURES[0])
    torch.save(net.state_dict(), tmp_path / "super.pth")
    fixed = SDRResNet(
        depth=18,
        stage_channels=TINY,
        stem_channels=8,
        subnet="0-0-0-0",
        init_cfg=dict(type="Pretrained", checkpoint=str(tmp_path / "super.pth")),
    )
    with pytest.raises(ArtifactError, match="export the sub-network first"):
        fixed.init_weights()
    torch.save({"fc.weight": torch.zeros(2)}, tmp_path / "head.pth")
    fixed.init_cfg["checkpoint"] = str(tmp_path / "head.pth")
    with pytest.raises(ArtifactError, match="lacks"):
        fixed.init_weights()


def test_evaluation_needs_statistics_of_the_subnet_and_the_twin_takes_them_along():
    net = make(**ARCHITECTURES[0]).eval()
    x = torch.randn(2, 3, 64, 64)
    net(x)  # the full network has its running buffers
    assert not net.has_bn_statistics("0-1-2-3")
    with net.subnet("0-1-2-3"), pytest.raises(MissingStatisticsError, match="0-1-2-3"):
        net(x)
    with net.subnet("0-1-2-3"):
        sizes = {name: layer.channels.size for name, layer in net.batch_norms(net.active).items()}
    statistics = {name: (torch.randn(size), torch.rand(size) + 0.5) for name, size in sizes.items()}
    net.set_bn_statistics("0-1-2-3", statistics)
    assert all(torch.equal(a, b) for a, b in zip(net.bn_statistics("0-1-2-3")["bn1"], statistics["bn1"]))
    with net.subnet("0-1-2-3"):
        outputs = net(x)
    for y, z in zip(outputs, net.static("0-1-2-3")(x)):
        torch.testing.assert_close(y, z)
    with pytest.raises(ArtifactError, match="lack layer"):
        net.set_bn_statistics("0-1-2-3", {})
    with pytest.raises(ArtifactError, match="channels where it has"):
        net.set_bn_statistics("full", statistics)


def test_making_a_twin_uses_no_random_numbers():
    net = make(**ARCHITECTURES[0])
    state = torch.get_rng_state()
    net.static("0-1-2-3")
    assert torch.equal(state, torch.get_rng_state())


@pytest.mark.parametrize("kind", [SDRResNet, SlimmableResNet, SlimmableMobileNetV3])
@pytest.mark.parametrize(
    ("old", "message"),
    [
        (dict(path="0-0-1-2"), r"named by subnet='0-0-1-2', not path='0-0-1-2'"),
        (dict(width=0.75), r"named by subnet='w0\.75', not width=0\.75"),
        (dict(width=1), r"named by subnet='w1\.0', not width=1"),
    ],
)
def test_other_words_for_a_sub_network_are_refused_with_the_right_one(kind, old, message):
    required = dict(depth=18) if kind is SDRResNet else {}
    with pytest.raises(ConfigError, match=message) as error:
        kind(**required, **old)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (dict(depth=20), "depth=20"),
        (dict(depth=18, stage_groups=(4, 4)), "four numbers"),
        (dict(depth=18, stage_groups=(0, 1, 1, 4)), "positive"),
        (dict(depth=18, stage_channels=(16, 16, 32)), "four widths"),
        (dict(depth=18, stage_channels=(16, 16, 30, 32)), "multiple of 8"),
        (dict(depth=18, shared_ratio=1.5), "shared_ratio"),
        (dict(depth=18, stage_channels=(64, 64, 64, 64)), "stem_channels=64"),
        (dict(depth=18, stage_channels=(104, 64, 64, 64), stem_channels=65), "65 of a sub-network"),
        (dict(depth=18, out_indices=(4,)), "out_indices"),
        (dict(depth=18, frozen_stages=7), "frozen_stages"),
        (dict(depth=18, norm_cfg=dict(type="GN", num_groups=2)), "'GN'"),
        (dict(depth=18, norm_cfg=dict(type="BN", eps=1e-3)), "eps=1e-05"),
        (dict(depth=18, subnet="0-0-0-4"), "0-0-0-4"),
        (dict(depth=18, subnet="best"), "'best'"),
    ],
)
def test_wrong_options_are_named_in_one_sentence(options, message):
    with pytest.raises((ConfigError, SubnetError), match=message) as error:
        SDRResNet(**options)
    assert "\n" not in str(error.value)
