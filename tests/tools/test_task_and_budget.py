"""Paths of several widths from the training to the network within a budget, as commands and as Python."""

import importlib
import sys

import numpy as np
import pytest
import torch

from mmssl_dynamic import get_model
from mmssl_dynamic.apis.publish import publish
from mmssl_dynamic.calibration import BNBank
from mmssl_dynamic.clusters import Clusters
from mmssl_dynamic.engine.launch import prepare_config, run_training
from mmssl_dynamic.fileio import load_state_dict, read_json
from mmssl_dynamic.loading import load_super_network
from mmssl_dynamic.registry import MODELS
from mmssl_dynamic.routing import RoutingResult
from mmssl_dynamic.visualization.training_log import read_log
from tests.tools.running import paint, tool

NAME = "0-0-1-1@w0.5"
CONFIG = """
_base_ = ["{root}/configs/demo/sdr-slimmable_demo.py"]
data_root = "{work}/unlabelled"
clusters_file = "{work}/clusters.npz"
widths = (0.5, 1.0)
num_networks = 2
stage_groups = (1, 1, 2, 2)
max_epochs = 2
norm_cfg = dict(type="BN1d")
model = dict(
    backbone=dict(
        stage_groups=stage_groups, stage_channels=(8, 8, 12, 12), stem_channels=8, shared_ratio=0.5, widths=widths
    ),
    neck=dict(hid_channels=16, out_channels=16),
    head=dict(predictor=dict(in_channels=16, hid_channels=8, out_channels=16)),
)
train_dataloader = dict(
    batch_size=6,
    num_workers=0,
    persistent_workers=False,
    dataset=dict(stage_groups=stage_groups, clusters_file=clusters_file, dataset=dict(data_root=data_root)),
)
extract_dataloader = dict(batch_size=8, num_workers=0, dataset=dict(data_root=data_root))
param_scheduler = [dict(type="CosineAnnealingLR", T_max=2, by_epoch=True, begin=0, end=2)]
train_cfg = dict(max_epochs=2)
default_hooks = dict(checkpoint=dict(interval=1), logger=dict(interval=1))
custom_hooks = [
    dict(type="mmssl_dynamic.ProgressivePhaseHook"),
    dict(type="mmssl_dynamic.SandwichHook", num_networks=num_networks, warmup_epochs=0),
    dict(type="mmssl_dynamic.CollapseMonitorHook"),
    dict(type="mmssl_dynamic.BNBankHook", images=8, batch_size=8, bn=("path", "prefix")),
]
log_level = "WARNING"
"""


@pytest.fixture(scope="module")
def trained(tmp_path_factory, repo_root):
    """Folder of a run with its config, checkpoint and bank, and of a task."""
    work = tmp_path_factory.mktemp("budget")
    paint(work / "unlabelled", 36, 120, 0)
    for part, count in (("train", 10), ("test", 5)):
        for index, label in enumerate(("cat", "dog")):
            paint(work / "pets" / part / label, count, 110 + index, index + len(part))
    Clusters([f"{i:02d}.png" for i in range(36)], np.arange(36) % 4, 4, "random").save(work / "clusters.npz")
    (work / "config.py").write_text(CONFIG.format(root=repo_root, work=work))
    config = prepare_config(work / "config.py", work_dir=str(work / "run"))
    config.experiment_name = "task_and_budget"
    run_training(config)
    return work


def files(trained):
    return trained / "run" / "config.py", trained / "run" / "epoch_2.pth"


@pytest.fixture(scope="module")
def routed(trained, repo_root):
    """Folder of the routing by shared prefixes."""
    out = trained / "routing"
    options = ("--bn", "prefix", "--k", 5, "--workers", 0, "--format", "torchvision", "--out", out)
    tool(repo_root, "route", *files(trained), "--data-root", trained / "pets", *options)
    return out


def test_a_run_trains_all_widths_and_ends_with_their_statistics(trained):
    config, checkpoint = files(trained)
    _, net = load_super_network(config, checkpoint, "cpu")
    bank = BNBank.load(trained / "run" / "bn_bank.safetensors")
    assert bank.path.keys() == set(net.subnets)
    assert len(net.subnets) == 2 * 4 + 1
    steps = read_json(trained / "run" / "collapse.json", "")["steps"]
    assert sum(count for name, count in steps.items() if "@" not in name) == 12  # W_0 or a path in every step
    for name, count in steps.items():
        if "@" in name:  # the sandwich: as often as its path
            assert count == steps[name.split("@")[0]]
    assert any("@w0.5" in name for name in steps)
    logged = {key for record in read_log(trained / "run") for key in record}
    assert {"loss", "loss_ssl", "loss_kd", "loss_ssl@w0.5", "loss_kd@w0.5", "std@w0.5"} <= logged


@pytest.mark.slow
def test_a_resumed_run_trains_the_same_widths_and_ends_with_the_same_weights(trained):
    config = prepare_config(
        trained / "config.py", work_dir=str(trained / "resumed"), resume=str(trained / "run/epoch_1.pth")
    )
    config.experiment_name = "task_and_budget_resumed"
    config.custom_hooks = [hook for hook in config.custom_hooks if hook.type != "mmssl_dynamic.BNBankHook"]
    run_training(config)
    whole, resumed = (load_state_dict(trained / name / "epoch_2.pth") for name in ("run", "resumed"))
    assert whole.keys() == resumed.keys()
    assert all(torch.equal(value, resumed[name]) for name, value in whole.items())


