"""The detection configs: they build, agree with the backbones they name, and are the protocols they claim to be."""

import re
from copy import deepcopy
from functools import cache
from pathlib import Path

import pytest
import torch
from mmengine.config import Config
from mmengine.optim import build_optim_wrapper
from torch import nn

from mmssl_dynamic.detection.pretrained_weights import check_normalisation
from mmssl_dynamic.export.formats import default_file_name
from mmssl_dynamic.loading import normalisation_of

FOLDER = Path(__file__).parents[2] / "configs" / "detection"
CONFIGS = sorted(path.stem for path in FOLDER.glob("*.py"))
WIDTHS = ("0.5", "0.75", "1.0", "1.25", "1.5")


@cache
def load(name):
    """A config, to be read only: mmengine takes a second for each."""
    return Config.fromfile(FOLDER / f"{name}.py")


@cache
def training(path):
    """The config of a pre-training, to be read only."""
    return Config.fromfile(path)


def differences(one, other, path=""):
    """Keys at which two configs differ."""
    if isinstance(one, dict) and isinstance(other, dict):
        return {
            found
            for key in {*one, *other}
            for found in differences(one.get(key), other.get(key), f"{path}.{key}".lstrip("."))
        }
    return set() if one == other else {path}


def detector(config):
    """Built as mmdet builds it, without memory for the weights."""
    from mmdet.registry import MODELS

    with MODELS.switch_scope_and_registry("mmdet") as registry, torch.device("meta"):
        return registry.build(deepcopy(config.model))


def test_the_configs_of_the_papers_tables_are_there():
    assert {f"mask-rcnn_dspnet-mobilenet-v3-w{width}_fpn_180k_coco" for width in WIDTHS} <= set(CONFIGS)
    assert "mask-rcnn_dspnet-r18_fpn_180k_coco" in CONFIGS
    backbones = ("sdr-r50-256path", "simsiam-r50", "supervised-r50")
    assert {f"faster-rcnn_{b}_fpn_{k}_voc0712" for b in backbones for k in ("24k", "18k")} <= set(CONFIGS)


@pytest.mark.parametrize("name", CONFIGS)
def test_every_config_builds_a_detector_that_is_tuned_as_a_whole(name, mmdet_scope):
    config = load(name)
    model = detector(config)  # also refuses a neck that does not fit
    assert config.get("custom_imports") is None
    assert config.default_scope == "mmdet"
    backbone = model.backbone
    assert len(backbone.out_indices) == 4
    stock = type(backbone).__module__.startswith("mmdet.")
    assert stock == ("supervised" in name)
    if not stock:
        assert list(backbone.out_channels) == config.model.neck.in_channels
    model.train()
    tuned = {key for key, parameter in backbone.named_parameters() if parameter.requires_grad}
    norms = {key: m for key, m in backbone.named_modules() if isinstance(m, nn.modules.batchnorm._BatchNorm)}
    if "18k" in name or "custom" in name:  # BatchNorm as pre-training left it, all convolutions tuned
        assert not any(m.training or isinstance(m, nn.SyncBatchNorm) for m in norms.values())
        assert tuned == {f"{key}.weight" for key, m in backbone.named_modules() if isinstance(m, nn.Conv2d)}
    else:
        assert tuned == {key for key, _ in backbone.named_parameters()}
        assert all(m.training and isinstance(m, nn.SyncBatchNorm) for m in norms.values())
        assert sum(isinstance(m, nn.SyncBatchNorm) for m in model.neck.modules()) == 8  # 4 lateral, 4 output


@pytest.mark.parametrize("name", CONFIGS)
def test_detectors_normalise_as_every_pre_training_does(name):
    trainings = [p for kind in ("sdr", "dspnet") for p in sorted((FOLDER.parent / kind).glob("*.py"))]
    assert len(trainings) > 15
    for path in trainings:
        check_normalisation(load(name), name, normalisation_of(training(path)), path.name)


@pytest.mark.parametrize("iterations", ["24k", "18k"])
def test_baselines_differ_in_nothing_but_the_backbone(iterations):
    sdr, simsiam, supervised = (
        load(f"faster-rcnn_{name}_fpn_{iterations}_voc0712")
        for name in ("sdr-r50-256path", "simsiam-r50", "supervised-r50")
    )
    follows = {"model.neck.in_channels"}
    for baseline in (simsiam, supervised):
        changed = differences(sdr._cfg_dict.to_dict(), baseline._cfg_dict.to_dict()) - follows
        assert changed
        assert all(key.startswith("model.backbone.") for key in changed), changed
    assert sdr.model.backbone.depth == simsiam.model.backbone.depth == supervised.model.backbone.depth == 50


