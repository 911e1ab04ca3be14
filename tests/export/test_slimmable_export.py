"""Networks of slimmable super-networks leave them in every format, and the sidecar loads them."""

import json

import pytest
import torch

from mmssl_dynamic.errors import ArtifactError, ConfigError, MissingStatisticsError
from mmssl_dynamic.export import (
    MobileNetV3Architecture,
    ResNetArchitecture,
    formats,
    torchvision_mobilenet_v3,
    torchvision_resnet,
)
from mmssl_dynamic.fileio import load_state_dict
from mmssl_dynamic.models import SlimmableMobileNetV3, SlimmableResNet
from mmssl_dynamic.models.backbones import mobilenet_v3_keys
from mmssl_dynamic.registry import FORMATS, MODELS
from tests.helpers import export_subnet, randomise


def mobilenet(**options):
    torch.manual_seed(0)
    return randomise(SlimmableMobileNetV3("small", (0.35, 0.5), **options))


def resnet(channels=((64, 16, 16, 24), (64, 24, 24, 32)), **options):
    torch.manual_seed(0)
    return randomise(SlimmableResNet(channels, ((1, 2, 1, 1), (1, 2, 2, 1)), **options))


NETWORKS = {
    "MobileNetV3": (mobilenet, "w0.35"),
    "ResNet": (resnet, None),
    "bottlenecks": (lambda: resnet(block="bottleneck"), None),
    "grey": (lambda: mobilenet(in_channels=1), "w0.5"),
}


@pytest.fixture(scope="module", params=list(NETWORKS))
def source(request):
    """A super-network, the name of one network, and images."""
    build, name = NETWORKS[request.param]
    net = build()
    return net, name or net.subnets[0], images(net.in_channels)


def images(channels=3, count=2, size=64):
    return torch.randn(count, channels, size, size, generator=torch.Generator().manual_seed(1))


def expected(net, name, x):
    with torch.no_grad(), net.subnet(name):
        return net(x)[-1]


def close(found, wanted):
    torch.testing.assert_close(found, wanted, rtol=0, atol=1e-5 * float(wanted.abs().max()))


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
@pytest.mark.parametrize("format", ["torchvision", "timm"])
def test_the_snippet_of_the_sidecar_needs_the_stock_package_alone(source, tmp_path, monkeypatch, format, suffix):
    net, name, x = source
    report = export_subnet(net, name, tmp_path / f"b{suffix}", format)
    scope = {}
    monkeypatch.chdir(tmp_path)
    exec(json.loads(report.sidecar.read_text())["usage"], scope)
    model = scope["net"].eval()
    assert type(model).__module__.split(".")[0] == format
    with torch.no_grad():
        close(model(x), expected(net, name, x).mean((2, 3)))


