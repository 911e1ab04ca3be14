import copy

import pytest
import torch
from mmdet.registry import MODELS as MMDET_MODELS
from mmpretrain.registry import MODELS as MMPRETRAIN_MODELS

from mmssl_dynamic.calibration import BNBank, calibrate_path
from mmssl_dynamic.errors import ArtifactError, ConfigError, MissingStatisticsError, SubnetError
from mmssl_dynamic.models import SlimmableResNet, StaticResNet, SuperNetwork
from mmssl_dynamic.models.backbones import Origin
from tests.calibration.bn_reference import assert_close, cumulative, images
from tests.models.backbones.slimmable_checks import assert_equals_twin, assert_prefixes, randomise, train_all

ALL = (0, 1, 2, 3)
DEPTHS = ((1, 1, 1, 1), (1, 2, 2, 1), (2, 2, 3, 1))
LISTS = ((8, 8, 16, 16), (8, 16, 16, 24), (16, 16, 24, 32))
TINY = dict(channels=LISTS, blocks=DEPTHS)
SMALLEST = "w0.05-d1111"


def make(seed=0, **options):
    return randomise(SlimmableResNet(**options), seed)


@pytest.mark.parametrize(
    "options",
    [
        dict(**TINY),
        dict(**TINY, block="bottleneck"),
        dict(**TINY, switchable_bn="statistics"),
        dict(**TINY, switchable_bn="all"),
        dict(channels=(0.125, 0.25, 0.5), blocks=((1, 1, 1, 1),), norm_cfg=dict(type="SyncBN")),
        dict(channels=(LISTS[0],), blocks=((2, 2, 2, 2), (3, 4, 6, 3), (3, 4, 23, 3)), block="bottleneck"),
        dict(channels=tuple(round(0.1 + i / 50, 2) for i in range(0, 11, 2)), blocks=((1, 1, 1, 1),)),
    ],
    ids=["basic", "bottleneck", "statistics", "all", "widths", "r101", "multipliers"],
)
def test_every_network_equals_its_static_twin_in_outputs_and_gradients(options):
    net = make(out_indices=ALL, **options)
    x = torch.randn(2, 3, 64, 64)
    for name in net.subnets:
        assert_equals_twin(net, name, x)


@pytest.mark.parametrize("block", ["basic", "bottleneck"])
def test_weights_of_a_small_network_are_a_prefix_of_the_large_ones(block):
    assert_prefixes(make(**TINY, block=block))


@pytest.mark.parametrize(("block", "depths"), [("basic", (18, 34)), ("bottleneck", (50, 101))])
def test_networks_of_width_one_are_the_stock_resnets(block, depths):
    counts = {18: (2, 2, 2, 2), 34: (3, 4, 6, 3), 50: (3, 4, 6, 3), 101: (3, 4, 23, 3)}
    net = make(channels=(1.0,), blocks=[counts[d] for d in depths], block=block).eval()
    x = torch.randn(1, 3, 64, 64)
    for name, depth in zip(net.subnets, depths):
        theirs = MMPRETRAIN_MODELS.build(dict(type="ResNet", depth=depth))
        twin = net.static(name).eval()
        theirs.load_state_dict(twin.state_dict(), strict=True)
        theirs.eval()
        torch.testing.assert_close(twin(x)[0], theirs(x)[0])


def test_networks_are_named_by_their_multiplier_and_blocks():
    names = SlimmableResNet(channels=(0.3, 1.0), blocks=((1, 1, 1, 1), (1, 1, 2, 1))).subnets
    assert names == ("w0.3-d1111", "w0.3-d1121", "w1.0-d1111", "w1.0-d1121")
    net = SlimmableResNet(**TINY)
    assert net.subnets[0] == SMALLEST
    assert len(net.subnets) == 9


@pytest.mark.parametrize("registry", [MMPRETRAIN_MODELS, MMDET_MODELS], ids=["mmpretrain", "mmdet"])
@pytest.mark.parametrize("block", ["basic", "bottleneck"])
def test_a_fixed_subnet_builds_that_network_alone_from_any_openmmlab_registry(registry, block, tmp_path):
    net = make(**TINY, block=block)
    name = net.subnets[4]
    twin = net.static(name)
    torch.save(twin.state_dict(), tmp_path / "twin.pth")
    fixed = registry.build(
        dict(
            type="mmssl_dynamic.SlimmableResNet",
            subnet=name,
            block=block,
            out_indices=(1, 3),
            frozen_stages=1,
            norm_eval=True,
            init_cfg=dict(type="Pretrained", checkpoint=str(tmp_path / "twin.pth")),
            **TINY,
        )
    )
    fixed.init_weights()
    assert list(fixed.state_dict()) == list(twin.state_dict())
    fixed.load_state_dict(twin.state_dict(), strict=True)
    twin.out_indices = (1, 3)
    x = torch.randn(2, 3, 64, 64)
    for y, z in zip(fixed.eval()(x), twin.eval()(x)):
        assert torch.equal(y, z)
    assert isinstance(fixed, StaticResNet)
    assert fixed.origin == twin.origin == Origin(net.config(), name)
    assert fixed.out_channels == tuple(y.shape[1] for y in fixed(x)) == twin.out_channels
    assert sum(p.numel() for p in fixed.parameters()) == net.num_parameters(name)
    fixed.train()
    assert not any(m.training for m in fixed.modules() if isinstance(m, torch.nn.BatchNorm2d))
    assert not any(p.requires_grad for p in (*fixed.conv1.parameters(), *fixed.layer1.parameters()))
    assert not isinstance(fixed, SuperNetwork)


