"""Sub-networks as models of timm: the same network as the static twin, and what timm's users expect of a model."""

import ast
import pickle
from copy import deepcopy
from pathlib import Path
from shutil import copyfile

import pytest
import timm
import torch
from timm.optim.optim_factory import param_groups_layer_decay
from torch import nn
from torch.nn.functional import cross_entropy

from mmssl_dynamic.errors import ConfigError, SubnetError
from mmssl_dynamic.export import timm_models
from mmssl_dynamic.models import SDRResNet, SlimmableMobileNetV3, SlimmableResNet
from tests.helpers import export_subnet, randomise

SDR = dict(stage_channels=(16, 16, 32, 32), stem_channels=8)
RESNETS = dict(channels=((20, 16, 16, 24), (20, 24, 24, 32)), blocks=((1, 2, 1, 1), (1, 2, 2, 1)))


def sdr():
    return randomise(SDRResNet(18, **SDR), ["0-3-1-2"])


def resnet():
    return randomise(SlimmableResNet(**RESNETS))


def mobilenet():
    return randomise(SlimmableMobileNetV3("small", (0.35, 0.5)), ["w0.35"])


# Network, name, timm's name and options, formats, out_indices of strides 4 to 32.
STAGES = (0, 1, 2, 3)
CASES = {
    "sdr": (sdr, "0-3-1-2", "mmssl_sdr_resnet18", dict(subnet="0-3-1-2", **SDR), ("mmdet", "mmpretrain"), STAGES),
    "resnet": (resnet, None, "mmssl_slimmable_resnet", RESNETS, ("torchvision", "mmpretrain"), STAGES),
    "mobilenet": (
        mobilenet,
        "w0.35",
        "mmssl_slimmable_mobilenetv3_small",
        dict(subnet="w0.35"),
        ("timm", "torchvision", "mmdet", "mmpretrain"),
        (1, 3, 8, 12),
    ),
}


@pytest.fixture(scope="module", params=list(CASES))
def case(request, tmp_path_factory):
    """Static twin, exported files by format, a function that creates the model, and the twin's out_indices."""
    build, subnet, name, options, formats, indices = CASES[request.param]
    folder = tmp_path_factory.mktemp("exports")
    torch.manual_seed(0)
    net = build()
    subnet = subnet or net.subnets[0]
    if "subnet" not in options and isinstance(net, SlimmableResNet):
        options = {**options, "subnet": subnet}
    files = {format: export_subnet(net, subnet, folder / f"{format}.pth", format).path for format in formats}
    twin = net.static(subnet).eval()
    twin.out_indices = indices
    return twin, files, lambda **more: timm.create_model(name, **options, **more)


def images(count=2, size=64):
    return torch.randn(count, 3, size, size, generator=torch.Generator().manual_seed(1))


def same(found, wanted):
    assert float(wanted.std()) > 0
    torch.testing.assert_close(found, wanted, rtol=0, atol=2e-6 * float(wanted.abs().max()))


def pooled(twin, x):
    return twin(x)[-1].mean((2, 3))


@torch.no_grad()
def test_exports_of_every_format_give_the_pooled_features_of_the_twin(case):
    twin, files, create = case
    for path in files.values():
        model = create(checkpoint_path=path).eval()
        same(model(images()), pooled(twin, images()))
        assert model.num_classes == 0


