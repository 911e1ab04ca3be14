"""An exported file is a plain backbone that other code loads strictly and that computes the same."""

import json
from dataclasses import replace

import pytest
import torch
import torchvision
from mmengine.runner.checkpoint import load_checkpoint
from mmpretrain.models import ImageClassifier
from torch import nn

from mmssl_dynamic.calibration import BNBank, calibrate_path
from mmssl_dynamic.errors import ArtifactError, ConfigError, MissingStatisticsError, SubnetError
from mmssl_dynamic.export import ResNetArchitecture, torchvision_resnet
from mmssl_dynamic.export.families import resnet as resnet_family
from mmssl_dynamic.export.families.resnet import resnet_outputs
from mmssl_dynamic.export.formats import find_format
from mmssl_dynamic.features import pooled_features
from mmssl_dynamic.fileio import load_state_dict, weights_fingerprint
from mmssl_dynamic.models import SDRResNet
from mmssl_dynamic.registry import MODELS
from tests.helpers import export_subnet

NAME = "0-1-0-1"


def super_network(depth=18, stage_channels=(8, 16, 32, 64), stage_groups=(2, 2, 2, 2), stem_channels=5):
    torch.manual_seed(0)
    net = SDRResNet(depth, stage_channels, stage_groups, stem_channels=stem_channels)
    for parameter in net.parameters():  # no scale of a residual branch is zero, or its weights would not matter
        if parameter.ndim == 1:
            nn.init.uniform_(parameter, 0.5, 1.5)
    return net.eval()


def images(count=4, size=64):
    return torch.randn(count, 3, size, size, generator=torch.Generator().manual_seed(1))


@pytest.fixture(scope="module")
def net():
    net = super_network()
    net.set_bn_statistics(NAME, calibrate_path(net, NAME, [images(8)]))
    net.set_bn_statistics("full", calibrate_path(net, "full", [images(8)]))
    return net


def expected(net, name=NAME):
    with torch.no_grad(), net.subnet(name):
        return net(images())[-1]


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
@pytest.mark.parametrize("format", ["mmpretrain", "mmdet", "torchvision"])
def test_every_format_is_read_back_and_compared_before_it_is_there(net, tmp_path, format, suffix):
    report = export_subnet(net, NAME, tmp_path / f"backbone{suffix}", format)
    assert report.max_difference < 1e-4
    assert f"backbone{suffix}" in str(report)
    assert sorted(p.name for p in tmp_path.iterdir()) == [f"backbone{suffix}", f"backbone{suffix}.json"]
    keys = set(load_state_dict(report.path))
    assert ("backbone.layer1.0.bn1.running_mean" in keys) == (format == "mmpretrain")
    assert ("layer1.0.bn1.running_mean" in keys) == (format != "mmpretrain")
    models = {"torchvision": ("torchvision's ResNet",)}.get(format, (f"SDRResNet(subnet='{NAME}')",))
    if format != "torchvision" and suffix == ".pth":
        models += ("mmpretrain's ResNet",)  # the widths of this network double, as mmpretrain's do
    assert report.models == models


def test_sidecar_tells_what_the_file_is_and_its_config_builds_the_backbone(net, tmp_path):
    report = export_subnet(
        net, NAME, tmp_path / "b.pth", "mmdet", bn="prefix", provenance={"checkpoint": "epoch_1.pth"}
    )
    sidecar = json.loads(report.sidecar.read_text())
    assert sidecar["subnet"] == NAME
    assert sidecar["format"] == "mmdet"
    assert sidecar["bn"] == "prefix"
    assert sidecar["checkpoint"] == "epoch_1.pth"
    assert sidecar["architecture"]["stage_channels"] == [6, 12, 24, 48]
    assert sidecar["out_channels"] == [6, 12, 24, 48]
    assert sidecar["source_weights_fingerprint"] == weights_fingerprint(net.state_dict())
    backbone = MODELS.build(sidecar["usage"]["backbone"])
    backbone.init_weights()
    assert backbone.out_channels == (6, 12, 24, 48)
    with torch.no_grad():
        torch.testing.assert_close(backbone.eval()(images())[-1], expected(net))