def test_stock_names_build_the_networks_of_the_paper():
    fixed = SlimmableResNet(subnet="w1.0-d2222")
    stock = MMPRETRAIN_MODELS.build(dict(type="ResNet", depth=18))
    assert {k: v.shape for k, v in fixed.state_dict().items()} == {k: v.shape for k, v in stock.state_dict().items()}
    full = SlimmableResNet()
    assert full.subnets[0] == "w1.0-d2222"
    assert full.subnets[-1] == "w1.25-d3463"
    assert len(full.subnets) == 6
    assert full.out_channels == (640,)


def test_the_largest_network_is_the_full_one_under_both_names():
    net = make(**TINY).eval()
    x = torch.randn(2, 3, 64, 64)
    outputs = []
    for name in ("full", net.space.largest):
        with net.subnet(name):
            outputs.append(net(x)[0])
            assert net.active == "full"
    assert torch.equal(*outputs)
    assert torch.equal(outputs[0], net(x)[0])
    assert net.num_parameters(net.space.largest) == net.num_parameters() == sum(p.numel() for p in net.parameters())


def test_a_projector_reads_the_last_map_that_is_returned():
    net = make(**TINY, out_indices=(0, 2))
    for name in net.subnets:
        with net.subnet(name), torch.no_grad():
            assert net(torch.randn(2, 3, 64, 64))[-1].shape[1] == net.feature_channels.size


def test_a_network_is_active_inside_its_block_only_also_after_an_error():
    net = make(**TINY)
    sizes = net.out_channels
    depths = [len(list(getattr(net, f"layer{i}"))) for i in range(1, 5)]
    with net.subnet(net.subnets[4]):
        inside = net.out_channels
        with pytest.raises(RuntimeError), net.subnet(SMALLEST):
            net(torch.randn(2, 4, 64, 64))  # four channels
        assert net.out_channels == inside != sizes
        assert [getattr(net, f"layer{i}").depth.size for i in range(1, 5)] == [1, 2, 2, 1]
    assert net.active == "full"
    assert net.out_channels == sizes
    assert [getattr(net, f"layer{i}").depth.size for i in range(1, 5)] == depths == [2, 2, 3, 1]
    assert not any(getattr(module, "_gathered", None) for module in net.modules())


@pytest.mark.parametrize("frozen", [0, 1, 3])
def test_frozen_stages_neither_learn_nor_move_their_statistics(frozen):
    net = make(channels=(LISTS[0],), blocks=DEPTHS[-1:], frozen_stages=frozen).train()
    before = copy.deepcopy(net.state_dict())
    net(torch.randn(2, 3, 64, 64))[0].sum().backward()

    def is_frozen(name):
        stage = int(name[5]) if name.startswith("layer") else 0
        return stage <= frozen

    for name, parameter in net.named_parameters():
        assert (parameter.grad is None) == is_frozen(name), name
    for name, value in net.state_dict().items():
        if name.endswith("running_mean"):
            assert torch.equal(value, before[name]) == is_frozen(name), name


def test_norm_eval_keeps_norm_layers_in_evaluation_mode_while_training():
    net = make(**TINY, norm_eval=True, switchable_bn="statistics").train()
    x = torch.randn(2, 3, 64, 64)
    before = copy.deepcopy(net.state_dict())
    net(x)
    with net.subnet(SMALLEST), pytest.raises(MissingStatisticsError, match=SMALLEST):
        net(x)
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())


@pytest.mark.parametrize("switchable_bn", ["statistics", "all"])
def test_switchable_statistics_follow_training_as_those_of_a_network_trained_alone(switchable_bn):
    net = make(**TINY, switchable_bn=switchable_bn)
    x = torch.randn(4, 3, 64, 64)
    twins = {name: net.static(name).train() for name in net.subnets}
    for twin in twins.values():
        with torch.no_grad():
            twin(x)
    assert not net.has_bn_statistics(SMALLEST)
    train_all(net, x)
    net.eval()
    for name, twin in twins.items():
        for layer, (mean, var) in net.bn_statistics(name).items():
            torch.testing.assert_close(mean, twin.get_submodule(layer).running_mean)
            torch.testing.assert_close(var, twin.get_submodule(layer).running_var)
        with net.subnet(name):
            torch.testing.assert_close(net(x)[0], twin.eval()(x)[0])
            torch.testing.assert_close(net.static(name)(x)[0], twin(x)[0])


