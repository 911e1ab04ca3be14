import copy

import pytest
import torch
from mmdet.registry import MODELS as MMDET_MODELS
from mmpretrain.registry import MODELS as MMPRETRAIN_MODELS
from torchvision.models import mobilenet_v3_large, mobilenet_v3_small

from mmssl_dynamic.calibration import calibrate_path
from mmssl_dynamic.errors import ArtifactError, ConfigError, MissingStatisticsError, SubnetError
from mmssl_dynamic.models import SlimmableMobileNetV3, StaticMobileNetV3, SuperNetwork
from mmssl_dynamic.models.backbones import Origin
from tests.calibration.bn_reference import assert_close, cumulative, images
from tests.models.backbones.slimmable_checks import assert_equals_twin, assert_prefixes, randomise, train_all

THREE = (0.5, 1.0, 1.5)
FIVE = (0.5, 0.75, 1.0, 1.25, 1.5)
ELEVEN = tuple(round(0.5 + i / 10, 1) for i in range(11))
MULTI_SCALE = dict(large=(0, 3, 6, 12, 16), small=(1, 3, 8, 12))
SMALL = dict(arch="small", widths=(0.5, 0.75, 1.0))


def make(seed=0, **options):
    return randomise(SlimmableMobileNetV3(**options), seed)


@pytest.mark.parametrize(
    ("arch", "widths", "switchable_bn"),
    [
        ("large", FIVE, None),
        ("large", THREE, "statistics"),
        ("large", THREE, "all"),
        ("small", FIVE, "all"),
        ("small", ELEVEN, None),
    ],
    ids=str,
)
def test_every_network_equals_its_static_twin_in_outputs_and_gradients(arch, widths, switchable_bn):
    net = make(arch=arch, widths=widths, switchable_bn=switchable_bn, out_indices=MULTI_SCALE[arch])
    x = torch.randn(2, 3, 64, 64)
    assert len(net.subnets) == len(widths)
    for name in net.subnets:
        assert_equals_twin(net, name, x)


@pytest.mark.parametrize("arch", ["large", "small"])
def test_weights_of_a_narrow_network_are_a_prefix_of_the_wide_ones(arch):
    assert_prefixes(make(arch=arch, widths=FIVE))


@pytest.mark.parametrize(
    ("arch", "stock", "last"), [("large", mobilenet_v3_large, 17), ("small", mobilenet_v3_small, 13)]
)
def test_every_width_has_the_shapes_of_torchvisions_network(arch, stock, last):
    for width in ELEVEN:
        ours = SlimmableMobileNetV3(arch, ELEVEN, subnet=f"w{width}")
        theirs = stock(width_mult=width).features[:last]
        assert [p.shape for p in ours.parameters()] == [p.shape for p in theirs.parameters()], width


def test_one_network_alone_equals_mmpretrains_outputs_and_keys():
    theirs = MMPRETRAIN_MODELS.build(dict(type="MobileNetV3", arch="large", out_indices=(3, 6, 12, 16)))
    ours = SlimmableMobileNetV3(widths=(1.0,), out_indices=(3, 6, 12, 16))
    state = {**theirs.state_dict(), "switches": torch.tensor([1.0], dtype=torch.float64)}
    ours.load_state_dict(state, strict=True)
    x = torch.randn(2, 3, 64, 64)
    for mode in (True, False):
        ours.train(mode), theirs.train(mode)
        for y, z in zip(ours(x), theirs(x)):
            torch.testing.assert_close(y, z, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("registry", [MMPRETRAIN_MODELS, MMDET_MODELS], ids=["mmpretrain", "mmdet"])
def test_a_fixed_width_builds_that_network_alone_from_any_openmmlab_registry(registry, tmp_path):
    net = make(**SMALL)
    twin = net.static("w0.75")
    torch.save(twin.state_dict(), tmp_path / "twin.pth")
    fixed = registry.build(
        dict(
            type="mmssl_dynamic.SlimmableMobileNetV3",
            subnet="w0.75",
            out_indices=(1, 3, 8),
            frozen_stages=1,
            norm_eval=True,
            init_cfg=dict(type="Pretrained", checkpoint=str(tmp_path / "twin.pth")),
            **SMALL,
        )
    )
    fixed.init_weights()
    assert [(k, v.shape) for k, v in fixed.state_dict().items()] == [(k, v.shape) for k, v in twin.state_dict().items()]
    fixed.load_state_dict(twin.state_dict(), strict=True)
    twin.out_indices = (1, 3, 8)
    x = torch.randn(2, 3, 64, 64)
    for y, z in zip(fixed.eval()(x), twin.eval()(x)):
        assert torch.equal(y, z)
    assert isinstance(fixed, StaticMobileNetV3)
    assert not isinstance(fixed, SuperNetwork)
    assert fixed.origin == twin.origin == Origin(net.config(), "w0.75")
    assert fixed.out_channels == tuple(y.shape[1] for y in fixed(x))
    assert sum(p.numel() for p in fixed.parameters()) == net.num_parameters("w0.75")


def test_the_widest_network_is_the_full_one_under_both_names():
    net = make(**SMALL).eval()
    x = torch.randn(2, 3, 64, 64)
    outputs = []
    for name in ("full", "w1.0"):
        with net.subnet(name):
            outputs.append(net(x)[0])
            assert net.active == "full"
    assert torch.equal(*outputs)
    assert torch.equal(outputs[0], net(x)[0])
    assert net.num_parameters("w1.0") == net.num_parameters() == sum(p.numel() for p in net.parameters())
    for name in ("full", "w1.0"):
        assert SlimmableMobileNetV3(**SMALL, subnet=name).origin.subnet == "w1.0"


def test_a_network_is_active_inside_its_block_only_also_after_an_error():
    net = make(**SMALL)
    before = copy.deepcopy(net.state_dict())
    sizes = net.out_channels
    with net.subnet("w0.75"):
        inside = net.out_channels
        with pytest.raises(RuntimeError), net.subnet("w0.5"):
            net(torch.randn(2, 4, 64, 64))  # four channels
        assert net.out_channels == inside != sizes
        assert net.active == "w0.75"
    assert net.active == "full"
    assert net.out_channels == sizes
    with pytest.raises(SubnetError, match=r"w0\.6"), net.subnet("w0.6"):
        pass
    assert net.active == "full"
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())
    assert not any(getattr(module, "_gathered", None) for module in net.modules())


