"""Models by name: super-networks, their sub-networks, and exported files."""

from pathlib import Path

import pytest
import torch

import mmssl_dynamic
from mmssl_dynamic import get_model, list_models
from mmssl_dynamic.calibration import BNBank
from mmssl_dynamic.errors import ArtifactError, ConfigError, MissingStatisticsError, SubnetError
from mmssl_dynamic.loading import find_config
from mmssl_dynamic.models import SDRResNet, SlimmableResNet, StaticMobileNetV3, StaticResNet
from tests.helpers import export_subnet, randomise

SDR = "sdr_simsiam_r18_16path_tinyin"
SMALL = dict(stage_channels=(8, 8, 16, 16), stem_channels=5)
SMALL_TEXT = "stage_channels=(8, 8, 16, 16), stem_channels=5"
PATH = "0-0-1-2"


def images(count=2):
    return torch.randn(count, 3, 48, 48, generator=torch.Generator().manual_seed(1))


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A small network of the config, with its checkpoint and BN bank."""
    folder = tmp_path_factory.mktemp("run")
    torch.manual_seed(0)
    net = randomise(get_model(SDR, **SMALL), [PATH, "0-0-3-0", "full"])
    torch.save({"state_dict": {f"backbone.{k}": v for k, v in net.state_dict().items()}}, folder / "epoch_1.pth")
    bank = BNBank.of(net)
    bank.path = {name: net.bn_statistics(name) for name in (PATH, "full")}
    bank.save(folder / "bn_bank.safetensors")
    return net, folder / "epoch_1.pth", folder / "bn_bank.safetensors"


def test_names_are_those_of_the_index_and_patterns_choose_among_them():
    names = list_models()
    assert names == sorted(set(names))
    assert {SDR, "dspnet_mobilenet-v3_tinyin", "simsiam_r18_tinyin", "linear_dspnet"} <= set(names)
    assert list_models("sdr_*") == [name for name in names if name.startswith("sdr_")]
    assert list_models("tinyin") == [name for name in names if "tinyin" in name]
    assert list_models("resnext") == []
    assert {"get_model", "list_models"} <= set(mmssl_dynamic.__all__)


def test_without_files_there_are_super_networks_and_twins_with_random_weights():
    net = get_model(SDR, out_indices=(1, 3), **SMALL)
    assert isinstance(net, SDRResNet)
    assert len(net.subnets) == 17
    assert not net.training
    twin = get_model(SDR, PATH, out_indices=(1, 3), **SMALL)
    assert isinstance(twin, StaticResNet)
    assert not twin.training
    assert (net.out_channels, twin.out_channels) == ((8, 16), (8, 10))
    assert [m.shape[1] for m in twin(images())] == [8, 10]
    widths = get_model("dspnet_mobilenet-v3_tinyin", "w0.75")
    assert isinstance(widths, StaticMobileNetV3)
    assert widths.width == 0.75
    assert isinstance(get_model("dspnet_resnet-narrow_tinyin-32px"), SlimmableResNet)
    assert get_model("simsiam_r18_tinyin")(images())[-1].shape == (2, 512, 2, 2)


@torch.no_grad()
def test_checkpoint_and_bank_give_the_sub_network_as_it_was_trained(run):
    net, checkpoint, bank = run
    twin = get_model(SDR, PATH, checkpoint, bank, **SMALL)
    with net.subnet(PATH):
        torch.testing.assert_close(twin(images()), net(images()))
    full = get_model(SDR, "full", checkpoint, **SMALL)  # whose statistics are in the checkpoint
    torch.testing.assert_close(full(images()), net(images()))
    whole = get_model(SDR, pretrained=checkpoint, **SMALL)
    assert all(torch.equal(tensor, net.state_dict()[key]) for key, tensor in whole.state_dict().items())
    assert not whole.has_bn_statistics(PATH)


def test_files_that_do_not_fit_are_refused(run, tmp_path):
    net, checkpoint, bank = run
    (tmp_path / "alone.pth").write_bytes(Path(checkpoint).read_bytes())
    with pytest.raises(MissingStatisticsError, match=f"'{PATH}'.*calibrate_bn"):
        get_model(SDR, PATH, tmp_path / "alone.pth", **SMALL)
    with pytest.raises(MissingStatisticsError, match="'0-0-3-0'"):
        get_model(SDR, "0-0-3-0", checkpoint, bank, **SMALL)
    with pytest.raises(MissingStatisticsError, match="holds no statistics"):  # of all paths
        get_model(SDR, pretrained=checkpoint, bank=bank, **SMALL)
    with pytest.raises(ArtifactError, match="of shape"):
        get_model(SDR, PATH, checkpoint, bank, **{**SMALL, "stem_channels": 6})
    torch.save({key: value + 1 for key, value in net.state_dict().items()}, tmp_path / "other.pth")
    with pytest.raises(ArtifactError, match="other weights"):
        get_model(SDR, PATH, tmp_path / "other.pth", bank, **SMALL)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        (dict(name="sdr_simsiam_r18_16path_tiny"), ConfigError, f"did you mean '{SDR}'"),
        (dict(name="zzz"), ConfigError, r"unknown model 'zzz': list_models\(\) names all"),
        ({}, ConfigError, "which model"),
        (dict(name=SDR, pretrained=True), ConfigError, "no weights are published"),
        (dict(name=SDR, subnet="0-9-0-0"), SubnetError, "unknown sub-network '0-9-0-0'"),
        (dict(name="dspnet_mobilenet-v3_tinyin", subnet="w3.0"), SubnetError, "w0.5"),
        (dict(name="simsiam_r18_tinyin", subnet="w0.5"), ConfigError, "is one network"),
        (dict(name=SDR, bank="bank.safetensors"), ConfigError, "give pretrained="),
        (dict(name=SDR, bn="prefix"), ConfigError, "give bank="),
        (dict(name=SDR, stage_chanels=(8, 8, 8, 8)), ConfigError, "'stage_chanels'"),
        (dict(name=SDR, subnet=PATH, pretrained="nowhere.pth"), ArtifactError, "nowhere.pth does not exist"),
        (dict(pretrained="nowhere.pth"), ArtifactError, "nowhere.pth does not exist"),
        (dict(pretrained="backbone.pth", bank="bank.safetensors"), ConfigError, "leave bank= out"),
        (dict(checkpoint="backbone.pth"), ConfigError, r"named by pretrained='backbone\.pth'"),
    ],
)
def test_what_cannot_be_had_is_said_in_a_sentence(arguments, error, message):
    with pytest.raises(error, match=message):
        get_model(**arguments)


@torch.no_grad()
def test_an_exported_file_needs_no_name(run, tmp_path):
    net, _, _ = run
    report = export_subnet(net, PATH, tmp_path / "backbone.pth")
    twin = get_model(pretrained=report.path, out_indices=(0, 3))
    with net.subnet(PATH):
        torch.testing.assert_close(twin(images())[-1], net(images())[-1])
    with pytest.raises(ArtifactError, match=f"holds an exported network and not the whole of '{SDR}'; give subnet="):
        get_model(SDR, None, report.path, **SMALL)
    with pytest.raises(SubnetError, match=f"'{PATH}' alone, not '0-0-0-0'"):
        get_model(pretrained=report.path, subnet="0-0-0-0")


@torch.no_grad()
def test_an_export_is_a_sub_network_of_its_model_if_it_is_that_one(run, tmp_path):
    net, _, bank = run
    for format in ("mmpretrain", "torchvision"):
        file = export_subnet(net, PATH, tmp_path / f"{format}.pth", format).path
        twin = get_model(SDR, PATH, file, out_indices=(1, 3), **SMALL)
        assert isinstance(twin, StaticResNet)
        assert twin.origin.subnet == PATH
        with net.subnet(PATH):
            torch.testing.assert_close(twin(images())[-1], net(images())[-1])
    # Another path has the same shapes, and only the sidecar tells.
    with pytest.raises(SubnetError, match=f"holds the sub-network '{PATH}' alone, not '0-0-3-0'"):
        get_model(SDR, "0-0-3-0", file, **SMALL)
    with pytest.raises(ArtifactError, match=f"'{PATH}' of '{SDR}' is ResNetArchitecture"):
        get_model(SDR, PATH, file, **{**SMALL, "stem_channels": 6})
    with pytest.raises(ConfigError, match="leave bank= out"):
        get_model(SDR, PATH, file, bank, **SMALL)
    with pytest.raises(ConfigError, match="is one network"):
        get_model("simsiam_r18_tinyin", PATH, file)


@torch.no_grad()
def test_a_config_file_is_a_model_too(run, tmp_path):
    net, checkpoint, bank = run
    config = find_config("sdr/sdr_simsiam_r18_16path_tinyin.py")
    twin = get_model(config, PATH, checkpoint, bank, **SMALL)
    with net.subnet(PATH):
        torch.testing.assert_close(twin(images()), net(images()))
    own = tmp_path / "own.py"
    own.write_text(f"_base_ = [{str(config)!r}]\nmodel = dict(backbone=dict({SMALL_TEXT}))\n")
    whole = get_model(str(own), pretrained=checkpoint)
    assert all(torch.equal(tensor, net.state_dict()[key]) for key, tensor in whole.state_dict().items())
    alone = tmp_path / "alone.py"
    alone.write_text(f"_base_ = ['own.py']\nmodel = dict(backbone=dict(subnet={PATH!r}))\n")
    file = export_subnet(net, PATH, tmp_path / "backbone.pth").path
    with net.subnet(PATH):
        torch.testing.assert_close(get_model(alone, pretrained=file)(images()), net(images()))
    with pytest.raises(ConfigError, match=r"nowhere\.py does not exist"):
        get_model(tmp_path / "nowhere.py")