def test_calibration_pools_exactly_and_evaluates_as_one_joint_batch(tmp_path):
    net = make(**TINY)
    batch = images(11, size=64)
    bank = BNBank.of(net)
    for name in net.space.keys:
        expected = cumulative(net.static(name), batch)
        assert_close(calibrate_path(net, name, [batch]), expected)
        bank.path[name] = calibrate_path(net, name, batch.split(5))
        assert_close({"bn1": bank.path[name]["bn1"]}, {"bn1": expected["bn1"]})
        assert bank.path[name].keys() == net.batch_norms(name).keys()  # none of blocks that the network lacks
    bank.save(tmp_path / "bank.safetensors")
    BNBank.load(tmp_path / "bank.safetensors").apply(net)
    net.eval()
    for name in net.subnets:
        with net.subnet(name):
            torch.testing.assert_close(net(batch)[0], net.static(name)(batch)[0])
    with pytest.raises(ConfigError, match="no prefix statistics"):
        bank.statistics(SMALLEST, "prefix")


def test_blocks_start_as_the_identity_for_every_switch():
    net = SlimmableResNet(**TINY, switchable_bn="all")
    net.init_weights()
    for name, parameter in net.named_parameters():
        if "bn2." in name and name.endswith("weight"):
            assert torch.count_nonzero(parameter) == 0, name
        elif name.endswith("switch_weight"):
            assert torch.equal(parameter, torch.ones_like(parameter)), name


def pretrained(path, **options):
    return SlimmableResNet(**options, init_cfg=dict(type="Pretrained", checkpoint=str(path)))


def test_a_super_network_loads_its_own_checkpoint_and_a_plain_one_of_the_largest_network(tmp_path):
    net = make(**TINY)
    torch.save(net.state_dict(), tmp_path / "super.pth")
    plain = {f"backbone.{name}": value for name, value in net.static("full").state_dict().items()}
    torch.save({"state_dict": plain}, tmp_path / "byol.pth")
    for file in ("super.pth", "byol.pth"):
        for options in (TINY, dict(**TINY, subnet=net.space.largest)):
            loaded = pretrained(tmp_path / file, **options)
            loaded.init_weights()
            for name, value in loaded.state_dict().items():
                assert torch.equal(net.state_dict()[name], value), name


def test_checkpoints_that_do_not_fit_are_refused_in_one_sentence(tmp_path):
    net = make(**TINY)
    torch.save(net.state_dict(), tmp_path / "super.pth")
    torch.save(net.static("w0.05-d2231").state_dict(), tmp_path / "narrow.pth")
    torch.save(net.static(net.subnets[-3]).state_dict(), tmp_path / "shallow.pth")
    cases = [
        ("super.pth", dict(channels=LISTS[::2], blocks=DEPTHS), "was trained with the networks"),
        ("super.pth", dict(channels=LISTS, blocks=DEPTHS[::2]), "was trained with the networks"),
        ("super.pth", dict(**TINY, subnet=SMALLEST), "export the sub-network first"),
        ("super.pth", dict(**TINY, block="bottleneck"), "lacks"),
        ("narrow.pth", TINY, "of a network of that width"),
        ("shallow.pth", TINY, "lacks"),
        ("nowhere.pth", TINY, "does not exist"),
    ]
    for file, options, message in cases:
        with pytest.raises(ArtifactError, match=message) as error:
            pretrained(tmp_path / file, **options).init_weights()
        assert "\n" not in str(error.value)
        assert file in str(error.value)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (dict(block="dense"), "block='dense'"),
        (dict(channels=(1.25, 1.0)), "ascending"),
        (dict(channels=(1.0, 1.001)), "must differ"),
        (dict(channels=((8, 8, 8, 8), (16, 4, 16, 16))), "ascend in every stage"),
        (dict(channels=((8, 8, 8),)), "four positive"),
        (dict(channels=((8, 8, 8, 8.0),)), "four positive"),
        (dict(channels=(True,)), "positive multipliers"),
        (dict(channels=(-1.0,)), "positive multipliers"),
        (dict(blocks=((2, 2, 2),)), "four numbers"),
        (dict(blocks=((3, 4, 6, 3), (2, 2, 2, 2))), "shallow to deep"),
        (dict(subnet="w1.0-d9999"), "w1.0-d9999"),
        (dict(switchable_bn=True), "switchable_bn=True"),
        (dict(out_indices=(4,)), "out_indices"),
        (dict(frozen_stages=7), "frozen_stages"),
        (dict(norm_cfg=dict(type="GN", num_groups=2)), "'GN'"),
        (dict(norm_cfg=dict(type="BN", affine=False)), "affine=True"),
    ],
)
def test_wrong_options_are_named_in_one_sentence(options, message):
    with pytest.raises((ConfigError, SubnetError), match=message) as error:
        SlimmableResNet(**options)
    assert "\n" not in str(error.value)
