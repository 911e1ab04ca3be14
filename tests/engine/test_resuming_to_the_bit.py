"""Trainings on all images, killed within an epoch and resumed, end as if they had never stopped.

Those of SDR and DSPNet are in test_training.py and test_dspnet_training.py.
"""

import os
import subprocess
import sys

import pytest
import torch

from mmssl_dynamic.engine.launch import build_runner, prepare_config
from mmssl_dynamic.fileio import load_run_checkpoint
from mmssl_dynamic.models import StaticResNet
from tests.helpers import write_images

COMMON = """
_base_ = ["{root}/configs/{base}.py"]
data_root = "{data}"
train_dataloader = dict(
    batch_size=8, num_workers=0, persistent_workers=False, dataset=dict(dataset=dict(data_root=data_root))
)
extract_dataloader = dict(batch_size=8, num_workers=0, dataset=dict(data_root=data_root))
train_cfg = dict(max_epochs=4)
param_scheduler = [dict(type="CosineAnnealingLR", by_epoch=True, T_max=4, convert_to_iter_based=True)]
default_hooks = dict(
    checkpoint=dict(_delete_=True, type="CheckpointHook", by_epoch=False, interval=4), logger=dict(interval=5)
)
log_level = "WARNING"
"""
SLIMMABLE = 'dict(_delete_=True, type="mmssl_dynamic.SlimmableResNet", channels={}, blocks=[[1, 1, 1, 1]])'
CONFIGS = {
    "simsiam": (
        dict(base="demo/simsiam_demo"),
        """
model = dict(
    backbone=dict(base_channels=8, stem_channels=8),
    neck=dict(in_channels=64, hid_channels=16, out_channels=16),
    head=dict(predictor=dict(in_channels=16, hid_channels=8, out_channels=16)),
)
""",
    ),
    "byol": (
        dict(base="dspnet/byol_mobilenet-v3_tinyin"),
        f"""
optim_wrapper = dict(optimizer=dict(lr=0.5))
model = dict(
    backbone={SLIMMABLE.format("[[8, 8, 16, 16]]")},
    neck=dict(hid_channels=16, out_channels=8),
    head=dict(predictor=dict(in_channels=8, hid_channels=16, out_channels=8)),
)
custom_hooks = [
    dict(type="mmssl_dynamic.TargetEMAHook", base_momentum=0.1),
    dict(type="mmssl_dynamic.BNBankHook", images=16, batch_size=8),
]
""",
    ),
    "distilled": (
        dict(base="demo/slimmable-simsiam_demo"),
        """
model = dict(
    _delete_=True,
    type="mmssl_dynamic.SlimmableDistillation",
    backbone=dict(
        type="mmssl_dynamic.SlimmableResNet", channels=[[8, 8, 8, 8], [8, 8, 16, 16]], blocks=[[1, 1, 1, 1]]
    ),
    teacher=dict(
        type="mmssl_dynamic.FrozenTeacher",
        model=dict(
            type="mmssl_dynamic.StaticResNet", block="basic", blocks=(1, 1, 1, 1), stage_channels=(4, 4, 4, 4),
            stem_channels=4,
        ),
        checkpoint="{folder}/teacher.pth",
    ),
    distillation=dict(type="mmssl_dynamic.FeatureDistillation", hid_channels=8),
)
optim_wrapper = dict(paramwise_cfg=dict(_delete_=True, norm_decay_mult=0.0))
custom_hooks = [
    dict(type="mmssl_dynamic.SandwichHook", num_networks=2, warmup_epochs=0),
    dict(type="mmssl_dynamic.BNBankHook", images=16, batch_size=8),
]
""",
    ),
    "supervised": (
        dict(base="dspnet/slimmable-supervised_mobilenet-v3_tinyin"),
        f"""
model = dict(
    data_preprocessor=dict(num_classes=4),
    backbone={SLIMMABLE.format("[[8, 8, 16, 16], [8, 8, 16, 32]]")},
    head=dict(num_classes=4),
)
val_dataloader = dict(batch_size=12, num_workers=0, dataset=dict(data_root=data_root))
test_dataloader = val_dataloader
val_evaluator = dict(topk=(1, 2))
test_evaluator = val_evaluator
train_cfg = dict(val_interval=1)
custom_hooks = [
    dict(type="mmssl_dynamic.SandwichHook", num_networks=2, warmup_epochs=1),
    dict(type="mmssl_dynamic.CalibrateBNHook", images=40, batch_size=20),
    dict(type="mmssl_dynamic.BNBankHook", images=20, batch_size=20),
]
""",
    ),
}