def test_widths_differ_in_width_weights_and_channels_alone():
    first, *others = (load(f"mask-rcnn_dspnet-mobilenet-v3-w{width}_fpn_180k_coco") for width in WIDTHS)
    for other in others:
        assert differences(first._cfg_dict.to_dict(), other._cfg_dict.to_dict()) == {
            "model.backbone.subnet",
            "model.backbone.init_cfg.checkpoint",
            "model.neck.in_channels",
        }


PROTOCOLS = {
    "faster-rcnn_sdr-r50-256path_fpn_24k_voc0712": (24000, [18000, 22000], 100, range(480, 801, 32)),
    "faster-rcnn_sdr-r50-256path_fpn_18k_voc0712": (18000, [12000, 16000], 100, range(480, 801, 32)),
    "mask-rcnn_dspnet-mobilenet-v3-w0.5_fpn_180k_coco": (180000, [120000, 160000], 1000, range(640, 801, 32)),
    "mask-rcnn_dspnet-r18_fpn_180k_coco": (180000, [120000, 160000], 1000, range(640, 801, 32)),
}


@pytest.mark.parametrize("name", PROTOCOLS)
def test_protocols_are_the_papers(name):
    iterations, steps, warmup, sides = PROTOCOLS[name]
    config = load(name)
    assert config.train_cfg.max_iters == iterations
    rise, fall = config.param_scheduler
    assert (rise.begin, rise.end, rise.by_epoch) == (0, warmup, False)
    assert (fall.begin, fall.end, fall.milestones, fall.gamma, fall.by_epoch) == (0, iterations, steps, 0.1, False)
    assert config.optim_wrapper.optimizer == dict(type="SGD", lr=0.02, momentum=0.9, weight_decay=0.0001)
    assert 8 * config.train_dataloader.batch_size == config.auto_scale_lr.base_batch_size == 16
    data = config.train_dataloader.dataset
    parts = data.get("datasets", [data])
    for part in parts:
        (resize,) = [step for step in part.pipeline if "Resize" in step.type]
        assert resize.scales == [(1333, side) for side in sides]
    for loader in (config.val_dataloader, config.test_dataloader):
        (resize,) = [step for step in loader.dataset.pipeline if "Resize" in step.type]
        assert resize.scale == (1333, 800)
    if "voc" in name:
        assert [part.ann_file for part in parts] == [f"VOC{y}/ImageSets/Main/trainval.txt" for y in (2007, 2012)]
        assert config.test_dataloader.dataset.ann_file == "VOC2007/ImageSets/Main/test.txt"
        assert [round(100 * t) for t in config.test_evaluator.iou_thrs] == list(range(50, 100, 5))
        assert config.test_evaluator.eval_mode == "11points"
    else:
        assert "train2017" in data.ann_file
        assert config.test_evaluator.metric == ["bbox", "segm"]


@pytest.mark.parametrize("name", PROTOCOLS)
def test_norm_layers_do_not_decay_and_everything_else_does(name, mmdet_scope):
    config, model = load(name), detector(load(name))
    optimizer = build_optim_wrapper(model, deepcopy(config.optim_wrapper)).optimizer
    decay = {id(p): group["weight_decay"] for group in optimizer.param_groups for p in group["params"]}
    norms = {id(p) for m in model.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm) for p in m.parameters()}
    for key, parameter in model.named_parameters():
        if parameter.requires_grad:
            assert decay[id(parameter)] == (0 if id(parameter) in norms else 0.0001), key
    assert norms


def test_weights_have_the_names_that_exports_get():
    for name in CONFIGS:
        backbone = load(name).model.backbone
        subnet = backbone.get("subnet")
        if subnet:
            assert backbone.init_cfg.checkpoint == f"work_dirs/networks/{default_file_name(subnet, 'mmdet')}"


def test_the_model_index_names_every_config():
    named = re.findall(r"Config: configs/detection/(\S+)\.py", (FOLDER / "metafile.yml").read_text())
    assert sorted(named) == CONFIGS
