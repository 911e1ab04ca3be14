"""From a trained checkpoint to a pruned one, and fine-tuning that keeps its zeros."""

import pytest
import torch

from mmssl_dynamic.apis.prune import prune, subnet_size
from mmssl_dynamic.engine.launch import build_runner, prepare_config
from mmssl_dynamic.errors import ConfigError
from mmssl_dynamic.fileio import load_state_dict
from tests.helpers import write_images

CONFIG = """
_base_ = ["{root}/configs/demo/sdr_demo.py"]
data_root = "{data}"
clusters_file = None
stage_groups = (1, 1, 1, 1)
model = dict(
    backbone=dict(stage_groups=stage_groups, stage_channels=(8, 8, 16, 32), stem_channels=8, shared_ratio=0.5),
    neck=dict(hid_channels=16, out_channels=16),
    head=dict(predictor=dict(in_channels=16, hid_channels=8, out_channels=16)),
)
train_dataloader = dict(
    batch_size=8,
    num_workers=0,
    persistent_workers=False,
    dataset=dict(stage_groups=stage_groups, clusters_file=clusters_file, dataset=dict(data_root=data_root)),
)
extract_dataloader = dict(batch_size=8, num_workers=0, dataset=dict(data_root=data_root))
train_cfg = dict(max_epochs=1)
param_scheduler = [dict(type="CosineAnnealingLR", T_max=1, by_epoch=True, begin=0, end=1)]
default_hooks = dict(checkpoint=dict(_delete_=True, type="CheckpointHook", by_epoch=False, interval=2))
custom_hooks = [dict(type="mmssl_dynamic.FixedPredictorLrHook"), dict(type="mmssl_dynamic.ProgressivePhaseHook")]
log_level = "WARNING"
"""
KEEP = """
custom_hooks.append(dict(type="mmssl_dynamic.KeepPrunedHook"))
optim_wrapper = dict(optimizer=dict(lr=0.1, momentum=0.9, weight_decay=1e-2))
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory, repo_root):
    folder = tmp_path_factory.mktemp("pruning")
    write_images(folder / "images", 32)
    text = CONFIG.format(root=repo_root, data=folder / "images")
    (folder / "wide.py").write_text(text)
    (folder / "pruned.py").write_text(text + KEEP)
    (folder / "super.py").write_text(text.replace("(1, 1, 1, 1)", "(1, 1, 4, 4)"))
    config = prepare_config(folder / "wide.py", work_dir=str(folder / "wide"))
    config.experiment_name = "wide"
    build_runner(config).train()
    count = subnet_size(folder / "super.py")
    figures = prune(folder / "wide.py", folder / "wide/iter_4.pth", folder, num_weights=count)
    assert figures["after"] == count < figures["before"]
    return folder


def fine_tune(folder, name, **options):
    work_dir = str(folder / name)
    config = prepare_config(folder / "pruned.py", work_dir=work_dir, resume=options.pop("resume", None))
    config.merge_from_dict(options)
    config.experiment_name = name
    runner = build_runner(config)
    runner.train()
    return runner


def zeros(state):
    return {k: v == 0 for k, v in state.items() if k.startswith("backbone.") and v.ndim == 4}


def test_a_subnets_size_is_that_of_its_static_twin(folder):
    from mmssl_dynamic.loading import build_backbone, load_config

    net = build_backbone(load_config(folder / "super.py"))
    assert subnet_size(folder / "super.py", "0-0-1-2") == sum(p.numel() for p in net.static("0-0-1-2").parameters())


def test_only_the_backbone_is_pruned(folder):
    before, after = load_state_dict(folder / "wide/iter_4.pth"), load_state_dict(folder / "pruned.pth")
    assert before.keys() == after.keys()
    changed = {key for key in before if not torch.equal(before[key], after[key])}
    assert changed
    assert all(key.startswith("backbone.") for key in changed)


def test_a_backbones_own_weights_are_pruned_as_well(folder, tmp_path):
    run = load_state_dict(folder / "wide/iter_4.pth")
    bare = {key.removeprefix("backbone."): value for key, value in run.items() if key.startswith("backbone.")}
    torch.save({"state_dict": bare}, tmp_path / "bare.pth")
    count = subnet_size(folder / "super.py")
    prune(folder / "wide.py", tmp_path / "bare.pth", tmp_path, num_weights=count)
    pruned = load_state_dict(tmp_path / "pruned.pth")
    expected = load_state_dict(folder / "pruned.pth")
    assert pruned.keys() == bare.keys()
    assert all(torch.equal(value, expected[f"backbone.{key}"]) for key, value in pruned.items())


def test_fine_tuning_moves_what_is_left_and_nothing_else_also_after_a_resume(folder):
    start = load_state_dict(folder / "pruned.pth")
    runner = fine_tune(folder, "tuned", load_from=str(folder / "pruned.pth"))
    tuned = {k: v.clone() for k, v in runner.model.state_dict().items()}
    for key, gone in zeros(start).items():
        assert torch.equal(tuned[key] == 0, gone), key
        assert not torch.equal(tuned[key], start[key]), key
    resumed = fine_tune(folder, "again", resume=str(folder / "tuned/iter_2.pth"))
    for key, value in tuned.items():
        assert torch.equal(resumed.model.state_dict()[key], value), key


def test_fine_tuning_weights_that_are_not_pruned_is_refused(folder):
    with pytest.raises(ConfigError, match=r"set load_from to a file written by tools/prune.py"):
        fine_tune(folder, "wrong", load_from=str(folder / "wide/iter_4.pth"))


def test_a_config_without_a_super_network_has_no_subnet_size(repo_root):
    with pytest.raises(ConfigError, match="has no super-network"):
        subnet_size(repo_root / "configs/sdr/simsiam_r18_tinyin.py")