@pytest.mark.parametrize("frozen", [0, 3, 11])
def test_frozen_stages_neither_learn_nor_move_their_statistics(frozen):
    net = make(arch="small", widths=(1.0,), frozen_stages=frozen)
    net.train()
    before = copy.deepcopy(net.state_dict())
    net(torch.randn(2, 3, 64, 64))[0].sum().backward()
    for name, parameter in net.named_parameters():
        layer = int(name.split(".")[0].removeprefix("layer"))
        assert (parameter.grad is None) == (layer <= frozen), name
    for name, value in net.state_dict().items():
        if name.endswith("running_mean"):
            layer = int(name.split(".")[0].removeprefix("layer"))
            assert torch.equal(value, before[name]) == (layer <= frozen), name


def test_norm_eval_keeps_norm_layers_in_evaluation_mode_while_training():
    net = make(**SMALL, norm_eval=True, switchable_bn="statistics").train()
    x = torch.randn(2, 3, 64, 64)
    before = copy.deepcopy(net.state_dict())
    net(x)
    with net.subnet("w0.5"), pytest.raises(MissingStatisticsError, match=r"w0\.5"):
        net(x)
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())
    assert net.layer1.training


def test_switchable_statistics_follow_training_as_those_of_a_network_trained_alone():
    net = make(**SMALL, switchable_bn="statistics")
    x = torch.randn(4, 3, 64, 64)
    twins = {name: net.static(name).train() for name in net.subnets}
    for twin in twins.values():
        with torch.no_grad():
            twin(x)
    assert not net.has_bn_statistics("w0.5")
    with pytest.raises(MissingStatisticsError, match=r"w0\.5"):
        net.bn_statistics("w0.5")
    train_all(net, x)
    net.eval()
    for name, twin in twins.items():
        with net.subnet(name):
            torch.testing.assert_close(net(x)[0], twin.eval()(x)[0])
        for layer, (mean, var) in net.bn_statistics(name).items():
            torch.testing.assert_close(mean, twin.get_submodule(layer).running_mean)
            torch.testing.assert_close(var, twin.get_submodule(layer).running_var)
        for key, value in net.static(name).state_dict().items():
            if "num_batches" not in key:
                torch.testing.assert_close(value, twin.state_dict()[key])
    other = SlimmableMobileNetV3(**SMALL, switchable_bn="statistics").eval()
    other.load_state_dict(net.state_dict(), strict=True)
    with net.subnet("w0.5"), other.subnet("w0.5"):
        assert torch.equal(net(x)[0], other(x)[0])


def test_calibration_pools_exactly_and_evaluates_as_one_joint_batch():
    net = make(**SMALL)
    batch = images(12, size=64)
    for name in net.subnets:
        expected = cumulative(net.static(name), batch)
        assert_close(calibrate_path(net, name, [batch]), expected)
        pooled = calibrate_path(net, name, batch.split(5))
        assert_close({"layer0.bn": pooled["layer0.bn"]}, {"layer0.bn": expected["layer0.bn"]})
        assert pooled.keys() == expected.keys() == net.batch_norms(name).keys()
        net.set_bn_statistics(name, pooled)
        net.eval()
        with net.subnet(name):
            outputs = net(batch)[0]
        torch.testing.assert_close(outputs, net.static(name)(batch)[0])


def pretrained(path, prefix=None, **options):
    init_cfg = dict(type="Pretrained", checkpoint=str(path))
    if prefix:
        init_cfg["prefix"] = prefix
    return SlimmableMobileNetV3(**options, init_cfg=init_cfg)


def assert_same(net, other):
    for name, value in other.state_dict().items():
        assert torch.equal(net.state_dict()[name], value), name


