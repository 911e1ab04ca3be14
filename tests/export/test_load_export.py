"""An exported file of any PyTorch format becomes the static twin again."""

import json

import pytest
import torch

from mmssl_dynamic.errors import ArtifactError, ConfigError
from mmssl_dynamic.export.load_export import load_export
from mmssl_dynamic.models import SlimmableMobileNetV3, SlimmableResNet
from tests.helpers import export_subnet, randomise


@pytest.fixture(scope="module")
def mobilenet():
    torch.manual_seed(0)
    return randomise(SlimmableMobileNetV3("small", (0.35, 0.5), in_channels=1), ["w0.35"])


@pytest.fixture
def exported(mobilenet, tmp_path):
    return export_subnet(mobilenet, "w0.35", tmp_path / "backbone.pth", "mmdet").path


def same(net, twin):
    """Bit by bit but for the variances, which the format timm keeps with another eps."""
    state = twin.state_dict()
    for key, tensor in net.state_dict().items():
        if key.endswith("running_var"):
            torch.testing.assert_close(tensor, state[key], rtol=0, atol=1e-6)
        else:
            assert torch.equal(tensor, state[key])


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
@pytest.mark.parametrize("format", ["torchvision", "timm", "mmpretrain", "mmdet"])
def test_every_format_gives_the_twin_back(mobilenet, tmp_path, format, suffix):
    path = export_subnet(mobilenet, "w0.35", tmp_path / f"backbone{suffix}", format).path
    net = load_export(path, out_indices=(3, 12), frozen_stages=2)
    same(net, mobilenet.static("w0.35"))
    assert (net.out_indices, net.frozen_stages, net.training) == ((3, 12), 2, False)
    assert len(net(torch.zeros(1, 1, 32, 32))) == 2


@pytest.mark.parametrize("format", ["torchvision", "mmpretrain"])
def test_a_resnet_of_any_blocks_and_stem_comes_back(tmp_path, format):
    torch.manual_seed(0)
    net = randomise(SlimmableResNet(((12, 16, 16, 24), (20, 24, 24, 32)), ((1, 2, 1, 1), (1, 2, 2, 1)), "bottleneck"))
    for name in net.subnets[::3]:
        path = export_subnet(net, name, tmp_path / f"{name}.pth", format).path
        same(load_export(path, name), net.static(name))


def test_a_file_without_its_sidecar_or_with_anothers_is_refused(exported, mobilenet):
    sidecar = exported.with_name("backbone.pth.json")
    content = json.loads(sidecar.read_text())

    def refused(message, error=ArtifactError, **changes):
        sidecar.write_text(json.dumps({**content, **changes}))
        with pytest.raises(error, match=message):
            load_export(exported)

    refused("other weights than .*backbone.pth.json", weights_fingerprint="0")
    refused("another version", schema_version=1)
    refused("names the export format .caffe., which is not there", format="caffe")
    refused("which this version does not know", architecture={**content["architecture"], "family": "Transformer"})
    refused("does not fit the architecture", architecture={**content["architecture"], "width": 0.5})
    sidecar.write_text("[]")
    with pytest.raises(ArtifactError, match="not the sidecar of an export"):
        load_export(exported)
    sidecar.unlink()
    with pytest.raises(ArtifactError, match=r"no backbone\.pth\.json beside it"):
        load_export(exported)


def test_graphs_and_unknown_options_are_refused(exported):
    with pytest.raises(ConfigError, match="does not take these options: .*'depth'"):
        load_export(exported, depth=3)
    graph = exported.with_suffix(".onnx")
    graph.touch()
    with pytest.raises(ConfigError, match="give an export of weights"):
        load_export(graph)