@torch.no_grad()
def test_features_only_gives_the_maps_of_strides_4_to_32_of_the_twin(case):
    twin, files, create = case
    maps = twin(images())
    for path in files.values():
        model = create(checkpoint_path=path, features_only=True).eval()
        found = model(images())
        assert model.feature_info.reduction() == [64 // m.shape[-1] for m in found] == [2, 4, 8, 16, 32]
        assert model.feature_info.channels() == [m.shape[1] for m in found]
        for one, other in zip(found[1:], maps, strict=True):
            same(one, other)
    shallow = create(checkpoint_path=path, features_only=True, out_indices=(1, 2)).eval()
    for one, other in zip(shallow(images()), maps[:2], strict=True):
        same(one, other)
    assert len(list(shallow.parameters())) < len(list(model.parameters()))


def test_a_training_step_is_that_of_the_twin(case):
    """BatchNorm included, whose constants differ between timm's MobileNetV3 and the one that was trained."""
    twin, files, create = case
    twin = deepcopy(twin).train()
    model = create(checkpoint_path=next(iter(files.values()))).train()
    found, wanted = model(images(4)), pooled(twin, images(4))
    same(found.detach(), wanted.detach())
    stem = (model.conv_stem if hasattr(model, "conv_stem") else model.conv1).weight
    twin_stem = next(twin.parameters())
    found.square().sum().backward()
    wanted.square().sum().backward()
    torch.testing.assert_close(stem.grad, twin_stem.grad, rtol=1e-3, atol=1e-3 * float(twin_stem.grad.abs().max()))
    for norm, twin_norm in zip(*([m for m in n.modules() if isinstance(m, nn.BatchNorm2d)] for n in (model, twin))):
        torch.testing.assert_close(norm.running_var, twin_norm.running_var, rtol=1e-4, atol=1e-6)


def test_a_classifier_is_new_learns_and_comes_back_from_its_checkpoint(case, tmp_path):
    _, files, create = case
    torch.manual_seed(0)
    model = create(checkpoint_path=files["mmpretrain"], num_classes=3).train()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05)
    losses = []
    for _ in range(3):
        loss = cross_entropy(model(images(6)), torch.tensor([0, 1, 2, 0, 1, 2]))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(float(loss))
    assert losses[-1] < losses[0]
    assert all(p.grad is not None for p in model.parameters())
    torch.save({"state_dict": model.state_dict()}, tmp_path / "tuned.pth")
    again = create(checkpoint_path=tmp_path / "tuned.pth", num_classes=3)
    assert all(torch.equal(tensor, model.state_dict()[key]) for key, tensor in again.state_dict().items())
    assert all(torch.equal(*pair) for pair in zip(deepcopy(again).parameters(), model.parameters(), strict=True))
    groups = param_groups_layer_decay(model, layer_decay=0.5)
    assert min(group["lr_scale"] for group in groups) < max(group["lr_scale"] for group in groups) == 1


@torch.no_grad()
def test_heads_do_what_those_of_timms_models_do(case):
    twin, files, create = case
    model = create(checkpoint_path=files["mmpretrain"], num_classes=3).eval()
    x, maps = images(), twin(images())[-1]
    same(model.forward_features(x), maps)
    same(model.forward_head(maps, pre_logits=True), maps.mean((2, 3)))
    assert torch.equal(model.forward_head(model.forward_features(x)), model(x))
    assert model.get_classifier().out_features == model.num_classes == 3
    assert model.get_classifier().in_features == model.num_features == model.head_hidden_size == maps.shape[1]
    model.reset_classifier(5)
    assert model(x).shape == (2, 5)
    model.reset_classifier(5, "catavgmax")
    assert model(x).shape == (2, 5)
    assert model.get_classifier().in_features == 2 * maps.shape[1]
    model.reset_classifier(0, "")
    same(model(x), maps)
    assert create(num_classes=4, global_pool="max", drop_rate=0.1, drop_path_rate=0.1)(x).shape == (2, 4)


def test_timm_lists_the_models_and_knows_their_constants():
    names = timm.list_models("mmssl*")
    assert names == timm.list_models(module="timm_models")
    assert len(names) == 7
    assert {case[2] for case in CASES.values()} <= set(names)
    assert not timm.list_models("mmssl*", pretrained=True)
    for name in names:
        with torch.device("meta"):
            model = timm.create_model(name)
        cfg = model.pretrained_cfg
        assert model.get_submodule(cfg["first_conv"]).in_channels == 3
        assert isinstance(model.get_submodule(cfg["classifier"]), nn.Identity)
        assert (cfg["input_size"], cfg["num_classes"], cfg["architecture"]) == ((3, 224, 224), 0, name)


def test_pretrained_loads_a_given_file_and_adapts_it_to_other_images(case):
    _, files, create = case
    with pytest.raises(RuntimeError, match="No pretrained weights exist"):
        create(pretrained=True)
    for path in files.values():
        grey = create(pretrained=True, pretrained_cfg_overlay=dict(file=str(path)), in_chans=1, num_classes=2).eval()
        colour = create(checkpoint_path=path).eval()
        x = images()[:, :1]
        with torch.no_grad():
            same(grey.forward_head(grey.forward_features(x), pre_logits=True), colour(x.expand(-1, 3, -1, -1)))


