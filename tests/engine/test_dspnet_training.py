"""DSPNet through the Runner: end to end, resumed, accumulated, and refused where it cannot work."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from mmengine.hooks import Hook

from mmssl_dynamic.calibration import BNBank
from mmssl_dynamic.engine.launch import build_runner, prepare_config
from mmssl_dynamic.errors import ConfigError
from mmssl_dynamic.fileio import read_json
from tests.helpers import write_images

CONFIG = """
_base_ = ["{root}/configs/demo/dspnet_demo.py"]
data_root = "{data}"
norm_cfg = dict(type="mmssl_dynamic.SyncBN")
model = dict(
    target_bn="momentum",
    backbone=dict(channels=[[8, 8, 8, 8], [8, 8, 16, 16]], blocks=[[1, 1, 1, 1], [1, 1, 1, 2]]),
    neck=dict(hid_channels=16, out_channels=8),
    head=dict(predictor=dict(in_channels=8, hid_channels=16, out_channels=8)),
)
train_dataloader = dict(
    batch_size=8, num_workers=0, persistent_workers=False, dataset=dict(dataset=dict(data_root=data_root))
)
extract_dataloader = dict(batch_size=8, num_workers=0, dataset=dict(data_root=data_root))
max_epochs = 4
train_cfg = dict(max_epochs=max_epochs)
param_scheduler = [dict(type="CosineAnnealingLR", by_epoch=True, begin=0, end=max_epochs, convert_to_iter_based=True)]
default_hooks = dict(
    checkpoint=dict(_delete_=True, type="CheckpointHook", by_epoch=False, interval=4), logger=dict(interval=5)
)
custom_hooks = [
    dict(type="mmssl_dynamic.SandwichHook", num_networks=3, warmup_epochs=1),
    dict(type="mmssl_dynamic.TargetEMAHook", base_momentum=0.1),
    dict(type="mmssl_dynamic.CollapseMonitorHook"),
    dict(type="mmssl_dynamic.BNBankHook", images=16, batch_size=8),
]
log_level = "WARNING"
"""

KILLER = """
import os, signal
from mmengine.hooks import Hook
from mmengine.registry import HOOKS

@HOOKS.register_module()
class KillHook(Hook):
    def before_train_iter(self, runner, batch_idx, data_batch=None):
        if runner.iter == 11:
            os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.fixture(scope="module")
def setup(tmp_path_factory, repo_root):
    folder = tmp_path_factory.mktemp("dspnet")
    write_images(folder / "images", 50)
    (folder / "config.py").write_text(CONFIG.format(root=repo_root, data=folder / "images"))
    return folder


class Recorder(Hook):
    """Notes the networks of every step and how often the target moved."""

    priority = "LOWEST"

    def __init__(self):
        self.networks, self.targets = [], []

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
        self.networks.append(runner.model.networks)
        self.targets.append(runner.model.target_net[0].conv1.weight.clone())


def train(folder, work_dir, resume=None, **options):
    config = prepare_config(folder / "config.py", work_dir=str(work_dir), resume=resume, cfg_options=options or None)
    config.experiment_name = f"{Path(work_dir).name}{resume}"
    runner = build_runner(config)
    recorder = Recorder()
    runner.register_hook(recorder)
    runner.train()
    return runner, recorder


@pytest.fixture(scope="module")
def uninterrupted(setup):
    return train(setup, setup / "uninterrupted")


def test_the_run_warms_up_samples_sandwiches_and_leaves_a_bank_of_every_network(uninterrupted):
    runner, recorder = uninterrupted
    names = runner.model.backbone.subnets
    assert len(names) == 4
    assert recorder.networks[:6] == [(names[-1],)] * 6
    later = recorder.networks[6:]
    assert all(len(n) == 3 and n[0] == names[0] and n[-1] == names[-1] for n in later)
    assert {n[1] for n in later} == set(names[1:3])
    bank = BNBank.load(Path(runner.work_dir) / "bn_bank.safetensors")
    bank.check(runner.model.backbone)
    assert set(bank.path) == {*names[:-1], "full"}
    health = read_json(Path(runner.work_dir) / "collapse.json", "report")
    assert health["steps"][names[-1]] == 24
    assert health["steps"][names[0]] == 18
    moved = [not torch.equal(a, b) for a, b in zip(recorder.targets, recorder.targets[1:])]
    assert all(moved[:-1])
    assert not moved[-1]  # tau has reached 1


