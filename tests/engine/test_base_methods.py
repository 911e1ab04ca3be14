"""Base methods of SDR in real runs: MoCo-v2 resumes its queue to the bit, and a user's own method needs one module."""

import pytest
import torch

from mmssl_dynamic.datasets import build_dataset, sample_names
from mmssl_dynamic.engine.launch import prepare_config, run_training
from mmssl_dynamic.fileio import load_state_dict, read_json
from tests.helpers import write_clusters, write_images

CONFIG = """
_base_ = ["{root}/configs/demo/sdr_demo.py"]
data_root = "{data}"
clusters_file = "{clusters}"
stage_groups = (1, 1, 2, 2)
train_dataloader = dict(
    batch_size=8,
    num_workers=0,
    persistent_workers=False,
    dataset=dict(stage_groups=stage_groups, clusters_file=clusters_file, dataset=dict(data_root=data_root)),
)
extract_dataloader = dict(batch_size=8, num_workers=0, dataset=dict(data_root=data_root))
train_cfg = dict(max_epochs=3)
param_scheduler = [dict(type="CosineAnnealingLR", T_max=3, by_epoch=True, begin=0, end=3)]
default_hooks = dict(
    checkpoint=dict(_delete_=True, type="CheckpointHook", by_epoch=False, interval=4), logger=dict(interval=5)
)
log_level = "WARNING"
model = dict(
    backbone=dict(stage_groups=stage_groups, stage_channels=(8, 8, 16, 16), stem_channels=8, shared_ratio=0.5),
    neck=dict({neck}),
"""
MOCO = """
    type="mmssl_dynamic.SDRMoCo",
    queue_len=40,
    head=dict(_delete_=True, type="ContrastiveHead", loss=dict(type="CrossEntropyLoss"), temperature=0.2),
)
custom_hooks = [
    dict(type="mmssl_dynamic.TargetEMAHook", base_momentum=0.01, end_momentum=0.01),
    dict(type="mmssl_dynamic.ProgressivePhaseHook"),
    dict(type="mmssl_dynamic.CollapseMonitorHook"),
]
optim_wrapper = dict(paramwise_cfg=dict(_delete_=True))
"""
MOCO_NECK = (
    "_delete_=True, type='mmssl_dynamic.ElasticProjector', hid_channels=16, out_channels=8, num_layers=2, "
    "with_bias=True, with_last_bias=True, with_last_bn=False, norm_cfg=None"
)
# What a user would write: Barlow Twins (arXiv 2103.03230), whose loss compares the two views' projections.
OWN_METHOD = """
from mmssl_dynamic.models.selfsup import SDR, Online
from mmssl_dynamic.registry import MODELS


@MODELS.register_module()
class SDRBarlow(SDR):
    def __init__(self, *args, off_diagonal=0.005, **kwargs):
        super().__init__(*args, **kwargs)
        self.off_diagonal = off_diagonal

    def online(self, views):
        projections = tuple(self.project(view) for view in views)
        return Online(projections, projections)

    def targets(self, views, online):
        return ()

    def ssl_loss(self, predictions, targets):
        one, two = ((z - z.mean(0)) / (z.std(0) + 1e-5) for z in predictions)
        correlation = one.T @ two / len(one)
        diagonal = correlation.diagonal()
        return (diagonal - 1).square().sum() + self.off_diagonal * (
            correlation.square().sum() - diagonal.square().sum()
        )
"""
BARLOW = """
    type="mmssl_dynamic.SDRBarlow",
    off_diagonal=0.01,
    head=dict(_delete_=True, type="ContrastiveHead", loss=dict(type="CrossEntropyLoss")),
)
custom_hooks = [dict(type="mmssl_dynamic.ProgressivePhaseHook"), dict(type="mmssl_dynamic.CollapseMonitorHook")]
optim_wrapper = dict(paramwise_cfg=dict(_delete_=True))
custom_imports = dict(imports=["users_method"])
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory, repo_root):
    folder = tmp_path_factory.mktemp("methods")
    write_images(folder / "images", 40)
    images = build_dataset(dict(type="mmssl_dynamic.ImageFolder", data_root=str(folder / "images"), pipeline=[]))
    write_clusters(folder / "clusters.npz", sample_names(images), 4)
    parts = dict(root=repo_root, data=folder / "images", clusters=folder / "clusters.npz")
    (folder / "moco.py").write_text(CONFIG.format(neck=MOCO_NECK, **parts) + MOCO)
    neck = "hid_channels=16, out_channels=16"
    (folder / "barlow.py").write_text(CONFIG.format(neck=neck, **parts) + BARLOW)
    return folder


def run(config, work_dir, resume=None):
    prepared = prepare_config(config, work_dir=str(work_dir), resume=resume)
    prepared.experiment_name = f"{work_dir.name}{resume is not None}"
    return run_training(prepared)


def test_moco_resumes_queue_and_momentum_encoder_to_the_bit(folder, tmp_path):
    whole = run(folder / "moco.py", tmp_path / "whole").model.state_dict()
    checkpoint = tmp_path / "whole" / "iter_8.pth"
    kept = load_state_dict(checkpoint)
    assert int(kept["keys_seen"]) == 64
    assert not torch.equal(kept["queue"], whole["queue"])
    resumed = run(folder / "moco.py", tmp_path / "resumed", str(checkpoint)).model.state_dict()
    assert int(whole["keys_seen"]) == 120
    assert resumed.keys() == whole.keys()
    for name, value in whole.items():
        assert torch.equal(resumed[name], value), name
    health = [read_json(tmp_path / name / "collapse.json", "") for name in ("whole", "resumed")]
    assert health[0] == health[1]
    assert len(health[0]["health"]) > 2  # the full network and paths


def test_a_base_method_of_a_users_own_module_trains_as_those_of_the_package(folder, tmp_path, monkeypatch):
    (tmp_path / "users_method.py").write_text(OWN_METHOD)
    monkeypatch.syspath_prepend(tmp_path)
    runner = run(folder / "barlow.py", tmp_path / "run")
    model = runner.model
    assert type(model).__module__ == "users_method"
    assert model.off_diagonal == 0.01
    losses = runner.message_hub.get_scalar("train/loss_ssl").data[0]
    assert len(losses) == 15
    assert all(loss > 0 for loss in losses)  # a sum of squares, and not SimSiam's negative cosine
    paths = set(read_json(tmp_path / "run" / "collapse.json", "")["health"]) - {"full"}
    assert paths
    assert "train/loss_kd" in runner.message_hub.log_scalars  # SiamKD comes with SDR