class Code:
    """What an attacker puts into a checkpoint."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


def test_nothing_in_a_checkpoint_is_executed(tmp_path):
    torch.save({"state_dict": {}, "code": Code(tmp_path / "executed")}, tmp_path / "evil.pth")
    for options in (dict(checkpoint_path=tmp_path / "evil.pth"), dict(pretrained=True)):
        overlay = dict(pretrained_cfg_overlay=dict(file=str(tmp_path / "evil.pth"))) if "pretrained" in options else {}
        with pytest.raises((RuntimeError, pickle.UnpicklingError)):
            timm.create_model("mmssl_slimmable_mobilenetv3_small", subnet="w0.35", **options, **overlay)
    assert not (tmp_path / "executed").exists()

    def careless(model, checkpoint_path, weights_only=False):
        pass

    for loader in (careless, lambda model, checkpoint_path: None):
        with pytest.raises(ConfigError, match="install timm>="):
            timm_models.refuse_unsafe_timm(loader)


def test_what_is_no_sub_network_or_does_not_fit_is_refused(case, tmp_path):
    _, files, _ = case
    with pytest.raises(SubnetError, match="unknown sub-network '0-9-0-0'"):
        timm.create_model("mmssl_sdr_resnet18", subnet="0-9-0-0")
    with pytest.raises(SubnetError, match=r"unknown sub-network 'w3\.0'"):
        timm.create_model("mmssl_slimmable_resnet", subnet="w3.0")
    for name in ("w", "0.75", "w0.75-d2222", "wide"):
        with pytest.raises(SubnetError, match=f"'{name}' is not the name of a width"):
            timm.create_model("mmssl_slimmable_mobilenetv3_small", subnet=name)
    for name, word in (("sdr_resnet18", "path"), ("slimmable_mobilenetv3_large", "width")):
        with pytest.raises(ConfigError, match=rf"has no option {word}; a sub-network is named by subnet='w0\.75'"):
            timm.create_model(f"mmssl_{name}", **{word: 0.75})
    with pytest.raises(ConfigError, match="stem of 7 channels"):
        timm.create_model("mmssl_sdr_resnet18", stem_channels=7)
    copyfile(files["mmpretrain"], tmp_path / "alone.pth")  # without the sidecar
    with pytest.raises(RuntimeError, match="size mismatch|Missing key"):
        timm.create_model("mmssl_sdr_resnet18", checkpoint_path=tmp_path / "alone.pth")


@torch.no_grad()
@pytest.mark.parametrize("key", CASES)
def test_checkpoint_path_reads_the_sidecar_beside_an_export(key, tmp_path):
    """As ``--initial-checkpoint`` and ``--checkpoint`` of timm's scripts, which know none of our options."""
    build, subnet, name, options, formats, indices = CASES[key]
    net = build()
    subnet = subnet or net.subnets[0]
    twin = net.static(subnet).eval()
    twin.out_indices = indices
    for format in formats:
        file = export_subnet(net, subnet, tmp_path / f"{format}.pth", format).path
        model = timm.create_model(name, checkpoint_path=file).eval()
        same(model(images()), pooled(twin, images()))
        for one, other in zip(
            timm.create_model(name, checkpoint_path=str(file), features_only=True).eval()(images())[1:], twin(images())
        ):
            same(one, other)
    assert model.pretrained_cfg["input_size"] == (3, 64, 64)  # the sidecar's
    # Options that say the same are welcome, and no others.
    timm.create_model(name, checkpoint_path=file, **{**options, "subnet": subnet})
    other = {"sdr": "0-0-0-0", "resnet": net.subnets[1], "mobilenet": "w0.5"}[key]
    with pytest.raises(SubnetError, match=f"the export holds the sub-network '{subnet}' alone, not '{other}'"):
        timm.create_model(name, checkpoint_path=file, **{**options, "subnet": other})
    wrong = "mmssl_slimmable_mobilenetv3_large" if key == "mobilenet" else "mmssl_sdr_resnet50"
    with pytest.raises(ConfigError, match=f"which is no {wrong}; name another model"):
        timm.create_model(wrong, checkpoint_path=file)
    if key == "sdr":
        with pytest.raises(ConfigError, match="and the options describe .* leave stem_channels out"):
            timm.create_model(name, checkpoint_path=file, stem_channels=16)


def test_only_the_modules_of_timm_models_import_timm(repo_root):
    """So that the package works without it."""
    ours = {"timm_models", "timm_networks", "hub_folder", "model_card"}
    for path in (repo_root / "mmssl_dynamic").rglob("*.py"):
        for node in ast.parse(path.read_text()).body:
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom):
                names = [node.module or "", *(f"{node.module}.{alias.name}" for alias in node.names)]
            else:
                continue
            roots, ends = {name.split(".")[0] for name in names}, {name.split(".")[-1] for name in names}
            assert path.stem in ours or ("timm" not in roots and not ends & ours), path
