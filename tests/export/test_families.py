"""A family of networks from outside of the package: a trunk, a backbone, and what it is called elsewhere."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

import pytest
import torch
from torch import nn

from mmssl_dynamic.errors import ArtifactError, ConfigError
from mmssl_dynamic.export import Architecture, StockModel, register_family
from mmssl_dynamic.export.families import FAMILIES, architecture_of
from mmssl_dynamic.export.families.architecture import chained
from mmssl_dynamic.export.load_export import load_export
from mmssl_dynamic.export.static_export import check_subnets
from mmssl_dynamic.fileio import load_state_dict
from mmssl_dynamic.models import StaticNetwork, SuperNetwork
from mmssl_dynamic.models.backbones.block import Block
from mmssl_dynamic.models.backbones.layers import ElasticLayers, PlainLayers
from mmssl_dynamic.models.backbones.trunk import Trunk
from mmssl_dynamic.models.elastic import ActiveSubnet, Channels, Selection
from mmssl_dynamic.registry import MODELS
from mmssl_dynamic.subnets import SlimmableSpace
from tests.helpers import export_subnet, randomise

STRIDES = (4, 2, 2, 2)


class Layer(Block):
    """A convolution, BatchNorm and ReLU."""

    def __init__(self, layers, inputs, outputs, stride):
        super().__init__()
        self.mix, self.norm = layers.conv(inputs, outputs, 3, stride), layers.norm(outputs)

    def run(self, x):
        return nn.functional.relu(self.norm(self.mix(x)))


class PyramidTrunk(Trunk):
    """Four layers, which is all."""

    def __init__(self, layers, images, widths, out_indices=(3,), **kwargs):
        super().__init__(0, out_indices, **kwargs)
        for i, (inputs, outputs, stride) in enumerate(zip((images, *widths), widths, STRIDES)):
            self.add_module(f"layer{i}", Layer(layers, inputs, outputs, stride))
        self.finish(widths)

    def frozen_layers(self):
        return list(self.children())[: self.frozen_stages + 1]


class StaticPyramid(PyramidTrunk, StaticNetwork):
    def __init__(self, widths, in_channels=3, norm_cfg=None, **kwargs):
        self.widths, self.in_channels = tuple(widths), in_channels
        super().__init__(PlainLayers(norm_cfg), in_channels, self.widths, **kwargs)


class SlimmablePyramid(SuperNetwork, PyramidTrunk):
    def __init__(self, widths=(0.5, 1.0), in_channels=3, norm_cfg=None, *, subnet: None = None, **kwargs):
        self.space, self._active = SlimmableSpace(tuple(widths)), ActiveSubnet()
        self.in_channels = in_channels
        self._channels = [Channels(width, self._active) for width in self._of(self.space.largest)]
        images = Channels(in_channels, self._active)
        super().__init__(ElasticLayers(norm_cfg), images, self._channels, **kwargs)

    def _of(self, name):
        return [int(width * self.space.member(name)[0]) for width in (8, 8, 16, 16)]

    def selections(self, name):
        sizes = zip(self._channels, self._of(name))
        return [(c, None if n == c.total else Selection(c.total, ((0, n),))) for c, n in sizes]

    def plain_twin(self, name, **options):
        return StaticPyramid(self._of(name), self.in_channels, **options)

    def shape(self):
        return {"widths": list(self.space.widths), "in_channels": self.in_channels}


@dataclass(frozen=True)
class PyramidArchitecture(Architecture):
    """What an export's sidecar holds of it, and what it would be in torchvision."""

    family = "Pyramid"
    network = StaticPyramid

    widths: tuple[int, ...]
    in_channels: int = 3

    @classmethod
    def of(cls, network):
        return cls(network.widths, network.in_channels)

    def build(self, **options: Any) -> StaticPyramid:
        return StaticPyramid(self.widths, self.in_channels, **options)

    @property
    def out_indices(self):
        return [0, 1, 2, 3]

    @property
    def out_channels(self):
        return list(self.widths)

    def torchvision(self) -> StockModel:
        """Pretend that torchvision has it as a plain ``nn.Sequential``."""

        def build():
            parts = []
            for inputs, outputs, stride in zip((self.in_channels, *self.widths), self.widths, STRIDES):
                conv = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
                parts.append(nn.Sequential(conv, nn.BatchNorm2d(outputs), nn.ReLU()))
            return nn.Sequential(*parts)

        names = {"mix": "0", "norm": "1"}

        def exported(state):
            renamed = {}
            for key, tensor in state.items():
                layer, part, rest = key.split(".")
                renamed[f"{layer.removeprefix('layer')}.{names[part]}.{rest}"] = tensor
            return renamed

        def restored(state):
            back = {number: name for name, number in names.items()}
            keys = {key: key.split(".") for key in state}
            return {f"layer{a}.{back[b]}.{c}": state[key] for key, (a, b, c) in keys.items()}

        outputs = lambda model, images: chained(list(model), images)  # noqa: E731
        return StockModel("a pyramid of torchvision", build, ["net = pyramid()"], outputs, exported, restored)


