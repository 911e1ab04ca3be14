"""From checkpoint to routed, exported backbone by the command lines, on real files."""

import importlib.util
import json
import sys

import numpy as np
import pytest
import torch
from PIL import Image

from mmssl_dynamic import cli
from mmssl_dynamic.apis import load_backbone, load_config
from mmssl_dynamic.clustering import Clusters
from mmssl_dynamic.evaluation import BNBank
from mmssl_dynamic.export import FORMATS
from mmssl_dynamic.fileio import load_state_dict
from mmssl_dynamic.models import SlimmableMobileNetV3, StaticResNet
from mmssl_dynamic.routing import RoutingResult
from tests.helpers import randomise

CONFIG = """
default_scope = 'mmpretrain'
eval_pipeline = [
    dict(type='mmssl_dynamic.LoadImage'),
    dict(type='CenterCrop', crop_size=32),
    dict(type='PackInputs'),
]
model = dict(
    backbone=dict(
        type='mmssl_dynamic.SDRResNet', depth=18, stage_channels=(8, 8, 12, 12), stage_groups=(1, 1, 2, 2),
        stem_channels=5, norm_cfg=dict(type='SyncBN')),
    data_preprocessor=dict(type='SelfSupDataPreprocessor', mean=[127.0] * 3, std=[50.0] * 3, to_rgb=True))
extract_dataloader = dict(
    batch_size=8, num_workers=0,
    dataset=dict(type='mmssl_dynamic.ImageFolder', data_root='{root}/unlabelled', pipeline=eval_pipeline))
clusters_file = '{root}/clusters.npz'
"""


def paint(folder, count, base, seed):
    folder.mkdir(parents=True)
    rng = np.random.default_rng(seed)
    for i in range(count):
        pixels = np.clip(base + rng.normal(0, 40, (32, 36, 3)), 0, 255).astype(np.uint8)
        Image.fromarray(pixels).save(folder / f"{i:02d}.png")


@pytest.fixture(scope="module")
def work(tmp_path_factory):
    """Config, checkpoint, clusters, bank and a task with two classes."""
    root = tmp_path_factory.mktemp("work")
    paint(root / "unlabelled", 24, 120, 0)
    for part, count in (("train", 10), ("test", 5)):
        for index, label in enumerate(("cat", "dog")):
            paint(root / "pets" / part / label, count, 110 + 25 * index, index + len(part))
    (root / "config.py").write_text(CONFIG.replace("{root}", str(root)))
    torch.manual_seed(0)
    config = load_config(root / "config.py")
    from mmssl_dynamic.apis.loading import build_backbone

    net = build_backbone(config)
    torch.save({"state_dict": {f"backbone.{k}": v for k, v in net.state_dict().items()}}, root / "epoch_1.pth")
    names = [f"{i:02d}.png" for i in range(24)]
    Clusters(names, np.arange(24) % 4, 4, "random").save(root / "clusters.npz")
    return root


@pytest.fixture(scope="module")
def bank(work, repo_root):
    path = work / "bn_bank.safetensors"
    tool(
        repo_root,
        "calibrate_bn",
        work / "config.py",
        work / "epoch_1.pth",
        "--out",
        path,
        "--workers",
        0,
        "--images",
        6,
    )
    return path