def test_a_super_network_loads_its_own_checkpoint_and_a_plain_one_of_the_widest_network(tmp_path):
    net = make(**SMALL)
    torch.save({"state_dict": {f"backbone.{k}": v for k, v in net.state_dict().items()}}, tmp_path / "super.pth")
    plain = {f"backbone.{k}": v for k, v in net.static("full").state_dict().items()}
    torch.save({"state_dict": {**plain, "neck.fc0.weight": torch.zeros(2)}}, tmp_path / "byol.pth")
    for file in ("super.pth", "byol.pth"):
        for prefix in ("backbone.", None):
            loaded = pretrained(tmp_path / file, prefix, **SMALL)
            loaded.init_weights()
            assert_same(loaded, net)
    fixed = pretrained(tmp_path / "super.pth", "backbone.", **SMALL, subnet="w1.0")  # the widest has the same shapes
    fixed.init_weights()
    assert_same(net, fixed)


@pytest.mark.parametrize("switchable_bn", ["statistics", "all"])
def test_weights_without_switches_start_switchable_batch_norm(tmp_path, switchable_bn):
    net = make(**SMALL)
    torch.save(net.state_dict(), tmp_path / "super.pth")
    loaded = pretrained(tmp_path / "super.pth", **SMALL, switchable_bn=switchable_bn)
    loaded.init_weights()
    assert not loaded.has_bn_statistics("w0.5")
    x = torch.randn(2, 3, 64, 64)
    for name in net.subnets:  # affine parameters of a switch start as the shared ones
        with net.subnet(name), loaded.subnet(name):
            assert torch.equal(loaded(x)[0], net(x)[0])


def test_checkpoints_that_do_not_fit_are_refused_in_one_sentence(tmp_path):
    net = make(**SMALL, switchable_bn="all")
    torch.save(net.state_dict(), tmp_path / "all.pth")
    torch.save(make(**SMALL).state_dict(), tmp_path / "super.pth")
    torch.save(make(arch="small", widths=(0.75,), subnet="w0.75").state_dict(), tmp_path / "plain.pth")
    torch.save({"fc.weight": torch.zeros(2)}, tmp_path / "head.pth")
    (tmp_path / "broken.pth").write_bytes(b"no checkpoint")
    large = dict(arch="large", widths=SMALL["widths"])
    cases = [
        ("super.pth", large, "lacks"),
        ("super.pth", dict(arch="small", widths=(0.25, 0.5, 1.0)), "was trained with the networks"),
        ("super.pth", dict(arch="small", widths=(0.5, 1.0)), "was trained with the networks"),
        ("super.pth", dict(**SMALL, subnet="w0.5"), "export the sub-network first"),
        ("plain.pth", SMALL, "of a network of that width"),
        ("all.pth", SMALL, "switchable_bn='all'"),
        ("head.pth", SMALL, "lacks"),
        ("broken.pth", SMALL, "broken.pth"),
        ("nowhere.pth", SMALL, "does not exist"),
    ]
    for file, options, message in cases:
        with pytest.raises(ArtifactError, match=message) as error:
            pretrained(tmp_path / file, **options).init_weights()
        assert "\n" not in str(error.value)
        assert file in str(error.value)


def test_weights_of_other_widths_are_refused_however_they_are_loaded():
    state = make(**SMALL).state_dict()
    other = SlimmableMobileNetV3(arch="small", widths=(0.5, 0.9, 1.0))  # the same keys and shapes
    for strict in (True, False):
        with pytest.raises(ArtifactError, match="was trained with the networks"):
            other.load_state_dict(state, strict=strict)
    half = SlimmableMobileNetV3(**SMALL)
    half.load_state_dict({name: value.half() for name, value in state.items()})


def test_pretrained_weights_in_a_list_of_init_cfgs_are_loaded_as_strictly(tmp_path):
    net = SlimmableMobileNetV3(**SMALL, init_cfg=[dict(type="Pretrained", checkpoint=str(tmp_path / "none.pth"))])
    with pytest.raises(ArtifactError, match="does not exist"):
        net.init_weights()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (dict(arch="medium"), "arch='medium'"),
        (dict(widths=(1.0, 0.5)), "ascending"),
        (dict(widths=(0.05, 1.0)), "at least 0.25"),
        (dict(widths=(1.0, 1.001)), "same channels"),
        (dict(subnet="w0.6"), "unknown sub-network 'w0.6'"),
        (dict(subnet="wide"), "unknown sub-network 'wide'"),
        (dict(switchable_bn="yes"), "switchable_bn='yes'"),
        (dict(out_indices=(17,)), "out_indices"),
        (dict(out_indices=()), "out_indices"),
        (dict(out_indices=(3, 1)), "out_indices"),
        (dict(frozen_stages=17), "frozen_stages"),
        (dict(norm_cfg=dict(type="GN", num_groups=2)), "'GN'"),
        (dict(norm_cfg=dict(type="BN", eps=1e-5)), "eps=0.001"),
    ],
)
def test_wrong_options_are_named_in_one_sentence(options, message):
    with pytest.raises((ConfigError, SubnetError), match=message) as error:
        SlimmableMobileNetV3(**options)
    assert "\n" not in str(error.value)
