"""The transfer configs hold the values of the papers, and each of them trains a real step."""

import math
from pathlib import Path

import pytest
import torch
from mmengine.optim import build_optim_wrapper
from mmpretrain.registry import MODELS
from mmpretrain.structures import DataSample
from mmpretrain.utils import register_all_modules

from mmssl_dynamic.loading import load_config

CONFIGS = sorted((Path(__file__).parents[2] / "configs/transfer").glob("*.py"))


def load(name):
    return load_config(next(path for path in CONFIGS if path.stem == name))


def test_linear_probes():
    dspnet, simsiam = load("linear_dspnet"), load("linear_simsiam")
    assert dspnet.optim_wrapper.optimizer == dict(type="SGD", lr=0.2, momentum=0.9, weight_decay=0.0)
    assert simsiam.optim_wrapper.optimizer == dict(type="LARS", lr=0.1, momentum=0.9, weight_decay=0.0)
    assert dspnet.model.head.type == "mmssl_dynamic.LinearBNHead"
    assert simsiam.model.head.type == "LinearClsHead"
    assert 8 * simsiam.train_dataloader.batch_size == 4096
    for config, epochs in ((dspnet, 80), (simsiam, 90)):
        assert config.auto_scale_lr == dict(enable=True, base_batch_size=256)
        assert config.train_cfg.max_epochs == epochs
        assert [(s.type, s.T_max, s.end) for s in config.param_scheduler] == [("CosineAnnealingLR", epochs, epochs)]
        assert config.model.backbone.frozen_stages == 4
        assert config.train_pipeline[1].scale == 224
        assert (config.test_pipeline[1].scale, config.test_pipeline[2].crop_size) == (256, 224)


def test_semi_supervised():
    tuned, frozen = load("semisup_finetune_dspnet"), load("semisup_frozen_dspnet")
    assert (tuned.train_cfg.max_epochs, frozen.train_cfg.max_epochs) == (20, 50)
    assert [(s.type, s.milestones, s.gamma) for s in tuned.param_scheduler] == [("MultiStepLR", [12, 16], 0.2)]
    assert [(s.T_max, s.end) for s in frozen.param_scheduler] == [(50, 50)]
    assert frozen.optim_wrapper.optimizer.lr == tuned.optim_wrapper.optimizer.lr == 0.02
    assert not tuned.auto_scale_lr.enable
    assert not frozen.auto_scale_lr.enable
    assert (tuned.model.backbone.frozen_stages, frozen.model.backbone.frozen_stages) == (-1, 4)
    for config in (tuned, frozen):
        assert config.train_dataloader.dataset.dataset.type == "CustomDataset"
        assert "split" not in config.train_dataloader.dataset.dataset


def test_epochs_can_be_set_by_one_option():
    config = load_config(CONFIGS[0], dict(max_epochs=7))
    assert (config.train_cfg.max_epochs, config.param_scheduler[0].T_max, config.param_scheduler[0].end) == (7, 7, 7)


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_every_config_trains_what_it_says_and_nothing_else(path):
    register_all_modules(init_default_scope=False)
    config = load_config(path)
    config.model.backbone.update(depth=18, init_cfg=None)
    config.model.head.in_channels = 512
    config.optim_wrapper.optimizer.type = f"{'mmpretrain.' * (config.optim_wrapper.optimizer.type == 'LARS')}" + (
        config.optim_wrapper.optimizer.type
    )
    torch.manual_seed(0)
    model = MODELS.build(config.model).train()
    samples = [DataSample().set_gt_label(i) for i in range(4)]
    before = {key: tensor.clone() for key, tensor in model.state_dict().items()}
    wrapper = build_optim_wrapper(model, config.optim_wrapper)
    loss = model.loss(torch.randn(4, 3, 32, 32), samples)["loss"]
    wrapper.update_params(loss)
    assert math.isfinite(float(loss))
    moved = {key.split(".")[0] for key, tensor in model.state_dict().items() if not torch.equal(tensor, before[key])}
    tuned = "finetune" in path.stem
    assert moved == ({"backbone", "head"} if tuned else {"head"})
    rates = {id(p): group["lr"] for group in wrapper.param_groups for p in group["params"]}
    if tuned:
        assert {round(rates[id(p)], 9) for p in model.backbone.parameters()} == {0.001}
        assert {rates[id(p)] for p in model.head.parameters()} == {0.02}


@pytest.mark.parametrize("name", ["linear_dspnet", "semisup_finetune_dspnet", "semisup_frozen_dspnet"])
def test_the_batch_norm_on_top_of_the_classifier_is_an_option(name):
    path = next(path for path in CONFIGS if path.stem == name)
    head = load(name).model.head
    assert (head.type, head.norm_cfg.type) == ("mmssl_dynamic.LinearBNHead", "mmssl_dynamic.SyncBN")
    assert "extra_bn = True" in path.read_text() or name == "semisup_frozen_dspnet"
    plain = load_config(path, dict(extra_bn=False)).model.head
    assert (plain.type, "norm_cfg" in plain, plain.in_channels) == ("LinearClsHead", False, head.in_channels)