@pytest.fixture
def pyramids():
    """The family, registered for one test."""
    for kind in (SlimmablePyramid, StaticPyramid):
        MODELS.register_module(module=kind)
    register_family(PyramidArchitecture)
    yield
    for kind in (SlimmablePyramid, StaticPyramid):
        MODELS._module_dict.pop(kind.__name__)
    FAMILIES.pop("Pyramid", None)


def network():
    torch.manual_seed(0)
    return randomise(SlimmablePyramid())


def images():
    return torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("format", ["mmdet", "mmpretrain", "torchvision", "onnx"])
def test_a_sub_network_is_exported_verified_and_loaded_back(pyramids, tmp_path, format):
    net = network()
    suffix = "onnx" if format == "onnx" else "pth"
    report = export_subnet(net, "w0.5", tmp_path / f"half.{suffix}", format)
    sidecar = json.loads(report.sidecar.read_text())
    assert sidecar["architecture"] == {"family": "Pyramid", "widths": [4, 4, 8, 8], "in_channels": 3}
    assert (sidecar["out_indices"], sidecar["out_channels"]) == ([0, 1, 2, 3], [4, 4, 8, 8])
    if format == "onnx":
        return
    loaded = load_export(report.path, "w0.5", out_indices=(1, 3))
    assert isinstance(loaded, StaticPyramid)
    with torch.no_grad(), net.subnet("w0.5"):
        expected = net.all_outputs(images())
    with torch.no_grad():
        for found, index in zip(loaded(images()), (1, 3), strict=True):
            torch.testing.assert_close(found, expected[index])
    if format == "torchvision":
        assert set(load_state_dict(report.path)) >= {"0.0.weight", "3.1.running_var"}
    else:
        block = sidecar["usage"]["backbone"]
        built = MODELS.build(block)
        built.init_weights()
        assert isinstance(built, StaticPyramid)
        assert all(torch.equal(built.state_dict()[k], v) for k, v in net.static("w0.5").state_dict().items())


def test_everything_else_that_backbones_can_do_comes_with_it(pyramids):
    net = network()
    alone = SlimmablePyramid(subnet="w0.5", norm_cfg=dict(type="GN", num_groups=2), out_indices=(0, 2))
    assert alone.out_channels == (4, 8)
    assert architecture_of(alone) == PyramidArchitecture((4, 4, 8, 8))
    static = net.static("w0.5")
    with torch.no_grad():
        torch.testing.assert_close(torch.jit.script(static)(images())[0], static(images())[0])
    saving = SlimmablePyramid(with_cp=True).train()
    with saving.subnet("w0.5"):
        loss = saving(images())[0].square().mean()
    loss.backward()
    assert all(p.grad is not None for p in saving.parameters())


def test_a_library_without_such_a_model_is_refused_with_those_that_have_one(pyramids, tmp_path):
    sentence = (
        r"the format 'timm' cannot hold sub-network 'w0\.5': timm has no Pyramid of any shape; use torchvision, "
        r"mmpretrain, mmdet, onnx, onnx_int8, openvino or tflite\."
    )
    with pytest.raises(ConfigError, match=sentence):
        export_subnet(network(), "w0.5", tmp_path / "half.pth", "timm")
    with pytest.raises(ConfigError, match=sentence):
        check_subnets(network(), ["w0.5"], "timm")
    assert not list(tmp_path.iterdir())


def test_without_the_module_that_registers_it_a_family_is_not_known(pyramids, tmp_path, monkeypatch):
    report = export_subnet(network(), "w0.5", tmp_path / "half.pth", "mmdet")
    monkeypatch.delitem(FAMILIES, "Pyramid")
    with pytest.raises(ArtifactError, match="describes a Pyramid, .* import the module that registers the family"):
        load_export(report.path)
    with pytest.raises(ConfigError, match="StaticPyramid belongs to no family of networks"):
        export_subnet(network(), "w0.5", tmp_path / "other.pth", "mmdet")


def test_two_families_cannot_have_one_name():
    @dataclass(frozen=True)
    class Other(PyramidArchitecture):
        family = "ResNet"

    with pytest.raises(ConfigError, match="there is a family 'ResNet' already; give Other another name"):
        register_family(Other)


def test_no_format_knows_a_family_by_name(repo_root):
    """They ask it. Models that are registered in timm are subclasses of timm's own, one for each family."""
    names = ("ResNetArchitecture", "MobileNetV3Architecture", "StaticResNet", "StaticMobileNetV3")
    files = [f for f in (repo_root / "mmssl_dynamic" / "export").glob("*.py") if not f.stem.startswith(("timm_", "__"))]
    assert len(files) > 5
    assert [(f.name, name) for f in files for name in names if name in f.read_text()] == []
