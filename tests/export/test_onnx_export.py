"""An ONNX export computes the feature maps of the sub-network, at any batch and image size."""

import json

import numpy as np
import onnx
import onnxruntime
import pytest
import torch

from mmssl_dynamic.calibration import calibrate_path
from mmssl_dynamic.errors import ArtifactError, ConfigError, UserNotice
from mmssl_dynamic.export import onnx_exporters
from mmssl_dynamic.export.onnx_format import OnnxFormat
from mmssl_dynamic.models import SDRResNet, SlimmableMobileNetV3, SlimmableResNet
from tests.helpers import export_subnet, randomise


def images(count, height, width):
    return torch.randn(count, 3, height, width, generator=torch.Generator().manual_seed(1))


def mobilenet(**options):
    torch.manual_seed(0)
    return randomise(SlimmableMobileNetV3("small", (0.35, 0.5), **options))


def resnet():
    torch.manual_seed(0)
    channels, blocks = ((8, 16, 16, 24), (16, 24, 24, 32)), ((1, 2, 1, 1), (1, 2, 2, 1))
    return randomise(SlimmableResNet(channels, blocks, out_indices=(1, 3)))


def sdr():
    torch.manual_seed(0)
    net = SDRResNet(18, (8, 16, 32, 64), (2, 2, 2, 2), stem_channels=5).eval()
    net.set_bn_statistics("0-1-0-1", calibrate_path(net, "0-1-0-1", [images(8, 64, 64)]))
    return net


@pytest.fixture(scope="module")
def graph(tmp_path_factory):
    """The report of a graph of any size."""
    net = resnet()
    return export_subnet(net, net.subnets[0], tmp_path_factory.mktemp("graph") / "b.onnx", "onnx")


def test_onnxruntime_computes_the_feature_maps_of_out_indices(graph):
    net = resnet()
    check(graph, net, net.subnets[0], ["features_1", "features_3"])


@pytest.mark.slow
@pytest.mark.parametrize(
    ("build", "name", "outputs"),
    [
        (mobilenet, "w0.35", ["features_12"]),
        (lambda: mobilenet(out_indices=(1, 3, 8, 12)), "full", [f"features_{i}" for i in (1, 3, 8, 12)]),
        (sdr, "0-1-0-1", ["features_3"]),
    ],
)
def test_so_it_does_for_every_family(tmp_path, build, name, outputs):
    net = build()
    check(export_subnet(net, name, tmp_path / "b.onnx", "onnx"), net, name, outputs)


def check(report, net, name, outputs):
    assert str(report).count("onnxruntime: outputs agree") == 1
    assert sorted(p.name for p in report.path.parent.iterdir()) == ["b.onnx", "b.onnx.json"]
    session = onnxruntime.InferenceSession(str(report.path), providers=["CPUExecutionProvider"])
    assert [output.name for output in session.get_outputs()] == outputs
    for count, height, width in ((1, 64, 64), (2, 64, 64), (3, 96, 72)):
        x = images(count, height, width)
        with torch.no_grad(), net.subnet(name):
            expected = net(x)
        for found, wanted in zip(session.run(None, {"images": x.numpy()}), expected, strict=True):
            scale = float(wanted.abs().max())
            torch.testing.assert_close(torch.from_numpy(found), wanted, rtol=0, atol=1e-5 * scale)
    sidecar = json.loads(report.sidecar.read_text())
    described = {output["name"]: output["channels"] for output in sidecar["onnx"]["outputs"]}
    assert described == dict(zip(outputs, [e.shape[1] for e in expected]))
    assert sidecar["onnx"]["exporter"] == "torch.export"
    graph = onnx.load(report.path)
    assert sidecar["onnx"]["opset"] == next(entry.version for entry in graph.opset_import if not entry.domain)
    assert "BatchNormalization" not in {node.op_type for node in graph.graph.node}
    assert sidecar["verified"] == {
        "models": ["onnxruntime"],
        "weights_compared": False,
        "max_difference": report.max_difference,
    }


