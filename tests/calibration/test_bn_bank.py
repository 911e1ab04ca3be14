"""A bank survives its file and refuses whatever it was not made for."""

import json

import pytest
import torch
from safetensors.torch import save_file

from mmssl_dynamic.calibration import BNBank, calibrate_path, calibrate_prefixes
from mmssl_dynamic.calibration.bn_bank import prefix_name, prefixes, stage_of
from mmssl_dynamic.errors import ArtifactError, ConfigError, MissingStatisticsError, SubnetError
from mmssl_dynamic.models import SDRResNet, SDRSlimmableResNet
from mmssl_dynamic.subnets import PathSpace, PathWidthSpace


def super_network(seed=0, groups=(1, 1, 2, 2)):
    torch.manual_seed(seed)
    return SDRResNet(18, stage_channels=(8, 8, 12, 12), stage_groups=groups, stem_channels=5)


@pytest.fixture(scope="module")
def net():
    return super_network()


@pytest.fixture(scope="module")
def bank(net):
    bank = BNBank.of(net, seed=3)
    generator = torch.Generator().manual_seed(0)
    batches = lambda *_: [torch.randn(4, 3, 32, 32, generator=generator)]  # noqa: E731
    bank.path = {name: calibrate_path(net, name, batches()) for name in net.subnets}
    bank.prefix = calibrate_prefixes(net, batches)
    return bank


def equal(one, other):
    return one.keys() == other.keys() and all(
        torch.equal(one[k][0], other[k][0]) and torch.equal(one[k][1], other[k][1]) for k in one
    )


def test_prefixes_of_256_paths_are_341():
    space = PathSpace((4, 4, 4, 4))
    assert len(prefixes(space)) == 1 + 4 + 16 + 64 + 256
    assert prefixes(space)[:3] == ("stem", "0", "1")
    assert prefix_name("3-2-1-0", 1) == "3-2"
    assert [stage_of(n) for n in ("bn1", "layer1.0.bn1", "layer4.2.downsample.1")] == [-1, 0, 3]


def test_a_bank_comes_back_from_its_file_as_it_was(bank, tmp_path):
    bank.save(tmp_path / "bn_bank.safetensors")
    again = BNBank.load(tmp_path / "bn_bank.safetensors")
    assert again.fingerprint == bank.fingerprint
    assert again.space == PathSpace((1, 1, 2, 2))
    assert again.meta == {"seed": 3}
    assert again.path.keys() == bank.path.keys()
    assert again.prefix.keys() == bank.prefix.keys()
    assert all(equal(again.path[name], bank.path[name]) for name in bank.path)
    assert all(equal(again.prefix[name], bank.prefix[name]) for name in bank.prefix)
    assert [p.name for p in tmp_path.iterdir()] == ["bn_bank.safetensors"]


def test_applied_statistics_are_what_the_sub_networks_evaluate_with(bank):
    net = super_network()
    bank.apply(net, ["0-0-1-0"])
    assert net.has_bn_statistics("0-0-1-0")
    assert not net.has_bn_statistics("0-0-0-0")
    assert equal(net.bn_statistics("0-0-1-0"), bank.path["0-0-1-0"])
    bank.apply(net)
    assert equal(net.bn_statistics("full"), bank.path["full"])


def test_prefix_statistics_make_common_stages_share_their_features_exactly(bank):
    net = super_network().eval()
    bank.apply(net, bn="prefix")
    batch = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(5))

    def stages(name):
        with torch.no_grad(), net.subnet(name):
            xs = [net.stem(batch)]
            for i in range(4):
                xs.append(net.stage(i, xs[-1]))
        return xs

    one, other = stages("0-0-1-0"), stages("0-0-1-1")
    assert all(torch.equal(a, b) for a, b in zip(one[:4], other[:4]))
    assert not torch.equal(one[4], other[4])
    assert equal(net.bn_statistics("full"), bank.path["full"])


def test_banks_of_other_weights_and_other_networks_are_refused(bank):
    with pytest.raises(ArtifactError, match="other weights"):
        bank.apply(super_network(seed=1))
    with pytest.raises(ArtifactError, match="stage_groups"):
        bank.apply(super_network(groups=(1, 2, 2, 2)))


def test_running_statistics_do_not_change_whose_bank_it_is(bank):
    net = super_network().train()
    net(torch.randn(2, 3, 32, 32))
    bank.check(net)


def test_what_the_bank_does_not_hold_is_said(bank, net):
    with pytest.raises(SubnetError, match="unknown sub-network"):
        bank.statistics("0-0-5-0")
    with pytest.raises(ConfigError, match="unknown kind"):
        bank.statistics("full", "own")
    poor = BNBank.of(net)
    poor.path["full"] = bank.path["full"]
    with pytest.raises(MissingStatisticsError, match="tools/calibrate_bn.py"):
        poor.statistics("0-0-0-0")
    with pytest.raises(MissingStatisticsError, match=r"no prefix statistics; .*calibrate_bn.py --bn path prefix"):
        poor.statistics("0-0-0-0", "prefix")