def test_routing_shares_prefixes_within_a_width_and_ranks_all(routed):
    result = RoutingResult.load(routed / "routing.json")
    assert len(result.subnets) == 8
    assert result.cost["stage_runs"] == 2 * (1 + 1 + 2 + 4) + 4
    assert len({score.macs for score in result.subnets}) == 2
    assert (routed / f"backbone_{result.best.name}_torchvision.pth").is_file()


def test_select_finds_the_best_path_of_the_width_that_fits_and_exports_it(trained, routed, repo_root, tmp_path):
    from mmssl_dynamic.apis.select import select
    from mmssl_dynamic.budget import Budget

    result = RoutingResult.load(routed / "routing.json")
    narrow = [score for score in result.subnets if "@" in score.name]
    (choice,) = select([routed], Budget(macs=narrow[0].macs), out=tmp_path / "chosen", format="torchvision")
    assert choice.chosen.choice == max(score.select_accuracy for score in narrow)
    (tight,) = select([routed], Budget(macs=narrow[0].macs - 1))
    assert tight.chosen is None
    assert "@w0.5" in tight.text()
    file = tmp_path / "chosen" / f"backbone_{choice.chosen.name}_torchvision.pth"
    config, checkpoint = files(trained)
    _, net = load_super_network(config, checkpoint, "cpu")
    BNBank.load(trained / "run" / "bn_bank.safetensors").apply(net, [choice.chosen.name], "prefix")
    expected = net.static(choice.chosen.name).state_dict()
    for key, value in load_state_dict(file).items():
        assert torch.equal(value, expected[key]), key


def test_a_network_is_got_by_its_name_from_the_run_and_from_its_export_and_by_timm(trained, repo_root, tmp_path):
    import timm

    import mmssl_dynamic.export.timm_models  # noqa: F401

    config, checkpoint = files(trained)
    images = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    net = get_model(config, NAME, checkpoint)
    assert net.origin.subnet == NAME
    expected = net(images)[0]
    tool(
        repo_root, "export", config, checkpoint, "--subnet", NAME, "--format", "mmpretrain", "--out", tmp_path / "b.pth"
    )
    assert torch.equal(get_model(pretrained=tmp_path / "b.pth")(images)[0], expected)
    assert torch.equal(get_model(config, NAME, tmp_path / "b.pth")(images)[0], expected)
    published = publish(tmp_path / "b.pth", tmp_path / "published", license="apache-2.0")
    assert published.path.name.startswith("config_0-0-1-1-w0.5-")  # hubs take no @ in names
    bank = trained / "run" / "bn_bank.safetensors"
    initial = dict(type="mmssl_dynamic.PretrainedSubnet", checkpoint=str(checkpoint), bank=str(bank))
    backbone = MODELS.build({**net.origin.config, "subnet": NAME, "init_cfg": initial})  # as a detector does
    backbone.init_weights()
    assert torch.equal(backbone.eval()(images)[0], expected)
    options = dict(stage_channels=(8, 8, 12, 12), stage_groups=(1, 1, 2, 2), stem_channels=8, widths=(0.5, 1.0))
    for given in (dict(export=tmp_path / "b.pth"), dict(subnet=NAME, export=tmp_path / "b.pth")):
        model = timm.create_model("mmssl_sdr_resnet18", **given).eval()
        torch.testing.assert_close(model.forward_features(images), expected)
    built = timm.create_model("mmssl_sdr_resnet18", subnet=NAME, **options)
    assert {k: v.shape for k, v in built.state_dict().items()} == {k: v.shape for k, v in model.state_dict().items()}


def test_evaluate_and_calibrate_take_such_names(trained, repo_root, tmp_path):
    options = ("--workers", 0, "--latency-repeats", 1, "--k", 5, "--out", tmp_path / "evaluation")
    names = ("--subnets", f"{NAME},0-0-1-1@w1.0,full")
    tool(repo_root, "evaluate", *files(trained), "--data-root", trained / "pets", *options, *names)
    found = read_json(tmp_path / "evaluation" / "results.json", "result")["networks"]
    assert [network["name"] for network in found] == [NAME, "0-0-1-1", "full"]
    assert found[0]["macs"] < found[1]["macs"] < found[2]["macs"]
    out = tmp_path / "bank"
    tool(repo_root, "calibrate_bn", *files(trained), "--images", 8, "--workers", 0, "--out", out, "--bn", "path")
    assert (
        BNBank.load(out / "bn_bank.safetensors").path.keys()
        == BNBank.load(trained / "run" / "bn_bank.safetensors").path.keys()
    )


def test_a_study_evaluates_what_a_task_gets_at_every_width(trained, repo_root, tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(str(repo_root / "tools" / "studies"))
    evaluate_run = importlib.import_module("evaluate_run")
    try:
        monkeypatch.setattr(sys, "argv", ["evaluate_run.py", *map(str, files(trained))])
        sys.argv += ["--tasks", str(trained / "pets"), "--out", str(tmp_path)]
        evaluate_run.main()
    finally:
        sys.modules.pop("evaluate_run")
    found = read_json(tmp_path / "results.json", "result")["tasks"]["pets"]
    assert set(found["widths"]) == {"w0.5", "w1.0"}
    assert found["widths"]["w1.0"]["routed"] == found["routed"]
    narrow = {name: entry for name, entry in found["networks"].items() if name.endswith("@w0.5")}
    assert len(narrow) == 4
    routed = found["widths"]["w0.5"]["routed"]
    assert routed["select"] == max(entry["select"] for entry in narrow.values())
    assert routed["knn"] == narrow[routed["name"]]["knn"]