def test_the_snippet_of_the_sidecar_needs_onnxruntime_alone(graph, monkeypatch):
    report = graph
    monkeypatch.chdir(report.path.parent)
    scope = {}
    exec(json.loads(report.sidecar.read_text())["usage"], scope)
    assert [scope[f"features_{i}"].shape for i in (1, 3)] == [(1, 16, 8, 8), (1, 24, 2, 2)]
    scope["images"] = np.zeros((2, 3, 64, 64), np.uint8)
    exec("\n".join(report.snippet.splitlines()[-2:]), scope)
    assert [scope[f"features_{i}"].shape for i in (1, 3)] == [(2, 16, 8, 8), (2, 24, 2, 2)]
    assert np.array_equal(scope["features"], scope["features_3"].mean((2, 3)))


def test_a_graph_holds_no_source_code_and_no_folders_of_this_machine(graph, repo_root):
    data = graph.path.read_bytes()
    for text in (str(repo_root), "site-packages", "def forward", "stack_trace"):
        assert text.encode() not in data


def test_batch_size_image_size_and_opset_can_be_fixed(tmp_path):
    net = resnet()
    options = {"type": "onnx", "batch_size": 3, "image_size": 48, "opset": 20}
    report = export_subnet(net, net.subnets[0], tmp_path / "b.onnx", options)
    graph = onnx.load(report.path)
    assert [entry.version for entry in graph.opset_import if not entry.domain] == [20]
    assert [dim.dim_value for dim in graph.graph.input[0].type.tensor_type.shape.dim] == [3, 3, 48, 48]
    assert [output.type.tensor_type.shape.dim[2].dim_value for output in graph.graph.output] == [6, 2]
    scope = {}
    exec(report.snippet, scope)
    assert scope["features_3"].shape == (3, 24, 2, 2)
    described = json.loads(report.sidecar.read_text())["onnx"]
    assert (described["batch_size"], described["image_size"]) == (3, 48)


def test_the_older_exporter_stands_in_and_says_so(tmp_path, monkeypatch):
    net = resnet()
    with pytest.warns(UserNotice, match="torch's older exporter to ONNX: the newer one cannot go below opset"):
        report = export_subnet(net, net.subnets[0], tmp_path / "old.onnx", {"type": "onnx", "opset": 13})
    described = json.loads(report.sidecar.read_text())["onnx"]
    assert (described["exporter"], described["opset"]) == ("TorchScript", 13)
    monkeypatch.setattr(onnx_exporters.importlib.util, "find_spec", lambda name: None)
    with pytest.warns(UserNotice, match="the newer one needs onnxscript; run `pip install onnxscript`"):
        report = export_subnet(net, net.subnets[0], tmp_path / "b.onnx", "onnx")
    assert json.loads(report.sidecar.read_text())["onnx"]["exporter"] == "TorchScript"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"opset": 99}, "opset 99 is none of 9 to"),
        ({"batch_size": 0}, "batch_size 0 must be a positive number"),
        ({"image_size": -1}, "image_size -1 must be a positive number"),
        ({"dynamic": True}, "does not take these options"),
    ],
)
def test_options_that_cannot_be_are_refused_in_a_sentence(tmp_path, options, message):
    net = mobilenet()
    with pytest.raises(ConfigError, match=message):
        export_subnet(net, "w0.35", tmp_path / "b.onnx", {"type": "onnx", **options})
    assert not list(tmp_path.iterdir())


def test_a_wrong_weight_in_the_graph_is_noticed_and_the_file_is_gone(tmp_path, monkeypatch):
    net, write = resnet(), OnnxFormat.write

    def damaged(self, source, path):
        write(self, source, path)
        model = onnx.load(str(path))
        weight = max(model.graph.initializer, key=lambda tensor: len(tensor.raw_data))
        array = onnx.numpy_helper.to_array(weight).copy()
        array[0] *= 1.5
        weight.CopyFrom(onnx.numpy_helper.from_array(array, weight.name))
        onnx.save(model, str(path))

    monkeypatch.setattr(OnnxFormat, "write", damaged)
    with pytest.raises(ArtifactError, match="outputs of onnxruntime differ from the active sub-network"):
        export_subnet(net, net.subnets[0], tmp_path / "b.onnx", {"type": "onnx", "batch_size": 1, "image_size": 64})
    assert not list(tmp_path.iterdir())