def test_training_killed_and_resumed_ends_with_the_weights_of_an_uninterrupted_run(setup, uninterrupted, repo_root):
    (setup / "kill_hook.py").write_text(KILLER)
    text = (
        (setup / "config.py").read_text().replace("batch_size=8),\n]", 'batch_size=8),\n    dict(type="KillHook"),\n]')
    )
    (setup / "killed.py").write_text(text + '\ncustom_imports = dict(imports=["kill_hook"])\n')
    work_dir = setup / "killed"
    command = [sys.executable, str(repo_root / "tools/train.py"), str(setup / "killed.py"), "--work-dir", str(work_dir)]
    env = dict(os.environ, OMP_NUM_THREADS="1", PYTHONPATH=f"{setup}{os.pathsep}{repo_root}")
    result = subprocess.run(command, env=env, capture_output=True, text=True, check=False)
    assert result.returncode == -signal.SIGKILL, result.stderr[-2000:]
    resumed, recorder = train(setup, work_dir, resume="auto")
    reference, unbroken = uninterrupted
    assert recorder.networks == unbroken.networks[8:]
    for name, value in reference.model.state_dict().items():
        assert torch.equal(resumed.model.state_dict()[name], value), name
    assert read_json(work_dir / "collapse.json", "") == read_json(setup / "uninterrupted/collapse.json", "")


def test_with_gradient_accumulation_the_target_moves_once_per_update_and_a_step_keeps_its_networks(setup, tmp_path):
    _, recorder = train(
        setup,
        tmp_path / "run",
        **{"optim_wrapper.accumulative_counts": 2, "max_epochs": 2, "custom_hooks.0.warmup_epochs": 0},
    )
    assert len(recorder.targets) == 12
    for i in range(0, 12, 2):
        assert recorder.networks[i] == recorder.networks[i + 1]
        before = recorder.targets[i - 1] if i else recorder.targets[0]
        assert torch.equal(recorder.targets[i], before)  # not after the first pass of two
        assert i == 10 or not torch.equal(recorder.targets[i + 1], recorder.targets[i])


def test_two_processes_agree_through_the_launcher(setup, repo_root, tmp_path):
    env = dict(os.environ, OMP_NUM_THREADS="1", PORT="29583", TORCHRUN=str(Path(sys.executable).parent / "torchrun"))
    env["PYTHONPATH"] = str(repo_root)
    text = (setup / "config.py").read_text()
    text += 'custom_imports = dict(imports=["tests.engine.spy_hook"])\n'
    text += f'custom_hooks.append(dict(type="EndHook", folder="{tmp_path}"))\n'
    (tmp_path / "config.py").write_text(text)
    command = ["bash", str(repo_root / "tools/dist_train.sh"), str(tmp_path / "config.py"), "2", "--work-dir"]
    command += [str(tmp_path / "run"), "--cfg-options", "train_dataloader.batch_size=4", "max_epochs=2"]
    command += ["randomness.diff_rank_seed=True"]  # all draw the same networks, whatever it says
    result = subprocess.run(command, env=env, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr[-3000:]
    one, two = (torch.load(tmp_path / f"rank{rank}.pt") for rank in range(2))
    assert all(torch.equal(one[name], two[name]) for name in one)  # SyncBN: running statistics, too
    assert (tmp_path / "run/bn_bank.safetensors").is_file()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"custom_hooks.0.warmup_epochs": 4}, "warmup_epochs=4 leaves none of the 4 epochs"),
        ({"custom_hooks.0.num_networks": 0}, "num_networks=0 must be a number, 1 or more"),
        ({"custom_hooks.1.base_momentum": 2.0}, "base_momentum=2.0 <= 1"),
        ({"model.backbone.channels": [1.0, 0.5]}, "must be positive, ascending"),
        ({"model.backbone.blocks": [[2, 2, 2, 2], [1, 1, 1, 1]]}, "from shallow to deep"),
        ({"extract_dataloader": None}, "extract_dataloader"),
    ],
)
def test_wrong_settings_stop_the_run_before_the_first_step(setup, tmp_path, options, message):
    with pytest.raises(ConfigError, match=message):
        train(setup, tmp_path / "run", **options)
    assert not list((tmp_path / "run").glob("*.pth"))
