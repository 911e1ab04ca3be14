"""A backbone of one sub-network initialises itself from the super-network's checkpoint, as if it had been exported."""

import pytest
import torch

from mmssl_dynamic.calibration import BNBank
from mmssl_dynamic.errors import ArtifactError, ConfigError, MissingStatisticsError, SubnetError
from mmssl_dynamic.fileio import load_state_dict
from mmssl_dynamic.registry import MODELS
from tests.helpers import export_subnet


def saved(net, folder, bank=True):
    """Checkpoint of a run and the bank of its sub-networks."""
    torch.save({"state_dict": {f"backbone.{k}": v for k, v in net.state_dict().items()}}, folder / "epoch_1.pth")
    made = BNBank.of(net)
    made.path = {net.space.check(name): net.bn_statistics(name) for name in net.subnets}
    made.save(folder / "bank.safetensors")
    return dict(
        type="mmssl_dynamic.PretrainedSubnet",
        checkpoint=str(folder / "epoch_1.pth"),
        **(dict(bank=str(folder / "bank.safetensors")) if bank else {}),
    )


def build(network, initial):
    backbone = MODELS.build(
        dict(type=f"mmssl_dynamic.{type(network.net).__name__}", init_cfg=initial, **network.options)
    )
    backbone.init_weights()
    return backbone


@pytest.mark.parametrize("kind", ["sdr", "mobilenet", "resnet"])
def test_the_weights_are_those_of_the_export(networks, tmp_path, kind):
    network = networks[kind]
    own = build(network, saved(network.net, tmp_path)).state_dict()
    exported = load_state_dict(network.weights)
    assert set(own) == set(exported)
    assert all(torch.equal(own[name], value) for name, value in exported.items())


def test_the_export_of_another_sub_network_is_refused(networks, tmp_path):
    """All paths have the same shapes, and only the sidecar tells them apart."""
    network = networks["sdr"]
    for prefix, format in (("", "mmdet"), ("backbone.", "mmpretrain")):
        other = export_subnet(network.net, "0-0-0-1", tmp_path / f"{format}.pth", format).path
        initial = dict(type="Pretrained", checkpoint=str(other), **(dict(prefix=prefix) if prefix else {}))
        with pytest.raises(SubnetError, match="holds the sub-network '0-0-0-1' and not '0-0-1-0'.* subnet='0-0-0-1'"):
            build(network, initial)
        same = MODELS.build(
            dict(type="mmssl_dynamic.SDRResNet", init_cfg=initial, **{**network.options, "subnet": "0-0-0-1"})
        )
        same.init_weights()
        assert torch.equal(same.conv1.weight, network.net.conv1.weight)


def test_other_weights_statistics_and_uses_are_refused(networks, tmp_path):
    network = networks["sdr"]
    initial = saved(network.net, tmp_path)
    with pytest.raises(MissingStatisticsError, match=r"'0-0-1-0'; give init_cfg=dict\(bank="):
        build(network, {**initial, "bank": None})
    with pytest.raises(ArtifactError, match="does not exist"):
        build(network, {**initial, "checkpoint": "none.pth"})
    with pytest.raises(ArtifactError, match="PretrainedSubnet"):  # a super-network where an export is wanted
        build(network, dict(type="Pretrained", checkpoint=initial["checkpoint"]))
    whole = {key: value for key, value in network.options.items() if key != "subnet"}
    backbone = MODELS.build(dict(type="mmssl_dynamic.SDRResNet", init_cfg=initial, **whole))
    with pytest.raises(ConfigError, match="give it subnet=NAME"):
        backbone.init_weights()
    other = torch.load(initial["checkpoint"])
    other["state_dict"]["backbone.conv1.weight"] += 1
    torch.save(other, tmp_path / "epoch_2.pth")
    with pytest.raises(ArtifactError, match="belongs to other weights"):
        build(network, {**initial, "checkpoint": str(tmp_path / "epoch_2.pth")})
