"""What all backbones have in common: outputs, shortcuts as in torchvision, norm layers, layers that nothing needs."""

import pytest
import torch
import torch.distributed as dist
from mmengine.model import convert_sync_batchnorm
from mmpretrain.registry import MODELS as MMPRETRAIN_MODELS
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from mmssl_dynamic.errors import ConfigError
from mmssl_dynamic.export import torchvision_resnet
from mmssl_dynamic.models import SDRResNet, SlimmableMobileNetV3, SlimmableResNet, StaticMobileNetV3, StaticResNet
from mmssl_dynamic.models.backbones.layers import on_one_device
from mmssl_dynamic.models.elastic import ElasticBatchNorm, SyncBN
from tests.helpers import export_subnet, randomise

SDR = dict(depth=18, stage_channels=(16, 16, 32, 32), stem_channels=8)
RESNET = dict(channels=((8,) * 4, (16,) * 4), blocks=((1, 1, 1, 1),))
MOBILENET = dict(arch="small", widths=(0.25, 0.5))
ALONE = {
    "sdr": lambda **options: SDRResNet(**SDR, subnet="0-3-1-2", **options),
    "resnet": lambda **options: SlimmableResNet(**RESNET, subnet="w0.033333-d1111", **options),
    "mobilenet": lambda **options: SlimmableMobileNetV3(**MOBILENET, subnet="w0.25", **options),
    "StaticResNet": lambda **options: StaticResNet(18, (8, 8, 16, 16), 4, **options),
    "StaticMobileNetV3": lambda **options: StaticMobileNetV3("small", 0.25, **options),
}
WHOLE = {
    "sdr": lambda **options: SDRResNet(**SDR, **options),
    "resnet": lambda **options: SlimmableResNet(**RESNET, **options),
    "mobilenet": lambda **options: SlimmableMobileNetV3(**MOBILENET, **options),
}


def images(count=2):
    return torch.randn(count, 3, 64, 64, generator=torch.Generator().manual_seed(0))


@pytest.fixture
def one_process(tmp_path):
    dist.init_process_group("gloo", init_method=f"file://{tmp_path}/group", rank=0, world_size=1)
    yield
    dist.destroy_process_group()


@pytest.mark.parametrize("build", [*ALONE.values(), *WHOLE.values()])
def test_layers_behind_the_last_output_are_not_run_and_not_waited_for(build, one_process):
    """DistributedDataParallel fails in the second step if a parameter with gradient took no part in the first."""
    net = build(out_indices=(0, 2), with_cp=True).train()
    parts = list(net.children())
    behind = parts[net.stem_parts + 3 :]
    assert behind
    for part in behind:
        part.register_forward_hook(lambda *_: pytest.fail("a layer ran that no output needs"))
        assert not any(p.requires_grad for p in part.parameters())
    parallel = DistributedDataParallel(net)
    for _ in range(2):
        outputs = parallel(images())
        sum(y.square().mean() for y in outputs).backward()
    assert tuple(y.shape[1] for y in outputs) == net.out_channels
    needed = [p for part in parts[: net.stem_parts + 3] for p in part.parameters()]
    assert all(p.grad is not None for p in needed)


@pytest.mark.parametrize("norm_cfg", [dict(type="GN", num_groups=2), dict(type="IN", affine=True), dict(type="SyncBN")])
@pytest.mark.parametrize("key", ALONE)
def test_one_network_alone_takes_any_norm_layer(key, norm_cfg):
    net = ALONE[key](norm_cfg=norm_cfg)
    kind = {"GN": nn.GroupNorm, "IN": nn.InstanceNorm2d, "SyncBN": nn.SyncBatchNorm}[norm_cfg["type"]]
    norms = [module for module in net.modules() if isinstance(module, kind)]
    assert len(norms) > 10
    assert all(norm.weight is not None for norm in norms)
    if norm_cfg["type"] != "SyncBN":
        assert {norm.eps for norm in norms} == {1e-5}  # its own
        assert torch.isfinite(net(images())[0]).all()
    elif "obile" in key:
        assert {(norm.eps, norm.momentum) for norm in norms} == {(1e-3, 0.01)}  # MobileNetV3's


@pytest.mark.parametrize(
    "kind", ["SyncBN", "MMSyncBN", "mmssl_dynamic.SyncBN", "mmdet.SyncBN", nn.SyncBatchNorm, SyncBN]
)
def test_every_name_of_synchronised_batch_norm_is_known(kind):
    norm_cfg = dict(type=kind, requires_grad=True)
    assert on_one_device(norm_cfg) == dict(type="BN", requires_grad=True)
    norms = [m for m in SDRResNet(**SDR, norm_cfg=norm_cfg).modules() if isinstance(m, ElasticBatchNorm)]
    assert norms
    assert all(norm.sync for norm in norms)


@pytest.mark.parametrize("kind", ["BN", "mmdet.BN", nn.BatchNorm2d, "GN", "LN2d", nn.GroupNorm])
def test_other_norm_layers_stay_as_they_are(kind):
    assert on_one_device(dict(type=kind)) == dict(type=kind)
    assert on_one_device(None) is None


