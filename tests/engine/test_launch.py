import pytest
import torch

from mmssl_dynamic.engine.launch import TrainingOptions, prepare_config
from mmssl_dynamic.errors import ConfigError

DSPNET = "configs/demo/dspnet_demo.py"
SUPERVISED = "configs/dspnet/slimmable-supervised_mobilenet-v3_tinyin.py"


def test_a_warm_up_as_long_as_the_training_is_refused_with_the_option_that_shortens_it(repo_root):
    with pytest.raises(
        ConfigError, match=r"max_epochs=2 .* warmup_epochs=10; .* max_epochs=2 warmup_epochs=1, or more"
    ):
        prepare_config(repo_root / DSPNET, cfg_options=dict(max_epochs=2, warmup_epochs=10))
    with pytest.raises(ConfigError, match=r"--cfg-options max_epochs=1 warmup_epochs=0"):
        prepare_config(repo_root / DSPNET, cfg_options=dict(max_epochs=1))
    config = prepare_config(repo_root / DSPNET, cfg_options=dict(max_epochs=2, warmup_epochs=1))
    assert [(entry.begin, entry.end) for entry in config.param_scheduler] == [(0, 1), (1, 2)]


def test_a_warm_up_of_no_epochs_is_left_out(repo_root):
    config = prepare_config(repo_root / DSPNET, cfg_options=dict(max_epochs=1, warmup_epochs=0))
    assert [(entry.type, entry.begin, entry.end) for entry in config.param_scheduler] == [("CosineAnnealingLR", 0, 1)]
    assert config.custom_hooks[0].warmup_epochs == 0


def test_another_schedule_without_a_duration_is_named(repo_root):
    with pytest.raises(ConfigError, match=r"param_scheduler\.1 \(CosineAnnealingLR\) begins at 5 and ends at 4"):
        prepare_config(
            repo_root / DSPNET, cfg_options={"param_scheduler.1.begin": 5, "param_scheduler.1.end": 4, "max_epochs": 20}
        )


def test_a_schedule_may_be_longer_than_the_training_and_not_shorter(repo_root):
    simsiam = repo_root / "configs/demo/simsiam_demo.py"
    options = dict(max_epochs=10, schedule_epochs=20)
    (entry,) = prepare_config(simsiam, cfg_options=options).param_scheduler
    assert (entry.T_max, entry.begin, entry.end) == (20, 0, 20)
    (entry,) = prepare_config(simsiam, cfg_options=dict(max_epochs=10)).param_scheduler
    assert (entry.T_max, entry.end) == (10, 10)
    with pytest.raises(ConfigError, match=r"schedule_epochs=8 ends before max_epochs=10.* give schedule_epochs=10 or"):
        prepare_config(simsiam, cfg_options=dict(max_epochs=10, schedule_epochs=8))
    with pytest.raises(ConfigError, match=r"schedule_epochs=16 ends before max_epochs=20"):
        prepare_config(simsiam, cfg_options={"train_cfg.max_epochs": 20})
    (entry,) = prepare_config(simsiam, cfg_options=dict(max_epochs=10, schedule_epochs=10)).param_scheduler
    assert entry.T_max == 10
    shorter = prepare_config(simsiam, cfg_options={"train_cfg.max_epochs": 1, "schedule_epochs": 2})
    assert (shorter.train_cfg.max_epochs, shorter.param_scheduler[0].T_max) == (1, 2)


def test_a_schedule_of_ones_own_may_leave_the_length_of_another_behind(repo_root, tmp_path):
    schedule = "[dict(type='CosineAnnealingLR', T_max=max_epochs, by_epoch=True, begin=0, end=max_epochs)]"
    own = f"_base_ = [{str(repo_root / 'configs/sdr/simsiam_r18_tinyin.py')!r}]\nmax_epochs = 400\n"
    own += f"param_scheduler = {schedule}\ntrain_cfg = dict(max_epochs=max_epochs)\n"
    (tmp_path / "own.py").write_text(own)
    config = prepare_config(tmp_path / "own.py")
    assert (config.schedule_epochs, config.param_scheduler[0].end) == (200, 400)


def test_no_validate_takes_validation_out_of_the_config(repo_root):
    config = prepare_config(repo_root / SUPERVISED)
    assert config.val_dataloader.dataset.data_root == "data/tiny-imagenet-200/val"
    config = prepare_config(repo_root / SUPERVISED, options=TrainingOptions(validate=False))
    assert (config.val_cfg, config.val_dataloader, config.val_evaluator) == (None, None, None)
    assert config.test_dataloader is not None


def test_loaders_have_the_defaults_and_switches_of_mmpretrains_tools(repo_root, monkeypatch, tmp_path):
    (tmp_path / "stock.py").write_text(
        "default_scope = 'mmpretrain'\nmodel = dict(type='SimSiam')\ntrain_cfg = dict()\noptim_wrapper = dict()\n"
        "train_dataloader = dict(batch_size=2, num_workers=2)\nval_dataloader = dict(batch_size=2, num_workers=0)\n"
    )
    for cuda in (False, True):
        monkeypatch.setattr(torch.cuda, "is_available", lambda cuda=cuda: cuda)
        config = prepare_config(tmp_path / "stock.py")
        assert config.train_dataloader.to_dict() == {
            "batch_size": 2,
            "num_workers": 2,
            "pin_memory": cuda,
            "persistent_workers": True,
            "collate_fn": {"type": "default_collate"},
        }
        assert "persistent_workers" not in config.val_dataloader  # torch refuses it without workers
        config = prepare_config(
            tmp_path / "stock.py", options=TrainingOptions(pin_memory=False, persistent_workers=False)
        )
        assert (config.train_dataloader.pin_memory, config.train_dataloader.persistent_workers) == (False, False)
        assert config.val_dataloader.pin_memory is False


def test_loaders_of_other_scopes_keep_mmengines_defaults(repo_root):
    config = prepare_config(repo_root / "configs/detection/faster-rcnn_supervised-r50_fpn_24k_voc0712.py")
    assert {"pin_memory", "collate_fn"} & set(config.train_dataloader) == set()


def test_what_a_config_says_of_its_loaders_stays(repo_root):
    options = {"train_dataloader.pin_memory": True, "train_dataloader.persistent_workers": False}
    config = prepare_config(repo_root / DSPNET, cfg_options=options)
    assert (config.train_dataloader.pin_memory, config.train_dataloader.persistent_workers) == (True, False)
