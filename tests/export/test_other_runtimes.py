"""Graphs for OpenVINO and LiteRT compute the feature maps of the sub-network, in their own runtimes.

OpenVINO is installed with the tests. litert-torch is not: it brings transformers, next to which mmpretrain 1.2 cannot
be imported.
"""

import json
import subprocess
import sys

import numpy as np
import pytest
import torch

from mmssl_dynamic.apis.latency import Passes, latency
from mmssl_dynamic.errors import ArtifactError, ConfigError
from mmssl_dynamic.execution import Execution
from mmssl_dynamic.export import formats
from mmssl_dynamic.export.openvino_format import OpenVINOFormat
from mmssl_dynamic.export.tflite_format import TFLiteFormat
from mmssl_dynamic.models import SlimmableMobileNetV3, SlimmableResNet
from tests.helpers import export_subnet, randomise

FIXED = {"type": "openvino", "batch_size": 2, "image_size": 64}  # which torch exports faster than a graph of any size
QUIET = Execution(progress=False)


def needs(format):
    """Skip without the packages of a format; nothing is imported, as OpenVINO reports who does."""
    for package in format.packages:
        if not formats.installed(package):
            pytest.skip(f"pip install {package}")


def resnet():
    torch.manual_seed(0)
    net = SlimmableResNet(((8, 16, 16, 24), (16, 24, 24, 32)), ((1, 1, 1, 1),), out_indices=(1, 3))
    return randomise(net, net.subnets[:1]), net.subnets[0]


def images(count=2, side=64):
    return torch.randn(count, 3, side, side, generator=torch.Generator().manual_seed(5))


def same(found, net, name, given):
    with torch.no_grad(), net.subnet(name):
        expected = net(given)
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(torch.from_numpy(one), other, rtol=0, atol=1e-4 * float(other.abs().max()))


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    """Network, its name, and the report of its graph for OpenVINO."""
    needs(OpenVINOFormat)
    net, name = resnet()
    return net, name, export_subnet(net, name, tmp_path_factory.mktemp("openvino") / "b.xml", FIXED)


def test_openvino_computes_the_feature_maps(exported):
    net, name, report = exported
    same(OpenVINOFormat().run(report.path, threads=1)(images().numpy()), net, name, images())
    assert report.models == ("openvino",)
    assert sorted(path.name for path in report.path.parent.iterdir()) == ["b.bin", "b.xml", "b.xml.json"]


def test_the_snippet_of_the_sidecar_needs_openvino_alone(exported, monkeypatch):
    _, _, report = exported
    monkeypatch.chdir(report.path.parent)
    scope = {}
    exec(json.loads(report.sidecar.read_text())["usage"], scope)
    assert [scope[f"features_{i}"].shape for i in (1, 3)] == [(2, 16, 8, 8), (2, 24, 2, 2)]
    assert "torch" not in scope


def test_it_is_timed_in_openvino(exported, tmp_path):
    _, _, report = exported
    passes = Passes(batch_size=2, repeats=2, warm_up=1, image_size=64)
    table = latency([report.path], tmp_path / "t.json", passes=passes, execution=QUIET)
    assert table.conditions.runtime.startswith("openvino ")
    other = Passes(batch_size=3, repeats=2, warm_up=1, image_size=64)
    with pytest.raises(ConfigError, match="give the --batch-size and --image-size that it was exported with"):
        latency([report.path], tmp_path / "o.json", passes=other, execution=QUIET)
    assert not (tmp_path / "o.json").exists()


def test_a_wrong_weight_is_noticed_and_none_of_the_two_files_stays(exported, tmp_path, monkeypatch):
    net, name, _ = exported
    write = OpenVINOFormat.write

    def damaged(self, source, path, weights=None):
        write(self, source, path, weights)
        numbers = np.frombuffer(weights.read_bytes()[:4096], np.float32) * 1.5
        weights.write_bytes(numbers.tobytes() + weights.read_bytes()[4096:])

    monkeypatch.setattr(OpenVINOFormat, "write", damaged)
    with pytest.raises(ArtifactError, match="outputs of openvino differ from the active sub-network"):
        export_subnet(net, name, tmp_path / "b.xml", FIXED)
    assert not list(tmp_path.iterdir())


def test_openvino_was_imported_without_what_reports_it(exported):
    assert "openvino" in sys.modules
    assert "openvino_telemetry" not in sys.modules


@pytest.mark.slow
def test_a_mobilenet_of_any_size_for_openvino(tmp_path):
    needs(OpenVINOFormat)
    torch.manual_seed(0)
    net = randomise(SlimmableMobileNetV3("small", (0.35, 0.5)), ["w0.35"])
    file = export_subnet(net, "w0.35", tmp_path / "b.xml", "openvino").path
    for given in (images(3, 96), images(1, 64)):
        same(OpenVINOFormat().run(file)(given.numpy()), net, "w0.35", given)


LITERT = """
import json, sys
import torch
from mmssl_dynamic.apis.latency import Passes, latency
from mmssl_dynamic.execution import Execution
from mmssl_dynamic.export.tflite_format import TFLiteFormat
from tests.export.test_other_runtimes import images, resnet, same
from tests.helpers import export_subnet

out = sys.argv[1]
net, name = resnet()
report = export_subnet(net, name, f"{out}/b.tflite", {"type": "tflite", "batch_size": 2})
same(TFLiteFormat().run(report.path, threads=1)(images().numpy()), net, name, images())
assert report.models == ("ai-edge-litert",)
scope = {}
exec(report.snippet, scope)
assert [scope[f"features_{i}"].shape for i in (1, 3)] == [(2, 16, 8, 8), (2, 24, 2, 2)]
passes = Passes(batch_size=2, repeats=2, warm_up=1)
table = latency([report.path], f"{out}/t.json", passes=passes, execution=Execution(progress=False))
assert table.conditions.runtime.startswith("ai-edge-litert ")
assert json.loads(report.sidecar.read_text())["tflite"]["image_size"] == [64, 64]
print("done")
"""


@pytest.mark.slow
def test_litert_computes_the_feature_maps(repo_root, tmp_path):
    """In a process of its own: what it imports changes the environment and torch's logs."""
    needs(TFLiteFormat)
    command = [sys.executable, "-c", LITERT, str(tmp_path)]
    shown = subprocess.run(command, cwd=repo_root, capture_output=True, text=True, check=False)
    assert shown.stdout.splitlines()[-1:] == ["done"], shown.stderr


@pytest.mark.parametrize(
    ("format", "suffix", "command"),
    [
        ("openvino", "xml", r"run `pip install openvino onnx`\."),
        ("tflite", "tflite", "run `pip install litert-torch ai-edge-litert` and then `pip uninstall transformers`"),
    ],
)
def test_a_missing_package_is_one_sentence_with_the_command(tmp_path, monkeypatch, format, suffix, command):
    monkeypatch.setattr(formats, "installed", lambda package: False)
    net, name = resnet()
    with pytest.raises(ConfigError, match=command):
        export_subnet(net, name, tmp_path / f"b.{suffix}", format)
    assert not list(tmp_path.iterdir())
