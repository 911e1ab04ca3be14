"""Folders have the names that people give them: every verb works with spaces, commas, brackets and quotes in them."""

from __future__ import annotations

import os
import runpy
import sys
from pathlib import Path

import pytest
import torch

from mmssl_dynamic.engine.launch import build_runner, prepare_config
from mmssl_dynamic.loading import build_backbone, load_config
from tests.tools.running import CONFIG, paint, tool

pytestmark = pytest.mark.fault("folders as people name them")

NAME = "my images, größe [x] (1) 'q' #%& a=b {c} 写真"


@pytest.fixture(scope="module")
def place(tmp_path_factory) -> Path:
    """A folder of that name, with a config, a checkpoint and a task in it, seen through a link."""
    root = tmp_path_factory.mktemp("real") / NAME
    paint(root / "unlabelled", 24, 120, 0)
    for part, count in (("train", 10), ("val", 5)):
        for index, label in enumerate(("cat, grey", "dog [big]")):
            paint(root / "pets" / part / label, count, 110 + 25 * index, index + len(part))
    (root / "config.py").write_text(
        CONFIG.replace("'{root}/", "root + '/").replace("default_scope", f"root = {str(root)!r}\ndefault_scope", 1)
    )
    torch.manual_seed(0)
    net = build_backbone(load_config(root / "config.py"))
    torch.save({"state_dict": {f"backbone.{k}": v for k, v in net.state_dict().items()}}, root / "epoch 1.pth")
    link = tmp_path_factory.mktemp("seen") / f"link to {NAME}"
    link.symlink_to(root, target_is_directory=True)
    return link


def test_the_whole_chain_works_there(place, repo_root, monkeypatch, capsys):
    config, checkpoint, out = place / "config.py", place / "epoch 1.pth", place / "out, 1"
    model = (config, checkpoint)
    tool(repo_root, "extract_features", *model, "--out", out / "F 1.npy")
    tool(repo_root, "cluster", out / "F 1.npy", "--num-clusters", 4, "--out", place / "clusters.npz", "--epochs", 2)
    tool(repo_root, "calibrate_bn", *model, "--out", out / "bank 1", "--workers", 0, "--images", 6)
    bank = ("--bank", out / "bank 1" / "bn_bank.safetensors")
    task = ("--data-root", f"{place / 'pets'}{os.sep}")
    tool(repo_root, "route", *model, *bank, *task, "--out", out / "routed", "--k", 3, "--workers", 0)
    tool(
        repo_root, "evaluate", *model, *bank, *task, "--out", out / "evaluated", "--workers", 0, "--latency-repeats", 0
    )
    exported = out / "exported 'q'.pth"
    tool(repo_root, "export", *model, "--routing", out / "routed" / "routing.json", "--out", exported)
    for file in ("routed/routing.json", "routed/report.html", "evaluated/results.json", "exported 'q'.pth.json"):
        assert (out / file).is_file()
    assert (place / "clusters_montage.png").is_file()
    capsys.readouterr()
    monkeypatch.setattr(sys, "argv", ["check_images.py", str(place / "pets"), "--no-progress"])
    runpy.run_path(str(repo_root / "tools" / "check_images.py"), run_name="__main__")
    assert "images      30\nunreadable  0" in capsys.readouterr().out


def test_a_training_runs_and_goes_on_there(place, repo_root):
    options = {
        **{"data_root": str(place / "unlabelled"), "train_dataloader.batch_size": 8, "log_level": "ERROR"},
        **{
            "train_dataloader.num_workers": 0,
            "extract_dataloader.num_workers": 0,
            "default_hooks.checkpoint.interval": 1,
        },
    }
    work_dir = place / "runs, all"
    for epochs in (1, 2):
        config = repo_root / "configs/demo/simsiam_demo.py"
        build_runner(
            prepare_config(config, work_dir=str(work_dir), resume="auto", cfg_options={**options, "max_epochs": epochs})
        ).train()
        assert (work_dir / f"epoch_{epochs}.pth").is_file()
