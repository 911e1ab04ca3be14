"""A supervised run from a config, with mmengine's loops and our hooks."""

from pathlib import Path

import pytest
import torch

from mmssl_dynamic.calibration import BNBank
from mmssl_dynamic.engine.launch import build_runner, prepare_config
from mmssl_dynamic.errors import ConfigError, MissingStatisticsError
from mmssl_dynamic.fileio import load_state_dict
from tests.helpers import write_images

CONFIG = """
_base_ = ["{root}/configs/dspnet/slimmable-supervised_mobilenet-v3_tinyin.py"]
model = dict(
    data_preprocessor=dict(num_classes=4),
    backbone=dict(
        _delete_=True,
        type="mmssl_dynamic.SlimmableResNet",
        channels=((8, 8, 16, 16), (8, 8, 16, 24), (8, 8, 16, 32)),
        blocks=((1, 1, 1, 1),),
    ),
    head=dict(num_classes=4),
)
data = dict(data_root="{data}")
train_dataloader = dict(batch_size=16, num_workers=0, dataset=dict(dataset=data))
extract_dataloader = dict(batch_size=16, num_workers=0, dataset=data)
val_dataloader = dict(batch_size=12, num_workers=0, dataset=data)
test_dataloader = val_dataloader
val_evaluator = dict(topk=(1, 2))
test_evaluator = val_evaluator
train_cfg = dict(max_epochs=4, val_interval=2)
optim_wrapper = dict(optimizer=dict(lr=0.1))
param_scheduler = [dict(type="CosineAnnealingLR", by_epoch=True, T_max=4)]
custom_hooks = [
    dict(type="mmssl_dynamic.SandwichHook", num_networks=3, warmup_epochs=1),
    dict(type="mmssl_dynamic.CalibrateBNHook", images=40, batch_size=20),
    dict(type="mmssl_dynamic.BNBankHook", images=20, batch_size=20),
]
default_hooks = dict(checkpoint=dict(interval=4), logger=dict(interval=1))
log_level = "WARNING"
"""
NAMES = ("w0.05-d1111", "w0.058333-d1111", "w0.066667-d1111")


@pytest.fixture(scope="module")
def folder(tmp_path_factory, repo_root):
    folder = tmp_path_factory.mktemp("supervised")
    write_images(folder / "images", 48, size=64)
    (folder / "config.py").write_text(CONFIG.format(root=repo_root, data=folder / "images"))
    return folder


def runner_of(folder, work_dir, **options):
    config = prepare_config(folder / "config.py", work_dir=str(work_dir), cfg_options=options or None)
    config.experiment_name = Path(work_dir).name
    return build_runner(config)


@pytest.fixture(scope="module")
def trained(folder):
    runner = runner_of(folder, folder / "run")
    runner.train()
    return runner


def test_a_run_learns_and_validates_every_network(trained):
    scalars = {name: log.data[0] for name, log in trained.message_hub.log_scalars.items()}
    for name in NAMES:
        top1, top2 = scalars[f"val/{name}/top1"], scalars[f"val/{name}/top2"]
        assert len(top1) == 2  # epochs 2 and 4
        assert all(25 <= one <= two <= 100 for one, two in zip(top1[1:], top2[1:]))
        assert top1[-1] > 40  # of four classes that differ in colour
    assert len(scalars["train/loss"]) == trained.iter == 12
    # The first epoch trains the full network alone, the others all three.
    assert len(scalars[f"train/loss_{NAMES[-1]}"]) == 12
    assert len(scalars[f"train/loss_distill_{NAMES[0]}"]) == 9


def test_a_run_leaves_a_checkpoint_and_the_statistics_of_every_network(trained, folder):
    state = load_state_dict(folder / "run/epoch_4.pth")
    assert {name: value.shape for name, value in state.items()} == {
        name: value.shape for name, value in trained.model.state_dict().items()
    }
    bank = BNBank.load(folder / "run/bn_bank.safetensors")
    bank.check(trained.model.backbone)
    assert set(bank.path) == {*NAMES[:-1], "full"}


def test_a_checkpoint_is_tested_with_statistics_that_are_made_for_it(trained, folder):
    runner = runner_of(folder, folder / "test", load_from=str(folder / "run/epoch_4.pth"))
    found = runner.test()
    expected = {name: log.data[0][-1] for name, log in trained.message_hub.log_scalars.items() if "val/" in name}
    for name in NAMES:
        assert found[f"{name}/top1"] == pytest.approx(expected[f"val/{name}/top1"])


def test_calibration_leaves_the_training_as_it_was(trained, folder):
    runner = runner_of(folder, folder / "unvalidated", **{"train_cfg.val_interval": 100})
    runner.train()
    for name, value in trained.model.state_dict().items():
        assert torch.equal(runner.model.state_dict()[name], value), name


def test_validation_without_statistics_is_refused_and_switchable_batch_norm_needs_none(folder):
    options = {"train_cfg.max_epochs": 2, "train_cfg.val_interval": 2, "custom_hooks.1.type": "EmptyCacheHook"}
    config = prepare_config(folder / "config.py", work_dir=str(folder / "refused"), cfg_options=options)
    config.custom_hooks = config.custom_hooks[:1]
    config.experiment_name = "refused"
    with pytest.raises(MissingStatisticsError, match=NAMES[0]):
        build_runner(config).train()
    config.model.backbone.switchable_bn = "statistics"
    config.experiment_name, config.work_dir = "switchable", str(folder / "switchable")
    runner = build_runner(config)
    runner.train()
    assert f"val/{NAMES[0]}/top1" in runner.message_hub.log_scalars


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"extract_dataloader": None}, "extract_dataloader"),
        ({"custom_hooks.1.images": 1}, "images=1"),
        ({"custom_hooks.0.warmup_epochs": 4}, "warmup_epochs=4"),
        ({"model.backbone.subnet": NAMES[0]}, "super-network"),
    ],
)
def test_wrong_settings_stop_the_run_before_the_first_step(folder, tmp_path, options, message):
    with pytest.raises(ConfigError, match=message):
        runner_of(folder, tmp_path / "run", **options).train()
    assert not list((tmp_path / "run").glob("*.pth"))