@pytest.mark.parametrize("format", ["mmpretrain", "mmdet"])
def test_the_config_of_the_sidecar_builds_the_backbone(source, tmp_path, format):
    net, name, x = source
    sidecar = json.loads(export_subnet(net, name, tmp_path / "b.pth", format).sidecar.read_text())
    backbone = MODELS.build(sidecar["usage"]["backbone"])
    backbone.init_weights()
    with torch.no_grad():
        maps = backbone.eval()(x)
    torch.testing.assert_close(maps[-1], expected(net, name, x))
    if format == "mmdet":
        assert [m.shape[1] for m in maps] == sidecar["out_channels"] == list(backbone.out_channels)
        assert [x.shape[-1] // m.shape[-1] for m in maps] == [4, 8, 16, 32]
        assert list(backbone.out_indices) == sidecar["out_indices"]


def test_the_sidecar_rebuilds_the_architecture_and_torchvisions_model(source, tmp_path):
    net, name, _ = source
    report = export_subnet(net, name, tmp_path / "b.pth", "torchvision")
    sidecar = json.loads(report.sidecar.read_text())
    if isinstance(net, SlimmableMobileNetV3):
        architecture, other = MobileNetV3Architecture.from_sidecar(sidecar), ResNetArchitecture
        model = torchvision_mobilenet_v3(sidecar)
        assert architecture == MobileNetV3Architecture("small", net.space.member(name)[0], net.in_channels)
    else:
        architecture, other = ResNetArchitecture.from_sidecar(sidecar), MobileNetV3Architecture
        model = torchvision_resnet(sidecar)
        assert architecture.blocks == (1, 2, 1, 1)
        assert architecture.depth is None
    assert architecture.record() == sidecar["architecture"]
    model.load_state_dict(load_state_dict(report.path), strict=True)
    with pytest.raises(ArtifactError, match="this sidecar describes a"):
        other.from_sidecar(sidecar)
    with pytest.raises(ArtifactError, match="not the sidecar of an export"):
        other.from_sidecar({"architecture": {}})


def test_timms_variances_make_up_for_its_smaller_eps(tmp_path):
    net = mobilenet()
    own = net.static("w0.35").state_dict()["layer0.bn.running_var"]
    report = export_subnet(net, "w0.35", tmp_path / "b.pth", "timm")
    torch.testing.assert_close(load_state_dict(report.path)["bn1.running_var"], own + 0.00099)
    sidecar = json.loads(report.sidecar.read_text())
    assert sidecar["batch_norm"] == {"eps": 1e-5, "running_var_shift": pytest.approx(0.00099)}
    assert any("conv_head" in note for note in sidecar["notes"])


def test_a_wrong_name_of_a_layer_or_a_forgotten_eps_is_noticed(tmp_path, monkeypatch):
    net = mobilenet()
    monkeypatch.setattr("mmssl_dynamic.export.families.mobilenet_v3.TIMM_EPS", 1e-3)
    with pytest.raises(ArtifactError, match="outputs of timm's MobileNetV3 of these widths differ"):
        export_subnet(net, "w0.35", tmp_path / "b.pth", "timm")
    layers = mobilenet_v3_keys.torchvision_layers("small")
    one, two = "layer11.se.conv1.conv", "layer10.se.conv1.conv"  # of equal shapes
    swapped = {**layers, one: layers[two], two: layers[one]}
    monkeypatch.setattr("mmssl_dynamic.export.families.mobilenet_v3.torchvision_layers", lambda arch: swapped)
    with pytest.raises(ArtifactError, match="outputs of torchvision's mobilenet_v3_small.* differ"):
        export_subnet(net, "w0.35", tmp_path / "b.pth", "torchvision")
    assert not list(tmp_path.iterdir())


def test_the_full_network_is_exported_under_its_own_name(tmp_path):
    net = mobilenet()
    sidecar = json.loads(export_subnet(net, "full", tmp_path / "b.pth", "mmdet").sidecar.read_text())
    assert sidecar["subnet"] == "w0.5"
    assert sidecar["usage"]["backbone"]["subnet"] == "w0.5"
    deep = json.loads(export_subnet(resnet(), "full", tmp_path / "r.pth", "mmdet").sidecar.read_text())
    assert deep["usage"]["backbone"]["subnet"] == resnet().space.largest


@pytest.mark.parametrize("switchable", ["statistics", "all"])
def test_switches_leave_with_statistics_and_scales_of_their_own(tmp_path, switchable):
    torch.manual_seed(0)
    net = SlimmableMobileNetV3("small", (0.35, 0.5), switchable_bn=switchable)
    randomise(net)
    if switchable == "all":
        with torch.no_grad():
            for layer in net.batch_norms().values():
                layer.switch_weight.uniform_(0.5, 1.5)
    report = export_subnet(net, "w0.35", tmp_path / "b.pth", "torchvision", bn="checkpoint")
    model = torchvision_mobilenet_v3(MobileNetV3Architecture("small", 0.35)).eval()
    model.load_state_dict(load_state_dict(report.path), strict=True)
    with torch.no_grad():
        close(model(images()), expected(net, "w0.35", images()).mean((2, 3)))


def test_what_cannot_be_exported_is_refused_in_a_sentence(tmp_path, monkeypatch):
    wide = resnet(channels=((16, 16, 16, 24), (24, 24, 24, 32)))
    with pytest.raises(
        ConfigError, match=r"stem of 64 channels .* one of 16; use torchvision, mmpretrain, mmdet, onnx"
    ):
        export_subnet(wide, wide.subnets[0], tmp_path / "b.pth", "timm")
    with pytest.raises(ConfigError, match="export format 'caffe' is unknown; use one of mmdet, mmpretrain, onnx"):
        export_subnet(wide, wide.subnets[0], tmp_path / "b.pth", "caffe")
    with pytest.raises(ConfigError, match=r"must end in \.onnx"):
        export_subnet(wide, wide.subnets[0], tmp_path / "b.pth", "onnx")
    with pytest.raises(ConfigError, match=r"must end in \.pth or \.safetensors"):
        export_subnet(wide, wide.subnets[0], tmp_path / "b.onnx", "timm")
    bare = SlimmableMobileNetV3("small", (0.35, 0.5)).eval()
    with pytest.raises(MissingStatisticsError, match=r"'w0.35' .*tools/calibrate_bn\.py"):
        export_subnet(bare, "w0.35", tmp_path / "b.pth", "torchvision")
    monkeypatch.setattr(formats, "installed", lambda package: False)
    for format, command in (("timm", "pip install timm"), ("onnx", "pip install onnx onnxruntime")):
        with pytest.raises(ConfigError, match=command):
            export_subnet(bare, "full", tmp_path / f"b{FORMATS.get(format).suffixes[0]}", format)
    assert not list(tmp_path.iterdir())


def test_impossible_architectures_are_refused():
    with pytest.raises(ConfigError, match="is no ResNet"):
        ResNetArchitecture("basic", (2, 2, 2), (8, 8, 8, 8))
    with pytest.raises(ConfigError, match="depth=77"):
        torchvision_resnet(depth=77)
    with pytest.raises(ConfigError, match="both block"):
        torchvision_resnet(block="basic")
    with pytest.raises(ConfigError, match="positive number"):
        MobileNetV3Architecture("small", 0)
    built = torchvision_resnet(block="basic", blocks=(1, 1, 2, 1), stage_channels=(8, 8, 8, 8), stem_channels=8)
    assert [len(getattr(built, f"layer{i}")) for i in range(1, 5)] == [1, 1, 2, 1]