def test_an_unknown_sub_network_among_known_ones_changes_nothing(bank):
    net = super_network()
    with pytest.raises(SubnetError):
        bank.apply(net, ["0-0-0-0", "9-9-9-9"])
    assert not net.has_bn_statistics("0-0-0-0")


def test_files_that_are_no_banks_are_refused(tmp_path, bank):
    with pytest.raises(ArtifactError, match="does not exist"):
        BNBank.load(tmp_path / "none.safetensors")
    (tmp_path / "text.safetensors").write_text("hello")
    with pytest.raises(ArtifactError, match="broken"):
        BNBank.load(tmp_path / "text.safetensors")
    save_file({"a": torch.zeros(1)}, tmp_path / "weights.safetensors")
    with pytest.raises(ArtifactError, match="not a BN bank"):
        BNBank.load(tmp_path / "weights.safetensors")
    header = {"schema_version": 99, "fingerprint": "x"}
    save_file({"a": torch.zeros(1)}, tmp_path / "future.safetensors", {"bn_bank": json.dumps(header)})
    with pytest.raises(ArtifactError, match="schema version 99"):
        BNBank.load(tmp_path / "future.safetensors")
    bank.save(tmp_path / "cut.safetensors")
    whole = (tmp_path / "cut.safetensors").read_bytes()
    (tmp_path / "cut.safetensors").write_bytes(whole[:-100])
    with pytest.raises(ArtifactError, match="broken"):
        BNBank.load(tmp_path / "cut.safetensors")
    header.update(schema_version=2, space=PathSpace((1, 1, 2, 2)).record())
    for tensors in ({"weights": torch.zeros(1)}, {"path/full/bn1/mean": torch.zeros(1)}):
        save_file(tensors, tmp_path / "odd.safetensors", {"bn_bank": json.dumps(header)})
        with pytest.raises(ArtifactError, match=r"unknown tensor|lacks"):
            BNBank.load(tmp_path / "odd.safetensors")


@pytest.fixture(scope="module")
def wide():
    """Two paths of two widths each, and their bank."""
    torch.manual_seed(0)
    net = SDRSlimmableResNet(18, (8, 8, 12, 16), (1, 1, 1, 2), stem_channels=8, widths=(0.5, 1.0))
    bank = BNBank.of(net)
    generator = torch.Generator().manual_seed(0)
    batches = lambda *_: [torch.randn(4, 3, 32, 32, generator=generator)]  # noqa: E731
    bank.path = {name: calibrate_path(net, name, batches()) for name in net.subnets}
    bank.prefix = calibrate_prefixes(net, batches)
    return net, bank


def test_prefixes_are_those_of_a_width():
    space = PathWidthSpace((4, 4, 4, 4), (0.25, 0.5, 1.0))
    assert len(prefixes(space)) == 3 * (1 + 4 + 16 + 64 + 256)
    assert prefixes(space)[:4] == ("stem@w0.25", "stem@w0.5", "stem", "0@w0.25")
    assert prefix_name("3-2-1-0@w0.5", 1) == "3-2@w0.5"


def test_a_bank_keeps_statistics_by_path_and_width(wide, tmp_path):
    net, bank = wide
    bank.save(tmp_path / "bank.safetensors")
    again = BNBank.load(tmp_path / "bank.safetensors")
    assert again.space == net.space
    assert again.path.keys() == set(net.subnets)
    assert all(equal(again.path[name], bank.path[name]) for name in net.subnets)
    narrow, whole = (again.statistics(f"0-0-0-1{width}") for width in ("@w0.5", ""))
    assert [len(s["layer4.1.bn2"][0]) for s in (narrow, whole)] == [6, 12]
    assert equal(again.statistics("0-0-0-1@w1.0"), whole)
    for name in ("0-0-0-1@w0.5", "0-0-0-1", "0-0-0-1@w1.0"):
        parts = again.statistics(name, "prefix")
        width = "@w0.5" if name.endswith("5") else ""
        assert equal({"bn1": parts["bn1"]}, again.prefix[f"stem{width}"])
        last = {layer: pair for layer, pair in parts.items() if layer.startswith("layer4")}
        assert equal(last, again.prefix[f"0-0-0-1{width}"])
    again.apply(net, ["0-0-0-1@w0.5"])
    assert equal(net.bn_statistics("0-0-0-1@w0.5"), bank.path["0-0-0-1@w0.5"])
    other = SDRSlimmableResNet(18, (8, 8, 12, 16), (1, 1, 1, 2), stem_channels=8, widths=(0.75, 1.0))
    with pytest.raises(ArtifactError, match="widths"):
        again.apply(other)
