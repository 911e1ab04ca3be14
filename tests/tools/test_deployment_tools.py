"""From checkpoint to exported backbone by the command lines, on real files."""

import json
import shutil

import pytest
import torch

from mmssl_dynamic.calibration import BNBank
from mmssl_dynamic.errors import UserNotice
from mmssl_dynamic.fileio import load_state_dict
from mmssl_dynamic.loading import load_backbone, load_config
from mmssl_dynamic.models import SlimmableMobileNetV3, StaticResNet
from mmssl_dynamic.registry import FORMATS
from tests.helpers import randomise
from tests.tools.running import tool


def test_calibrate_bn_writes_a_bank_for_this_checkpoint(work, bank):
    found = BNBank.load(bank)
    config = load_config(work / "config.py")
    net = load_backbone(config, work / "epoch_1.pth", "cpu")
    found.apply(net)
    found.apply(net, bn="prefix")
    assert found.meta["images"]["path"] == {"full": 6, **dict.fromkeys(net.space.paths, 6)}


def test_export_writes_a_named_sub_network(work, bank, repo_root, tmp_path, capsys):
    out = tmp_path / "backbone.safetensors"
    common = (work / "config.py", work / "epoch_1.pth")
    tool(repo_root, "export", *common, "--subnet", "0-0-1-1", "--bank", bank, "--bn", "prefix", "--out", out)
    assert "all weights are equal" in capsys.readouterr().out
    assert torch.equal(load_state_dict(out)["backbone.bn1.running_mean"], BNBank.load(bank).prefix["stem"]["bn1"][0])


def test_what_export_prints_can_be_pasted(work, bank, repo_root, tmp_path, capsys):
    out = tmp_path / "backbone.pth"
    common = (work / "config.py", work / "epoch_1.pth", "--bank", bank, "--subnet", "0-0-1-1")
    tool(repo_root, "export", *common, "--format", "torchvision", "--out", out)
    first, block = capsys.readouterr().out.split("\n\n", 1)
    assert first.splitlines()[-1].endswith(f"{out}.json")
    scope = {}
    exec(block, scope)
    weights = load_state_dict(out)
    assert all(torch.equal(value, weights[key]) for key, value in scope["net"].state_dict().items())
    assert scope["features"].shape[0] == 1


def test_export_needs_no_bank_where_the_checkpoint_holds_the_statistics(work, repo_root, tmp_path):
    out = tmp_path / "full.pth"
    tool(repo_root, "export", work / "config.py", work / "epoch_1.pth", "--subnet", "full", "--out", out)
    own = load_state_dict(work / "epoch_1.pth")
    assert torch.equal(load_state_dict(out)["backbone.bn1.running_var"], own["backbone.bn1.running_var"])
    assert json.loads((tmp_path / "full.pth.json").read_text())["bn"] == "checkpoint"


# Which torch exports faster than a graph of any size.
FIXED = ("--fixed-batch", 1, "--fixed-size", 64)
SLIMMABLE = """
default_scope = 'mmpretrain'
model = dict(backbone=dict(
    type='mmssl_dynamic.SlimmableMobileNetV3', arch='small', widths=(0.35, 0.5), switchable_bn='statistics'))
data_preprocessor = dict(mean=[127.0] * 3, std=[50.0] * 3, to_rgb=True)
"""


def test_all_networks_of_a_switchable_one_are_exported_without_a_bank(repo_root, tmp_path, capsys):
    (tmp_path / "config.py").write_text(SLIMMABLE)
    torch.manual_seed(0)
    net = randomise(SlimmableMobileNetV3("small", (0.35, 0.5), switchable_bn="statistics"))
    torch.save({"state_dict": {f"backbone.{k}": v for k, v in net.state_dict().items()}}, tmp_path / "epoch_1.pth")
    common = (tmp_path / "config.py", tmp_path / "epoch_1.pth")
    tool(repo_root, "export", *common, "--all", "--format", "torchvision", "--out", tmp_path / "out")
    printed = capsys.readouterr().out
    lines = printed.splitlines()
    names = ["backbone_w0.35_torchvision.pth", "backbone_w0.5_torchvision.pth"]
    assert lines[0].startswith("[1/2] wrote")
    assert [name in line for name, line in zip(names, lines)] == [True, True]
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == sorted([*names, *(f"{n}.json" for n in names)])
    scope = {}
    exec(printed.split("\n\n", 1)[1], scope)
    assert torch.equal(scope["net"].features[0][1].running_var, net.bn_statistics("w0.5")["layer0.bn"][1])
    for name, file in zip(net.subnets, names):
        expected = net.bn_statistics(name)["layer0.bn"][1]
        assert torch.equal(load_state_dict(tmp_path / "out" / file)["features.0.1.running_var"], expected)

    tool(repo_root, "export", *common, "--subnet", "w0.35", "--format", "onnx", *FIXED, "--out", tmp_path / "w.onnx")
    assert "read it back into onnxruntime: outputs agree" in capsys.readouterr().out


