"""An export format from outside of the package: written, verified and loaded as those of the package."""

import sys

import numpy as np
import pytest
import torch

from mmssl_dynamic.errors import ArtifactError, ConfigError
from mmssl_dynamic.export.load_export import load_export
from mmssl_dynamic.fileio import read_json
from mmssl_dynamic.models.backbones import SDRResNet
from tests.helpers import export_subnet, randomise

MODULE = """
import torch
from mmssl_dynamic.export import Format, NoStockModel, reading

class Halved(Format):
    suffixes = (".safetensors",)

    def check(self, architecture):
        if architecture.family != "ResNet":
            raise NoStockModel("it has ResNets alone")

    def tensors(self, source):
        return {f"half.{key}": tensor / 2 for key, tensor in source.state.items()}

    def restored(self, tensors, architecture):
        return {key.removeprefix("half."): 2 * tensor for key, tensor in tensors.items()}

    def read(self, source, path):
        from safetensors.torch import load_file
        net = source.architecture.build()
        net.load_state_dict(self.restored(load_file(path), source.architecture))
        found = reading("a ResNet of its own", net, lambda net, images: net.all_outputs(images))
        yield type(found)(found.model, load_file(path), found.outputs)

    def usage(self, source, target):
        return f"read {target.name}"
"""
NAME = "own_format.Halved"


@pytest.fixture
def module(tmp_path, monkeypatch):
    (tmp_path / "own_format.py").write_text(MODULE)
    monkeypatch.syspath_prepend(tmp_path)
    yield tmp_path
    sys.modules.pop("own_format", None)


@pytest.fixture(scope="module")
def net():
    return randomise(SDRResNet(18, stage_channels=(8, 8, 12, 12), stage_groups=(1, 1, 2, 2), stem_channels=5))


def test_it_is_verified_and_loads_again(net, module):
    report = export_subnet(net, "0-0-1-0", module / "half.safetensors", NAME)
    assert report.models == ("a ResNet of its own",)
    assert report.weights_compared
    sidecar = read_json(report.sidecar, "sidecar")
    assert (sidecar["format"], sidecar["usage"]) == (NAME, "read half.safetensors")
    images = torch.randn(2, 3, 48, 48, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        np.testing.assert_allclose(load_export(report.path)(images)[-1], net.static("0-0-1-0")(images)[-1], rtol=1e-5)


def test_one_that_writes_something_else_is_noticed(net, module):
    text = MODULE.replace("2 * tensor", "2.1 * tensor")
    (module / "own_format.py").write_text(text)
    with pytest.raises(ArtifactError, match="outputs of a ResNet of its own differ"):
        export_subnet(net, "full", module / "half.safetensors", NAME)
    assert not (module / "half.safetensors").exists()


def test_it_says_what_it_cannot_hold(module):
    from mmssl_dynamic.models.backbones import SlimmableMobileNetV3

    mobile = randomise(SlimmableMobileNetV3("small", (0.35, 0.5)))
    with pytest.raises(ConfigError, match=f"'{NAME}' cannot hold .* ResNets alone; use torchvision, .* or tflite"):
        export_subnet(mobile, "w0.35", module / "half.safetensors", NAME)


def test_loading_a_file_imports_no_module_that_its_sidecar_names(net, module):
    report = export_subnet(net, "full", module / "half.safetensors", NAME)
    del sys.modules["own_format"]
    (module / "own_format.py").write_text("raise SystemExit('this ran')\n")
    with pytest.raises(ArtifactError, match=f"names the export format '{NAME}', which is not there; .*import"):
        load_export(report.path)
