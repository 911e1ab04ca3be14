"""A published network is loaded by timm as it is, tells where it comes from, and carries nothing of the training."""

import hashlib
import json
import re
from dataclasses import replace

import pytest
import timm
import torch
from huggingface_hub import ModelCard
from safetensors.torch import load, save, save_file
from timm.models.resnet import ResNet

import mmssl_dynamic.export.timm_models  # noqa: F401
from mmssl_dynamic.apis.publish import publish
from mmssl_dynamic.calibration.bn_bank import network_fingerprints
from mmssl_dynamic.errors import ArtifactError, ConfigError
from mmssl_dynamic.evaluation.evaluation_result import EvaluationResult, NetworkResult
from mmssl_dynamic.evaluation.knn import KNNProtocol
from mmssl_dynamic.export import InputImages
from mmssl_dynamic.export.hub_folder import HubModel
from mmssl_dynamic.export.load_export import load_export
from mmssl_dynamic.features.pooling import pool
from mmssl_dynamic.fileio import load_state_dict, weights_fingerprint
from mmssl_dynamic.models import SDRResNet, SDRSlimmableResNet, SlimmableMobileNetV3
from tests.helpers import IMAGES, export_subnet, randomise

KINDS = {
    "stock": (lambda: SDRResNet(18, (8, 16, 16, 24), (1, 1, 2, 2)), "0-0-1-1"),
    "plugin": (lambda: SlimmableMobileNetV3("small", (0.35, 0.5)), "w0.35"),
}
PROVENANCE = {
    "source": {
        "config": "/home/someone/configs/sdr_tiny.py",
        "checkpoint": "/home/someone/epoch_2.pth",
        "cfg_options": {"max_epochs": 2, "data_root": "/home/someone/my_images"},
        "routed_for": "pets",
    }
}


@pytest.fixture(scope="module", params=KINDS)
def exported(request, tmp_path_factory):
    """Kind of network, its export, and the results of an evaluation of it."""
    build, name = KINDS[request.param]
    torch.manual_seed(0)
    net = randomise(build(), [name])
    folder = tmp_path_factory.mktemp(request.param)
    report = export_subnet(net, name, folder / "b.pth", "mmpretrain", provenance=PROVENANCE)
    networks = [NetworkResult(name, 81.25, None, 1000, 2000, None, 1.0)]
    protocol = {"kind": "knn", **KNNProtocol().record()}
    weights, statistics = weights_fingerprint(net.state_dict()), network_fingerprints(net, [name])
    EvaluationResult(protocol, {"name": "pets"}, weights, networks, {}, statistics=statistics).save(
        folder / "results.json"
    )
    return request.param, report.path, folder


@pytest.fixture(scope="module")
def published(exported):
    """The folder that is published."""
    kind, file, folder = exported
    return publish(file, folder / "out", license="cc-by-4.0", results=[folder / "results.json"]).path


def images():
    return torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(3))


@torch.no_grad()
def test_timm_loads_the_folder(exported, published):
    kind, file, _ = exported
    net = timm.create_model(f"local-dir:{published}", pretrained=True).eval()
    wanted = pool(load_export(file)(images())[-1])
    torch.testing.assert_close(net(images()), wanted, rtol=1e-4, atol=1e-5 * float(wanted.abs().max()))
    assert (type(net) is ResNet) == (kind == "stock")
    transform = timm.data.resolve_model_data_config(net)
    assert transform["mean"] == pytest.approx([value / 255 for value in IMAGES.normalisation.mean])
    assert tuple(transform["input_size"]) == (3, 64, 64)
    random = timm.create_model(f"local-dir:{published}").eval()
    assert not torch.allclose(random(images()), wanted)


@torch.no_grad()
def test_a_classifier_and_a_pyramid_start_from_it(exported, published):
    classifier = timm.create_model(f"local-dir:{published}", pretrained=True, num_classes=5).eval()
    assert classifier(images()).shape == (2, 5)
    wanted = pool(load_export(exported[1])(images())[-1])
    features = classifier.forward_head(classifier.forward_features(images()), pre_logits=True)
    torch.testing.assert_close(features, wanted, rtol=1e-4, atol=1e-5 * float(wanted.abs().max()))
    pyramid = timm.create_model(f"local-dir:{published}", pretrained=True, features_only=True).eval()
    last = pyramid(images())[-1]
    torch.testing.assert_close(pool(last), wanted, rtol=1e-4, atol=1e-5 * float(wanted.abs().max()))


def test_the_folder_has_what_hubs_read_and_its_name_the_hash(published):
    assert sorted(path.name for path in published.iterdir()) == ["README.md", "config.json", "model.safetensors"]
    digest = hashlib.sha256((published / "model.safetensors").read_bytes()).hexdigest()
    assert published.name.endswith(f"-{digest[:8]}")
    assert published.name.startswith("sdr_tiny_")
    config = json.loads((published / "config.json").read_text())
    assert {"architecture", "num_features", "pretrained_cfg", "model_args"} <= set(config)
    assert config["pretrained_cfg"]["license"] == "cc-by-4.0"
    assert "file" not in config["pretrained_cfg"]