def test_an_mmpretrain_classifier_takes_the_file_through_mmengine(net, tmp_path):
    report = export_subnet(net, NAME, tmp_path / "b.pth", "mmpretrain")
    usage = json.loads(report.sidecar.read_text())["usage"]["backbone"]
    usage.pop("init_cfg")
    head = {"type": "mmpretrain.LinearClsHead", "num_classes": 3, "in_channels": 48}
    classifier = ImageClassifier(usage, {"type": "mmpretrain.GlobalAveragePooling"}, head).eval()
    load_checkpoint(classifier, str(report.path), strict=False)
    with torch.no_grad():
        torch.testing.assert_close(classifier.backbone(images())[-1], expected(net))


def test_torchvisions_own_class_takes_the_file_strictly(net, tmp_path):
    report = export_subnet(net, NAME, tmp_path / "b.pth", "torchvision")
    model = torchvision_resnet(json.loads(report.sidecar.read_text()))
    assert type(model) is torchvision.models.ResNet
    model.load_state_dict(torch.load(report.path, weights_only=True), strict=True)
    with torch.no_grad():
        torch.testing.assert_close(model.eval()(images()), expected(net).mean((2, 3)))


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_the_snippet_of_the_sidecar_needs_torchvision_alone(tmp_path, monkeypatch, suffix):
    net = super_network(50, (8, 8, 16, 24), (1, 1, 4, 2))
    net.set_bn_statistics("0-0-3-1", calibrate_path(net, "0-0-3-1", [images(4)]))
    report = export_subnet(net, "0-0-3-1", tmp_path / f"b{suffix}", "torchvision")
    snippet = json.loads(report.sidecar.read_text())["usage"]
    monkeypatch.chdir(tmp_path)
    scope = {}
    exec(snippet, scope)
    with torch.no_grad():
        torch.testing.assert_close(scope["net"].eval()(images()), expected(net, "0-0-3-1").mean((2, 3)))


def test_stock_widths_of_torchvision_are_rebuilt_exactly():
    for depth, stock in ((18, torchvision.models.resnet18), (50, torchvision.models.resnet50)):
        with torch.device("meta"):
            ours, theirs = torchvision_resnet(depth=depth).state_dict(), stock(weights=None).state_dict()
        assert {k: v.shape for k, v in ours.items()} == {
            k: v.shape for k, v in theirs.items() if not k.startswith("fc.")
        }
    assert ResNetArchitecture.of_depth(50, (65, 125, 250, 500)).base_channels is None
    assert ResNetArchitecture.of_depth(50).out_channels == [256, 512, 1024, 2048]


def test_the_full_network_and_widths_that_do_not_double_can_be_exported(net, tmp_path):
    assert export_subnet(net, "full", tmp_path / "full.pth").models[0] == "SDRResNet(subnet='full')"
    odd = super_network(50, (8, 8, 16, 24), (1, 1, 4, 2))
    odd.set_bn_statistics("0-0-2-0", calibrate_path(odd, "0-0-2-0", [images(4)]))
    assert export_subnet(odd, "0-0-2-0", tmp_path / "odd.pth").models == ("SDRResNet(subnet='0-0-2-0')",)


def test_export_uses_the_statistics_that_were_set_last(tmp_path):
    net = super_network()
    for bn in (1.0, 3.0):
        statistics = calibrate_path(net, NAME, [bn * images(8)])
        net.set_bn_statistics(NAME, statistics)
        report = export_subnet(net, NAME, tmp_path / "b.pth", "mmdet")
        assert torch.equal(load_state_dict(report.path)["bn1.running_var"], statistics["bn1"][1])


def test_exporting_does_not_change_the_super_network(net, tmp_path):
    net.train()
    before = {key: value.clone() for key, value in net.state_dict().items()}
    export_subnet(net, NAME, tmp_path / "b.pth")
    assert all(part.training for part in net.modules())
    assert all(torch.equal(before[key], value) for key, value in net.state_dict().items())
    net.eval()