def test_a_class_as_the_type_of_a_norm_layer_gets_the_constants_of_the_network():
    net = StaticMobileNetV3("small", 0.25, norm_cfg=dict(type=nn.BatchNorm2d))
    assert {(m.eps, m.momentum) for m in net.modules() if isinstance(m, nn.BatchNorm2d)} == {(1e-3, 0.01)}
    with pytest.raises(ConfigError, match="'GroupNorm' is not supported by elastic layers"):
        SDRResNet(**SDR, norm_cfg=dict(type=nn.GroupNorm, num_groups=2))


@pytest.mark.parametrize("implementation", ["torch", "mmcv"])
@pytest.mark.parametrize("key", WHOLE)
def test_elastic_layers_that_sync_bn_replaced_are_missed(key, implementation, one_process):
    """mmengine's ``sync_bn`` replaces every BatchNorm layer, also those that know sub-networks."""
    if implementation == "mmcv":
        pytest.importorskip("mmcv._ext")
    net = convert_sync_batchnorm(WHOLE[key](), implementation)
    for name in (net.subnets[0], "full"):
        message = r"leave sync_bn out .* norm_cfg=dict\(type='SyncBN'\)"
        with pytest.raises(ConfigError, match=message) as error, net.subnet(name):
            pass
        assert "\n" not in str(error.value)
    with pytest.raises(ConfigError, match="SyncBatchNorm"):
        net.static("full")
    untouched = WHOLE[key](norm_cfg=dict(type="SyncBN")).train()
    with untouched.subnet(untouched.subnets[0]):
        untouched(images())


NARROW = dict(stage_channels=(4, 4, 8, 8), stem_channels=16)  # a bottleneck of 4 channels puts out 16


def test_a_stem_as_wide_as_the_first_stage_has_no_projection_as_in_torchvision(tmp_path):
    ours = StaticResNet(50, **NARROW)
    theirs = torchvision_resnet(depth=50, **NARROW)
    theirs.load_state_dict(ours.state_dict(), strict=True)
    assert ours.layer1[0].downsample is None
    mmpretrains = MMPRETRAIN_MODELS.build(
        dict(type="ResNet", depth=50, stem_channels=16, base_channels=4, norm_cfg=dict(type="BN"))
    )
    same_widths = StaticResNet(50, (4, 8, 16, 32), 16)
    mmpretrains.load_state_dict(same_widths.state_dict(), strict=True)
    # Unsplit, super-network and sub-networks agree.
    net = randomise(SDRResNet(50, stage_groups=(1, 1, 2, 2), **NARROW), ["0-0-1-0"])
    assert net.layer1[0].downsample is None
    report = export_subnet(net, "0-0-1-0", tmp_path / "narrow.pth", "torchvision")
    assert report.weights_compared


@pytest.mark.parametrize("stem", [32, 20])  # the full network's first stage, and a sub-network's
def test_a_first_stage_of_which_only_some_networks_would_project_is_refused(stem):
    with pytest.raises(ConfigError, match=f"stem_channels={stem} must differ from the first stage's 32 .* the 20 of a"):
        SDRResNet(50, stage_channels=(8, 8, 8, 8), stem_channels=stem)


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("key", WHOLE)
def test_statistics_follow_the_type_of_the_module(key, dtype):
    net = randomise(WHOLE[key](), None if key != "sdr" else ["0-3-1-2", "full"])
    name = net.subnets[0] if key != "sdr" else "0-3-1-2"
    with torch.no_grad(), net.subnet(name):
        (wanted,) = net(images())
    statistics = net.bn_statistics(name)
    tolerance = 1e-5 if dtype is torch.float64 else 0.1
    before, after = net, WHOLE[key]()
    after.load_state_dict(net.state_dict())
    before.to(dtype)  # statistics that were set before, and afterwards
    after.to(dtype).set_bn_statistics(name, statistics)
    for net in (before, after.eval()):
        assert all(s.dtype is dtype for pair in net.bn_statistics(name).values() for s in pair)
        twin = net.static(name)
        assert {t.dtype for t in twin.state_dict().values() if t.is_floating_point()} == {dtype}
        with torch.no_grad(), net.subnet(name):
            (found,) = net(images().to(dtype))
        assert found.dtype is dtype
        assert float((found.float() - wanted).norm() / wanted.norm()) < tolerance
        with torch.no_grad():
            torch.testing.assert_close(twin(images().to(dtype))[0], found)


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
@pytest.mark.parametrize("key", ["resnet", "mobilenet"])
def test_switchable_statistics_of_another_type_are_trained(key, dtype):
    net = WHOLE[key](switchable_bn="all").to(dtype).train()
    for name in net.subnets:
        with net.subnet(name):
            net(images(4).to(dtype))[0].float().square().mean().backward()
    assert all(net.has_bn_statistics(name) for name in net.subnets)
    assert {p.grad.dtype for p in net.parameters() if p.grad is not None} == {dtype}


def test_a_twin_keeps_the_memory_format():
    net = randomise(SDRResNet(**SDR), ["0-3-1-2"]).to(memory_format=torch.channels_last)
    weight = net.static("0-3-1-2").layer2[0].conv1.weight
    assert weight.is_contiguous(memory_format=torch.channels_last)