def test_the_card_tells_task_figures_licence_and_images_and_no_folder_of_this_machine(exported, published):
    text = (published / "README.md").read_text()
    card = ModelCard(text)
    assert (card.data.license, card.data.library_name) == ("cc-by-4.0", "timm")
    (result,) = card.data.eval_results
    assert (result.dataset_type, result.metric_value) == ("pets", 81.25)
    assert "| pets | test | 81.25 | kNN protocol sdr: 200 neighbours" in text
    assert "chosen for the task pets" in text
    assert "123.675, 116.28, 103.53" in text
    assert ("mmssl_dynamic.export.timm_models" in text) == (exported[0] == "plugin")
    assert "sdr_tiny.py" in text
    assert "max_epochs=2 data_root=my_images" in text
    assert "/home/someone" not in text
    assert str(exported[2]) not in text


def test_what_others_could_not_use_is_refused_and_nothing_is_written(exported, tmp_path):
    _, file, folder = exported
    out = tmp_path / "out"
    with pytest.raises(ConfigError, match="Apache 2.0 is no identifier of a licence"):
        publish(file, out, license="Apache 2.0")
    with pytest.raises(ConfigError, match="give --license"):
        publish(file, out)
    with pytest.raises(ConfigError, match="--name a/b may have letters, digits"):
        publish(file, out, license="mit", name="a/b")
    other = EvaluationResult.load(folder / "results.json")
    EvaluationResult(other.protocol, other.data, "0" * 64, other.networks, {}).save(tmp_path / "results.json")
    with pytest.raises(ArtifactError, match="is of another super-network"):
        publish(file, out, license="mit", results=[tmp_path / "results.json"])
    name = other.networks[0].name
    replace(other, statistics={name: "0" * 64}).save(tmp_path / "results.json")
    with pytest.raises(ArtifactError, match=rf"b\.pth holds other BatchNorm statistics of {name} than .*results\.json"):
        publish(file, out, license="mit", results=[tmp_path / "results.json"])
    assert not out.exists()


def test_a_wrong_weight_is_noticed(exported, tmp_path, monkeypatch):
    write = HubModel.write

    def damaged(self, folder, export):
        state = {key: 1.5 * tensor if tensor.is_floating_point() else tensor for key, tensor in load(self.data).items()}
        return write(replace(self, data=save(state)), folder, export)

    monkeypatch.setattr(HubModel, "write", damaged)
    with pytest.raises(ArtifactError, match="what timm loads differs from"):
        publish(exported[1], tmp_path / "out", license="mit")
    assert not (tmp_path / "out").exists()


def test_images_in_bgr_are_told_and_the_name_is_one_that_hubs_take(tmp_path):
    torch.manual_seed(0)
    net = SDRSlimmableResNet(18, (8, 8, 12, 16), (1, 1, 2, 2), stem_channels=8, widths=(0.5, 1.0))
    name = "0-0-1-1@w0.5"
    randomise(net, [name])
    bgr = InputImages(type(IMAGES.normalisation)((1.0, 2.0, 3.0), (4.0, 5.0, 6.0), to_rgb=False), (64, 64))
    source = {"source": {"config": "my config.py"}}
    report = export_subnet(net, name, tmp_path / "b.pth", "mmdet", images=bgr, provenance=source)
    folder = publish(report.path, tmp_path / "out", license="mit").path
    assert re.fullmatch(r"my-config_0-0-1-1-w0\.5-[0-9a-f]{8}", folder.name)
    text = (folder / "README.md").read_text()
    assert "| colours | BGR |" in text
    assert "images.flip(1)" in text


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_a_checkpoint_loses_its_optimiser(tmp_path, suffix):
    state = {"backbone.conv1.weight": torch.randn(4, 3, 3, 3), "neck.fc.weight": torch.randn(2, 4)}
    file = tmp_path / f"epoch_2{suffix}"
    if suffix == ".pth":
        torch.save({"state_dict": state, "optimizer": {"state": torch.randn(1000)}, "meta": {"epoch": 2}}, file)
    else:
        save_file(state, file)
    report = publish(file, tmp_path / "out")
    assert report.path.name == f"epoch_2-{hashlib.sha256(report.path.read_bytes()).hexdigest()[:8]}{suffix}"
    found = load_state_dict(report.path)
    assert set(found) == set(state)
    assert all(torch.equal(found[key], state[key]) for key in state)
    if suffix == ".pth":
        assert set(torch.load(report.path, weights_only=True)) == {"state_dict", "meta"}
    with pytest.raises(ConfigError, match="is no export but a checkpoint"):
        publish(file, tmp_path / "out", license="mit")
