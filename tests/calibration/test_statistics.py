import pytest
import torch
from torch import nn

from mmssl_dynamic.calibration import BNBank
from mmssl_dynamic.calibration.statistics import OWN, apply_bank, bank_beside, find_bank
from mmssl_dynamic.errors import ArtifactError, ConfigError, MissingStatisticsError, UserNotice
from mmssl_dynamic.models import SDRResNet
from tests.helpers import randomise

PATHS = ["0-0-0-0", "0-0-0-1"]


def network():
    return SDRResNet(18, stage_channels=(8, 8, 8, 12), stage_groups=(1, 1, 1, 2), stem_channels=5)


@pytest.fixture
def run(tmp_path):
    """A checkpoint with the bank of its training beside it."""
    torch.manual_seed(0)
    trained = randomise(network(), PATHS)
    torch.save(trained.state_dict(), tmp_path / "epoch_1.pth")
    bank = BNBank.of(trained)
    bank.path = {name: trained.bn_statistics(name) for name in PATHS}
    bank.save(tmp_path / "bn_bank.safetensors")
    return tmp_path / "epoch_1.pth"


@pytest.fixture
def net(run):
    """The network of the checkpoint, which has no statistics of paths."""
    found = network()
    found.load_state_dict(torch.load(run))
    return found


def test_the_bank_beside_a_checkpoint_is_used_where_statistics_are_missing_and_said(net, run):
    with pytest.warns(UserNotice, match="statistics are those of .*bn_bank.safetensors, beside the checkpoint"):
        file, source = apply_bank(net, PATHS, run)
    assert (file, source) == (run.parent / "bn_bank.safetensors", "path")
    assert all(net.has_bn_statistics(name) for name in PATHS)


def test_nothing_is_looked_for_where_the_checkpoint_has_the_statistics(net, run, recwarn):
    assert apply_bank(net, ["full"], run) == (None, OWN)
    assert find_bank(nn.Conv2d(1, 1, 1), run, None, ["net"]) is None
    assert not [warning for warning in recwarn if issubclass(warning.category, UserNotice)]


def test_a_bank_that_is_given_is_the_one(net, run, tmp_path):
    bank = BNBank.load(tmp_path / "bn_bank.safetensors")
    bank.save(tmp_path / "other.safetensors")
    assert apply_bank(net, PATHS, run, tmp_path / "other.safetensors") == (tmp_path / "other.safetensors", "path")


def test_the_bank_beside_another_checkpoint_is_refused(net, run):
    with torch.no_grad():
        net.conv1.weight.add_(1)
    with pytest.raises(ArtifactError, match="bn_bank.safetensors belongs to other weights"):
        apply_bank(net, PATHS, run)


def test_without_statistics_the_sub_network_and_the_remedy_are_named(net, run, tmp_path):
    (tmp_path / "bn_bank.safetensors").unlink()
    assert bank_beside(run) is None
    with pytest.raises(MissingStatisticsError, match=r"'0-0-0-0', and there is no .* beside it: give --bank"):
        apply_bank(net, PATHS, run)
    with pytest.raises(ConfigError, match="--bn prefix chooses among the statistics of a BN bank: give --bank"):
        apply_bank(net, ["full"], run, bn="prefix")


def test_a_plain_network_has_no_use_for_a_bank(run):
    for options, flag in (({"bank": "x.safetensors"}, "--bank"), ({"bn": "prefix"}, "--bn prefix")):
        with pytest.raises(ConfigError, match=f"a Conv2d has BatchNorm statistics of its own; leave {flag} out"):
            apply_bank(nn.Conv2d(1, 1, 1), ["net"], run, **options)