def tool(repo_root, name, *arguments):
    """Run a tool's main() in this process, as its command line does."""
    spec = importlib.util.spec_from_file_location(f"tool_{name}", repo_root / "tools" / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    before, sys.argv = sys.argv, [f"{name}.py", *map(str, arguments), "--device", "cpu"]
    try:
        cli.run(module.main)
    finally:
        sys.argv = before


@pytest.fixture
def refused(repo_root, capsys):
    """Runs a tool that must fail with one sentence and status 2; returns the sentence."""

    def run(name, *arguments):
        with pytest.raises(SystemExit) as stop:
            tool(repo_root, name, *arguments)
        assert stop.value.code == 2
        lines = capsys.readouterr().err.strip().splitlines()
        message = [line for line in lines if line.startswith("error: ")]
        assert len(message) == 1
        assert lines[-1] == message[0]
        return message[0]

    return run


def test_calibrate_bn_writes_a_bank_for_this_checkpoint(work, bank):
    found = BNBank.load(bank)
    config = load_config(work / "config.py")
    net = load_backbone(config, work / "epoch_1.pth", "cpu")
    found.apply(net)
    found.apply(net, bn="prefix")
    assert found.meta["images"]["path"] == {"full": 6, **dict.fromkeys(net.space.paths, 6)}


@pytest.mark.parametrize("bn", ["path", "prefix"])
def test_route_ranks_writes_draws_and_exports(work, bank, repo_root, tmp_path, capsys, bn):
    common = (work / "config.py", work / "epoch_1.pth")
    options = f"--k 5 --bn {bn} --workers 0 --batch-size 8 --format torchvision".split()
    tool(repo_root, "route", *common, "--bank", bank, "--data-root", work / "pets", "--out", tmp_path, *options)
    result = RoutingResult.load(tmp_path / "routing.json")
    assert result.task == "pets"
    assert len(result.subnets) == 4
    assert result.cost["stage_runs"] == {"path": 20, "prefix": 4 + 1 + 1 + 2 + 4}[bn]
    name = f"backbone_{result.best.name}_torchvision.pth"
    files = ["gains_histogram.png", "gains_histogram.svg", "routing.json", name, f"{name}.json"]
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(files)
    sidecar = json.loads((tmp_path / f"{name}.json").read_text())
    assert sidecar["bn"] == bn
    assert sidecar["source"]["routed_for"] == "pets"
    printed = capsys.readouterr().out
    assert "test images were not used for the choice" in printed
    assert "read it back into torchvision's ResNet" in printed
    assert printed.count("\n   ") >= 4

    # The winner again, from the result alone.
    tool(
        repo_root,
        "export",
        *common,
        "--routing",
        tmp_path / "routing.json",
        "--format",
        "mmdet",
        "--out",
        tmp_path / "w.pth",
    )
    again, before = load_state_dict(tmp_path / "w.pth"), load_state_dict(tmp_path / name)
    assert again.keys() == before.keys()
    assert all(torch.equal(again[key], before[key]) for key in again)


def test_route_takes_data_sets_from_a_config_and_some_sub_networks(work, bank, repo_root, tmp_path):
    data = [f"{p} = dict(type='CustomDataset', data_root='{work}/pets/{p}')" for p in ("train", "test")]
    (tmp_path / "pets_config.py").write_text("\n".join(data))
    arguments = [
        "--dataset-config",
        tmp_path / "pets_config.py",
        "--out",
        tmp_path / "out",
        "--subnets",
        "0-0-1-0,full",
    ]
    tool(repo_root, "route", work / "config.py", work / "epoch_1.pth", "--bank", bank, *arguments, "--workers", "0")
    result = RoutingResult.load(tmp_path / "out" / "routing.json")
    assert result.task == "pets_config"
    assert {score.name for score in result.subnets} == {"0-0-1-0", "full"}


def test_export_writes_a_named_sub_network(work, bank, repo_root, tmp_path, capsys):
    out = tmp_path / "backbone.safetensors"
    common = (work / "config.py", work / "epoch_1.pth")
    tool(repo_root, "export", *common, "--subnet", "0-0-1-1", "--bank", bank, "--bn", "prefix", "--out", out)
    assert "all weights are equal" in capsys.readouterr().out
    assert torch.equal(load_state_dict(out)["backbone.bn1.running_mean"], BNBank.load(bank).prefix["stem"]["bn1"][0])


def test_export_needs_no_bank_where_the_checkpoint_holds_the_statistics(work, repo_root, tmp_path):
    out = tmp_path / "full.pth"
    tool(repo_root, "export", work / "config.py", work / "epoch_1.pth", "--subnet", "full", "--out", out)
    own = load_state_dict(work / "epoch_1.pth")
    assert torch.equal(load_state_dict(out)["backbone.bn1.running_var"], own["backbone.bn1.running_var"])
    assert json.loads((tmp_path / "full.pth.json").read_text())["bn"] == "checkpoint"


SLIMMABLE = """
default_scope = 'mmpretrain'
model = dict(backbone=dict(
    type='mmssl_dynamic.SlimmableMobileNetV3', arch='small', widths=(0.35, 0.5), switchable_bn='statistics'))
"""


def test_all_networks_of_a_switchable_one_are_exported_without_a_bank(repo_root, tmp_path, capsys):
    (tmp_path / "config.py").write_text(SLIMMABLE)
    torch.manual_seed(0)
    net = randomise(SlimmableMobileNetV3("small", (0.35, 0.5), switchable_bn="statistics"))
    torch.save({"state_dict": {f"backbone.{k}": v for k, v in net.state_dict().items()}}, tmp_path / "epoch_1.pth")
    common = (tmp_path / "config.py", tmp_path / "epoch_1.pth")
    tool(repo_root, "export", *common, "--all", "--format", "torchvision", "--out", tmp_path / "out")
    lines = capsys.readouterr().out.splitlines()
    names = ["backbone_w0.35_torchvision.pth", "backbone_w0.5_torchvision.pth"]
    assert lines[0].startswith("[1/2] wrote")
    assert [name in line for name, line in zip(names, lines)] == [True, True]
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == sorted([*names, *(f"{n}.json" for n in names)])
    for name, file in zip(net.subnets, names):
        expected = net.bn_statistics(name)["layer0.bn"][1]
        assert torch.equal(load_state_dict(tmp_path / "out" / file)["features.0.1.running_var"], expected)

    tool(repo_root, "export", *common, "--subnet", "w0.35", "--format", "onnx", "--out", tmp_path / "w.onnx")
    assert "read it back into onnxruntime: outputs agree" in capsys.readouterr().out


@pytest.mark.parametrize("name", ["export", "route"])
def test_command_lines_offer_every_format(repo_root, monkeypatch, capsys, name):
    monkeypatch.setenv("COLUMNS", "1000")
    with pytest.raises(SystemExit):
        tool(repo_root, name, "--help")
    assert f"--format {{{','.join(FORMATS)}}}" in capsys.readouterr().out


def test_what_does_not_fit_ends_in_one_sentence_and_no_file(work, bank, refused, tmp_path):
    common = (work / "config.py", work / "epoch_1.pth")
    route = (*common, "--bank", bank, "--data-root", work / "pets", "--out", tmp_path / "out", "--workers", 0)
    export = (*common, "--bank", bank, "--out", tmp_path / "b.pth")
    assert "unknown sub-network '0-0-9-9'" in refused("route", *route, "--subnets", "0-0-9-9")
    assert "k=0" in refused("route", *route, "--k", 0)
    assert "memory_gib" in refused("route", *route, "--memory-gib", 0)
    assert "does not exist" in refused("route", *route, "--data-root", tmp_path / "none")
    assert "unknown sub-network" in refused("export", *export, "--subnet", "5-5-5-5")
    assert "must end in .pth" in refused(
        "export", *common, "--subnet", "full", "--bank", bank, "--out", tmp_path / "b.bin"
    )
    missing = refused("export", *common, "--subnet", "0-0-1-1", "--out", tmp_path / "b.pth")
    assert "no BatchNorm statistics of sub-network '0-0-1-1'" in missing
    assert "give --bank" in missing
    assert "give --bank" in refused(
        "export", *common, "--subnet", "full", "--bn", "prefix", "--out", tmp_path / "b.pth"
    )
    assert "must end in .onnx" in refused("export", *export, "--subnet", "full", "--format", "onnx")
    onnx = (*common, "--bank", bank, "--all", "--format", "timm", "--out", tmp_path / "all")
    assert "'timm' cannot hold sub-network '0-0-0-0'" in refused("export", *onnx)
    assert "is a file" in refused("export", *common, "--all", "--out", work / "config.py")
    calibrate = (*common, "--out", tmp_path / "bank.safetensors", "--workers", 0)
    assert "at least 2" in refused("calibrate_bn", *calibrate, "--images", 1)
    assert ".safetensors" in refused("calibrate_bn", *common, "--out", tmp_path / "bank.pth")
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


def test_a_config_without_sub_networks_is_refused(work, bank, refused, tmp_path):
    plain = (work / "config.py").read_text().replace("SDRResNet', depth=18, ", "StaticResNet', depth=18, ")
    (tmp_path / "plain.py").write_text(plain.replace("stage_groups=(1, 1, 2, 2),", ""))
    net = StaticResNet(18, (8, 8, 12, 12), 5)
    torch.save(net.state_dict(), tmp_path / "plain.pth")
    common = (tmp_path / "plain.py", tmp_path / "plain.pth")
    message = refused("export", *common, "--subnet", "full", "--bank", bank, "--out", tmp_path / "b.pth")
    assert "has no sub-networks; give the config of an SDR or DSPNet run" in message