# Each training in a process of its own, killed in its third epoch of six steps; two checkpoints are there.
KILL = """
import os, signal, sys
from mmengine.hooks import Hook
from mmssl_dynamic.engine.launch import build_runner, prepare_config

class Kill(Hook):
    def before_train_iter(self, runner, batch_idx, data_batch=None):
        if runner.iter == 11:
            os.kill(os.getpid(), signal.SIGKILL)

for config in sys.argv[1:]:
    child = os.fork()
    if not child:
        runner = build_runner(prepare_config(config, work_dir=config.removesuffix(".py") + "_killed"))
        runner.register_hook(Kill())
        runner.train()
    ended = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    if ended != -signal.SIGKILL:
        sys.exit(f"{config} ended with {ended}")
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory, repo_root):
    """Configs, and a work dir of a killed training of each."""
    folder = tmp_path_factory.mktemp("killed")
    write_images(folder / "images", 50, size=64)
    torch.manual_seed(0)
    teacher = StaticResNet(None, (4, 4, 4, 4), 4, block="basic", blocks=(1, 1, 1, 1))
    torch.save(teacher.state_dict(), folder / "teacher.pth")
    for name, (values, text) in CONFIGS.items():
        common = COMMON.format(root=repo_root, data=folder / "images", **values)
        (folder / f"{name}.py").write_text(
            common
            + text.replace("train_cfg = dict(", "train_cfg = dict(max_epochs=4, ").replace("{folder}", str(folder))
        )
    command = [sys.executable, "-c", KILL, *(str(folder / f"{name}.py") for name in CONFIGS)]
    # The number of threads decides the order of sums, and with it the last bits.
    env = dict(os.environ, OMP_NUM_THREADS="1", PYTHONPATH=str(repo_root))
    finished = subprocess.run(command, capture_output=True, text=True, check=False, env=env)
    assert finished.returncode == 0, finished.stderr[-2000:]
    return folder


def last_checkpoint(folder, name, work_dir, resume=None):
    config = prepare_config(folder / f"{name}.py", work_dir=str(folder / work_dir), resume=resume)
    config.experiment_name = work_dir
    build_runner(config).train()
    return load_run_checkpoint(folder / work_dir / "iter_24.pth")


def differing(one, other, place=""):
    """Places where two nested structures differ."""
    if isinstance(one, dict) and isinstance(other, dict):
        found = [f"{place}.{key}" for key in {*one} ^ {*other}]
        return found + [p for key in {*one} & {*other} for p in differing(one[key], other[key], f"{place}.{key}")]
    if isinstance(one, list | tuple) and isinstance(other, list | tuple) and len(one) == len(other):
        return [p for i, (a, b) in enumerate(zip(one, other)) for p in differing(a, b, f"{place}.{i}")]
    same = torch.equal(one, other) if isinstance(one, torch.Tensor) else one == other
    return [] if same else [place]


@pytest.mark.parametrize("name", CONFIGS)
def test_a_killed_training_ends_with_the_weights_of_an_uninterrupted_one(folder, name):
    killed = folder / f"{name}_killed"
    assert sorted(path.name for path in killed.glob("*.pth")) == ["iter_4.pth", "iter_8.pth"]
    whole = last_checkpoint(folder, name, f"{name}_whole")
    resumed = last_checkpoint(folder, name, f"{name}_killed", resume="auto")
    for part in ("state_dict", "optimizer", "param_schedulers"):
        assert differing(whole[part], resumed[part], part) == []
    banks = [folder / f"{name}_{run}" / "bn_bank.safetensors" for run in ("whole", "killed")]
    if banks[0].is_file():
        assert banks[0].read_bytes() == banks[1].read_bytes()
