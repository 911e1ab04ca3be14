"""Exports as programs of torch: scripted, traced, and by torch.export, each written to a file and read back."""

import io

import pytest
import timm
import torch

from mmssl_dynamic.export import MobileNetV3Architecture, torchvision_mobilenet_v3, torchvision_resnet
from mmssl_dynamic.export.families import ResNetArchitecture
from mmssl_dynamic.export.load_export import load_export, read_sidecar
from mmssl_dynamic.export.timm_models import registered_name
from mmssl_dynamic.fileio import load_state_dict
from mmssl_dynamic.models import SDRResNet, SDRSlimmableResNet, SlimmableMobileNetV3, SlimmableResNet
from tests.helpers import export_subnet, randomise

FAMILIES = {
    "sdr": (lambda: SDRResNet(18, (8, 16, 16, 24), (1, 1, 2, 2), stem_channels=8), "0-0-1-1"),
    "sdr-slimmable": (
        lambda: SDRSlimmableResNet(18, (8, 8, 12, 16), (1, 1, 2, 2), stem_channels=8, widths=(0.5, 1.0)),
        "0-0-1-1@w0.5",
    ),
    "slimmable-resnet": (
        lambda: SlimmableResNet(((8, 8, 16, 16), (16, 16, 24, 24)), ((1, 2, 1, 1),), "bottleneck"),
        None,
    ),
    "mobilenet": (lambda: SlimmableMobileNetV3("small", (0.35, 0.5)), "w0.35"),
}
FORMATS = ("mmpretrain", "mmdet", "torchvision")


@pytest.fixture(scope="module", params=FAMILIES)
def exports(request, tmp_path_factory):
    """The files of one network in every format that PyTorch loads, by format."""
    build, name = FAMILIES[request.param]
    torch.manual_seed(0)
    net = build()
    name = name or net.subnets[0]
    randomise(net, [name])
    folder = tmp_path_factory.mktemp("programs")
    return {format: export_subnet(net, name, folder / f"{format}.pth", format).path for format in FORMATS}


def own(exports):
    """What every file is loaded into: the package's own backbone."""
    return load_export(exports["mmpretrain"])


def others(exports):
    """The files in every other class that takes them."""
    for format in ("mmdet", "torchvision"):
        yield load_export(exports[format])
    file = exports["torchvision"]
    architecture = read_sidecar(file).architecture
    kinds = {ResNetArchitecture: torchvision_resnet, MobileNetV3Architecture: torchvision_mobilenet_v3}
    stock = kinds[type(architecture)](architecture)
    stock.load_state_dict(load_state_dict(file), strict=True)
    yield stock.eval()
    yield timm.create_model(registered_name(architecture), export=str(file)).eval()


def images(count=2):
    return torch.randn(count, 3, 64, 64, generator=torch.Generator().manual_seed(1))


def last(outputs):
    return outputs[-1] if isinstance(outputs, (tuple, list)) else outputs


def same(found, wanted):
    assert float(last(wanted).std()) > 0
    torch.testing.assert_close(last(found), last(wanted), rtol=1e-5, atol=1e-5 * float(last(wanted).abs().max()))


def read_back(program, save, load):
    file = io.BytesIO()
    save(program, file)
    file.seek(0)
    return load(file)


def assert_scripts_and_traces(net):
    wanted = net(images(3))
    for program in (torch.jit.script(net), torch.jit.trace(net, images())):
        same(read_back(program, torch.jit.save, torch.jit.load)(images(3)), wanted)


def assert_goes_through_torch_export(net, torch_export):
    batch = torch.export.Dim("batch", min=1, max=64)
    program = torch_export(net, (images(),), dynamic_shapes=({0: batch},))
    loaded = read_back(program, torch.export.save, torch.export.load)
    same(loaded.module()(images(3)), net(images(3)))


@torch.no_grad()
def test_an_export_can_be_scripted_and_traced(exports):
    assert_scripts_and_traces(own(exports))


@torch.no_grad()
def test_an_export_goes_through_torch_export(tmp_path, torch_export):
    torch.manual_seed(0)
    net = SlimmableResNet(((8, 8, 16, 16), (16, 16, 24, 24)), ((1, 1, 1, 1),))
    name = net.subnets[0]
    file = export_subnet(randomise(net, [name]), name, tmp_path / "b.pth", "mmpretrain").path
    assert_goes_through_torch_export(load_export(file), torch_export)


@torch.no_grad()
@pytest.mark.slow
def test_so_can_every_class_that_takes_the_file_of_every_family(exports, torch_export):
    for net in (own(exports), *others(exports)):
        assert_scripts_and_traces(net)
        assert_goes_through_torch_export(net, torch_export)