def test_a_sub_network_without_statistics_is_refused(net, tmp_path):
    with pytest.raises(MissingStatisticsError, match="tools/calibrate_bn.py"):
        export_subnet(net, "0-0-0-0", tmp_path / "b.pth")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("options", "error", "words"),
    [
        ({"name": "0-9-0-0"}, SubnetError, "unknown sub-network"),
        (
            {"format": "caffe"},
            ConfigError,
            "one of mmdet, mmpretrain, onnx, onnx_int8, openvino, tflite, timm, torchvision",
        ),
        ({"format": "onnx"}, ConfigError, "must end in .onnx"),
        ({"format": "timm"}, ConfigError, "'timm' cannot hold .*stem of 64 channels and the sub-network one of 5; use"),
        ({"out": "b.ckpt"}, ConfigError, "must end in .pth or .safetensors"),
    ],
)
def test_impossible_requests_are_refused(net, tmp_path, options, error, words):
    arguments = {"name": NAME, "out": "b.pth", "format": "mmdet", **options}
    with pytest.raises(error, match=words):
        export_subnet(net, arguments["name"], tmp_path / arguments["out"], arguments["format"])
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("format", ["mmpretrain", "mmdet", "torchvision"])
def test_a_wrong_tensor_in_the_file_is_noticed_and_the_file_is_gone(net, tmp_path, monkeypatch, format):
    write = type(find_format(format)).write

    def damaged(self, source, path):
        state = {**source.state, "layer3.1.conv2.weight": source.state["layer3.1.conv2.weight"] * 1.01}
        write(self, replace(source, state=state), path)

    monkeypatch.setattr(type(find_format(format)), "write", damaged)
    with pytest.raises(ArtifactError, match=r"'layer3.1.conv2.weight' read back .* differs; nothing was written"):
        export_subnet(net, NAME, tmp_path / "b.pth", format)
    assert not list(tmp_path.iterdir())


def test_outputs_that_differ_are_noticed_and_the_file_is_gone(net, tmp_path, monkeypatch):
    off = lambda model, x: {i: o * 1.01 for i, o in resnet_outputs(model, x).items()}  # noqa: E731
    monkeypatch.setattr(resnet_family, "resnet_outputs", off)
    with pytest.raises(ArtifactError, match=r"outputs of torchvision's ResNet differ"):
        export_subnet(net, NAME, tmp_path / "b.safetensors", "torchvision")
    assert not list(tmp_path.iterdir())


def test_a_failed_export_leaves_an_earlier_one_alone(net, tmp_path, monkeypatch):
    report = export_subnet(net, NAME, tmp_path / "b.pth", "torchvision")
    before = report.path.read_bytes(), report.sidecar.read_bytes()
    off = lambda model, x: {i: o + 1 for i, o in resnet_outputs(model, x).items()}  # noqa: E731
    monkeypatch.setattr(resnet_family, "resnet_outputs", off)
    with pytest.raises(ArtifactError):
        export_subnet(net, NAME, tmp_path / "b.pth", "torchvision")
    assert (report.path.read_bytes(), report.sidecar.read_bytes()) == before


def test_a_bank_and_an_export_make_the_features_that_routing_saw(tmp_path):
    net = super_network()
    bank = BNBank.of(net)
    bank.path[NAME] = calibrate_path(net, NAME, [images(8)])
    bank.apply(net, [NAME])
    report = export_subnet(net, NAME, tmp_path / "b.pth", "torchvision")
    model = torchvision_resnet(json.loads(report.sidecar.read_text()))
    model.load_state_dict(load_state_dict(report.path))

    class Batch:
        images, labels = images(), torch.tensor([0, 1, 0, 1])

    features, labels = pooled_features(net, [Batch, Batch], NAME)
    assert labels.tolist() == [0, 1, 0, 1] * 2
    plain, _ = pooled_features(model, [Batch, Batch])
    torch.testing.assert_close(features, plain)