@pytest.mark.parametrize("name", ["export", "route"])
def test_command_lines_offer_every_format(repo_root, monkeypatch, capsys, name):
    monkeypatch.setenv("COLUMNS", "1000")
    with pytest.raises(SystemExit):
        tool(repo_root, name, "--help")
    assert f"--format {{{','.join(FORMATS.module_dict)}}}" in capsys.readouterr().out


OWN_FORMAT = """
from mmssl_dynamic.export.stock_format import TorchvisionFormat

class Mine(TorchvisionFormat):
    suffixes = (".mine",)
"""


def test_a_format_of_ones_own_is_named_on_the_command_line(work, bank, repo_root, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "formats_of_a_run.py").write_text(OWN_FORMAT)
    common = (work / "config.py", work / "epoch_1.pth", "--subnet", "0-0-1-0", "--bank", bank)
    tool(repo_root, "export", *common, "--format", "formats_of_a_run.Mine", "--out", "net.mine")
    assert (tmp_path / "net.mine").is_file()
    assert "net.mine" in capsys.readouterr().out


def test_what_does_not_fit_ends_in_one_sentence_and_no_file(work, bank, refused, tmp_path):
    common = (work / "config.py", work / "epoch_1.pth")
    route = (*common, "--bank", bank, "--data-root", work / "pets", "--out", tmp_path / "out", "--workers", 0)
    export = (*common, "--bank", bank, "--out", tmp_path / "b.pth")
    assert "unknown sub-network '0-0-9-9'" in refused("route", *route, "--subnets", "0-0-9-9")
    assert "--k 0 must be" in refused("route", *route, "--k", 0)
    assert "--memory-gib 0.0 must be" in refused("route", *route, "--memory-gib", 0)
    assert "does not exist" in refused("route", *route, "--data-root", tmp_path / "none")
    assert "unknown sub-network" in refused("export", *export, "--subnet", "5-5-5-5")
    assert "must end in .pth" in refused(
        "export", *common, "--subnet", "full", "--bank", bank, "--out", tmp_path / "b.bin"
    )
    alone = (common[0], shutil.copy(common[1], tmp_path / "alone.pth"), "--out", tmp_path / "b.pth")
    missing = refused("export", *alone, "--subnet", "0-0-1-1")
    assert "no BatchNorm statistics of sub-network '0-0-1-1'" in missing
    assert "give --bank" in missing
    assert "give --bank" in refused("export", *alone, "--subnet", "full", "--bn", "prefix")
    (tmp_path / "alone.pth").unlink()
    assert "must end in .onnx" in refused("export", *export, "--subnet", "full", "--format", "onnx")
    onnx = (*common, "--bank", bank, "--all", "--format", "timm", "--out", tmp_path / "all")
    assert "'timm' cannot hold sub-network '0-0-0-0'" in refused("export", *onnx)
    assert "is a file" in refused("export", *common, "--all", "--out", work / "config.py")
    calibrate = (*common, "--out", tmp_path / "bank", "--workers", 0)
    assert "at least 2" in refused("calibrate_bn", *calibrate, "--images", 1)
    assert "has the name of a file" in refused("calibrate_bn", *common, "--out", tmp_path / "bank.pth")
    assert "does not exist" in refused("calibrate_bn", *calibrate, "--clusters", tmp_path / "none.npz")

    other = load_state_dict(work / "epoch_1.pth")
    other["backbone.conv1.weight"] = other["backbone.conv1.weight"] + 1
    torch.save({"state_dict": other}, tmp_path / "other.pth")
    message = refused(
        "export", common[0], tmp_path / "other.pth", "--bank", bank, "--subnet", "full", "--out", tmp_path / "b.pth"
    )
    assert "belongs to other weights" in message
    (tmp_path / "other.pth").unlink()
    assert not list(tmp_path.iterdir())


def test_the_bank_beside_the_checkpoint_is_used_and_said(work, bank, repo_root, tmp_path):
    common = ("export", work / "config.py", work / "epoch_1.pth", "--subnet", "0-0-1-1")
    tool(repo_root, *common, "--bank", bank, "--out", tmp_path / "given.pth")
    with pytest.warns(UserNotice, match=f"BatchNorm statistics are those of {bank}, beside the checkpoint"):
        tool(repo_root, *common, "--out", tmp_path / "found.pth")
    given, found = (load_state_dict(tmp_path / f"{name}.pth") for name in ("given", "found"))
    assert all(torch.equal(given[key], value) for key, value in found.items())
    assert json.loads((tmp_path / "found.pth.json").read_text())["source"]["bank"] == str(bank)


def test_a_config_without_sub_networks_is_refused(work, bank, refused, tmp_path):
    plain = (work / "config.py").read_text().replace("SDRResNet', depth=18, ", "StaticResNet', depth=18, ")
    (tmp_path / "plain.py").write_text(plain.replace("stage_groups=(1, 1, 2, 2),", ""))
    net = StaticResNet(18, (8, 8, 12, 12), 5)
    torch.save(net.state_dict(), tmp_path / "plain.pth")
    common = (tmp_path / "plain.py", tmp_path / "plain.pth")
    message = refused("export", *common, "--subnet", "full", "--bank", bank, "--out", tmp_path / "b.pth")
    assert "has no sub-networks; give the config of an SDR or DSPNet run" in message
