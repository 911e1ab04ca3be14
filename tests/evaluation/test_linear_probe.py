"""Transfer configs made to fit a network, and what freezes a backbone as a whole."""

import pytest
import torch
from mmpretrain.registry import MODELS

from mmssl_dynamic.datasets.normalisation import Normalisation
from mmssl_dynamic.errors import ConfigError
from mmssl_dynamic.evaluation.linear_probe import (
    is_frozen,
    last_stage,
    set_data,
    set_image_size,
    set_network,
    training_record,
)
from mmssl_dynamic.loading import load_config

BACKBONES = [
    dict(type="mmpretrain.ResNet", depth=18),
    dict(type="mmpretrain.MobileNetV3", arch="small"),
    dict(type="mmssl_dynamic.StaticResNet", depth=50, stage_channels=[8, 8, 8, 8], stem_channels=8),
    dict(type="mmssl_dynamic.SlimmableMobileNetV3", arch="small", widths=[0.5, 1.0], subnet="w0.5"),
]


@pytest.fixture
def config(repo_root):
    return load_config(repo_root / "configs/transfer/linear_dspnet.py")


@pytest.mark.parametrize("options", BACKBONES, ids=lambda options: options["type"])
def test_the_last_stage_freezes_every_weight_and_every_statistic(options):
    stages = last_stage(MODELS.build(options))
    frozen, almost = (MODELS.build({**options, "frozen_stages": n}) for n in (stages, stages - 1))
    before = {key: tensor.clone() for key, tensor in frozen.state_dict().items()}
    for backbone in (frozen, almost):
        backbone.train()
        backbone(torch.randn(2, 3, 64, 64))
    assert is_frozen(frozen)
    assert not is_frozen(almost)
    assert all(torch.equal(before[key], tensor) for key, tensor in frozen.state_dict().items())


def test_a_backbone_without_numbered_stages_is_refused():
    with pytest.raises(ConfigError, match="a Conv2d cannot be frozen"):
        last_stage(torch.nn.Conv2d(3, 3, 1))


def test_the_image_size_reaches_training_and_test_crops(config):
    set_image_size(config, 64)
    set_data(config, dict(type="A"), dict(type="B", pipeline=[]), num_classes=5, num_workers=0)
    train, test = config.train_dataloader.dataset.dataset, config.test_dataloader.dataset
    assert train.pipeline[1].scale == 64
    assert [step.get("scale", step.get("crop_size")) for step in config.test_pipeline[1:3]] == [73, 64]
    assert (train.type, test.type, test.pipeline) == ("A", "B", [])
    assert config.test_evaluator.topk == (1,)  # five classes have no top-5
    assert config.val_dataloader is None
    assert "persistent_workers" not in config.train_dataloader
    with pytest.raises(ConfigError, match="must be positive"):
        set_image_size(config, 0)


def test_a_network_is_frozen_where_the_config_says_so_and_normalised_as_in_its_pre_training(config, repo_root):
    arguments = (dict(type="ResNet"), "b.pth", 24, 4, Normalisation((1, 2, 3), (4, 5, 6), to_rgb=False))
    set_network(config, *arguments)
    assert config.model.backbone == dict(
        type="ResNet", frozen_stages=4, init_cfg=dict(type="Pretrained", checkpoint="b.pth")
    )
    assert config.model.head.in_channels == 24
    assert [config.model.data_preprocessor[key] for key in ("mean", "std", "to_rgb")] == [[1, 2, 3], [4, 5, 6], False]
    tuned = load_config(repo_root / "configs/transfer/semisup_finetune_dspnet.py")
    set_network(tuned, *arguments)
    assert tuned.model.backbone.frozen_stages == -1


def test_the_record_holds_the_rate_of_the_whole_batch(config):
    set_data(config, dict(type="A"), dict(type="B"), num_classes=1000)
    record = training_record(config, processes=8)
    assert (record["batch_size"], record["epochs"]) == (2048, 80)
    assert record["lr"] == pytest.approx(0.2 * 2048 / 256)
    assert record["backbone_frozen"]
    config.auto_scale_lr.enable = False
    assert training_record(config, processes=8)["lr"] == 0.2
