import inspect
import re
from functools import cache
from pathlib import Path

import pytest
from mmengine.config import Config
from mmengine.runner import Runner

from mmssl_dynamic.errors import ConfigError
from mmssl_dynamic.loading import load_config
from mmssl_dynamic.options import known
from mmssl_dynamic.options.config_file import read_config
from mmssl_dynamic.options.known import RUNNER_ARGUMENTS, RUNNER_EXTRAS, check_names

SDR = "configs/demo/sdr_demo.py"

# Names that the config does not spell and the code understands.
UNSPELT = {
    "train_dataloader.pin_memory": True,
    "train_dataloader.num_batch_per_epoch": 3,
    "train_dataloader.dataset.dataset.with_label": False,
    "default_hooks.checkpoint.max_keep_ckpts": 1,
    "default_hooks.checkpoint.save_best": "auto",
    "default_hooks.runtime_info": None,
    "custom_hooks.0.priority": "LOW",
    "param_scheduler.0.convert_to_iter_based": True,
    "param_scheduler.0.eta_min": 0.1,
    "optim_wrapper.clip_grad.max_norm": 35,
    "optim_wrapper.accumulative_counts": 4,
    "optim_wrapper.optimizer.nesterov": True,
    "optim_wrapper.paramwise_cfg.norm_decay_mult": 0.0,
    "optim_wrapper.constructor": "DefaultOptimWrapperConstructor",
    "train_cfg.val_interval": 3,
    "val_cfg": {},
    "resume": True,
    "work_dir": "here",
    "load_from": "x.pth",
    "experiment_name": "mine",
    "launcher": "none",
    "find_unused_parameters": True,
    "channels_last": True,
    "runner_type": "mmssl_dynamic.Runner",
    "randomness.diff_rank_seed": True,
    "env_cfg.resource_limit": 8192,
    "env_cfg.dist_cfg.init_method": "env://",
    "env_cfg.mp_cfg.opencv_num_threads": 1,
    "auto_scale_lr.enable": True,
    "log_processor.window_size": 20,
    "model.backbone.out_indices": (0, 3),
    "model.backbone.norm_cfg.momentum": 0.01,
    "model.backbone.norm_cfg.requires_grad": False,
    "model.distillation.weight": 2.0,
    "model.head.loss.shift_factor": 1.0,
    "visualizer.save_dir": "pictures",
}


def check(path, options):
    options = dict(options)
    check_names(read_config(path), read_config(path, options), options)


def test_the_names_that_mmengines_runner_reads_are_known():
    assert set(inspect.signature(Runner.__init__).parameters) - {"self", "cfg"} == RUNNER_ARGUMENTS
    read = set(re.findall(r"self\.cfg\.get\(\s*'(\w+)'", inspect.getsource(inspect.getmodule(Runner))))
    assert read == RUNNER_EXTRAS


@pytest.mark.parametrize("key", UNSPELT)
def test_what_the_code_understands_is_accepted_though_the_config_does_not_spell_it(repo_root, key):
    check(repo_root / SDR, {key: UNSPELT[key]})


def test_what_another_option_makes_known_is_accepted(repo_root):
    hook = "default_hooks.early_stopping"
    check(repo_root / SDR, {f"{hook}.type": "EarlyStoppingHook", f"{hook}.monitor": "loss", f"{hook}.patience": 3})
    backbone = {"model.backbone.init_cfg.type": "Pretrained", "model.backbone.init_cfg.prefix": "backbone."}
    check(repo_root / SDR, {**backbone, "model.backbone.init_cfg.checkpoint": "x.pth"})
    check(repo_root / SDR, {"optim_wrapper.optimizer.type": "Adam", "optim_wrapper.optimizer.betas": (0.9, 0.99)})


@pytest.mark.parametrize(
    ("key", "meant"),
    [
        ("image_szie", "image_size"),
        ("data_rot", "data_root"),
        ("model.backbone.stage_chanels", "model.backbone.stage_channels"),
        ("model.backbone.frozen_stage", "model.backbone.frozen_stages"),
        ("train_dataloader.num_worker", "train_dataloader.num_workers"),
        ("train_dataloader.persistent_worker", "train_dataloader.persistent_workers"),
        ("train_dataloader.dataset.dataset.data_rot", "train_dataloader.dataset.dataset.data_root"),
        ("default_hooks.checkpoint.max_keep_ckpt", "default_hooks.checkpoint.max_keep_ckpts"),
        ("default_hooks.chekpoint.interval", "default_hooks.checkpoint"),
        ("custom_hooks.4.image", "custom_hooks.4.images"),
        ("optim_wrapper.optimizer.weight_dekay", "optim_wrapper.optimizer.weight_decay"),
        ("optim_wrapper.clip_grads.max_norm", "optim_wrapper.clip_grad"),
        ("optim_wrapper.paramwise_cfg.custom_key", "optim_wrapper.paramwise_cfg.custom_keys"),
        ("randomness.sed", "randomness.seed"),
        ("env_cfg.cudnn_benchmarks", "env_cfg.cudnn_benchmark"),
        ("auto_scale_lr.base_batchsize", "auto_scale_lr.base_batch_size"),
        ("train_cfg.max_epoch", "train_cfg.max_epochs"),
        ("param_scheduler.0.T_maxx", "param_scheduler.0.T_max"),
        ("load_form", "load_from"),
    ],
)
def test_a_misspelt_option_is_refused_with_the_nearest_known_name(repo_root, key, meant):
    with pytest.raises(ConfigError, match=rf"^option {re.escape(key)} is unknown.* mean {re.escape(meant)}\?$"):
        load_config(repo_root / SDR, {key: 1})


def test_what_is_like_nothing_is_refused_where_all_names_are_known(repo_root):
    with pytest.raises(ConfigError, match="reads 'xyz' in model.backbone; correct its name, or leave it out"):
        check(repo_root / SDR, {"model.backbone.xyz": 1})


def test_a_dictionary_whose_reader_cannot_be_asked_takes_new_names_but_no_misspelt_ones(tmp_path):
    file = tmp_path / "config.py"
    file.write_text(
        "model = dict(test_cfg=dict(rcnn=dict(score_thr=0.05, stage1=1)), own=dict(type='NotRegistered'))\n"
    )
    for key in ("nms_pre", "stage2"):
        check(file, {f"model.test_cfg.rcnn.{key}": 1})
    check(file, {"model.own.anything": 1})
    with pytest.raises(ConfigError, match=r"did you mean model\.test_cfg\.rcnn\.score_thr\?"):
        check(file, {"model.test_cfg.rcnn.score_th": 1})


STOCK = {
    "mmpretrain": (
        "resnet/resnet50_8xb32_in1k.py",
        "vision_transformer/vit-base-p16_64xb64_in1k.py",
        "mae/mae_vit-base-p16_8xb512-amp-coslr-300e_in1k.py",
        "mocov3/mocov3_resnet50_8xb512-amp-coslr-100e_in1k.py",
        "swin_transformer/swin-tiny_16xb64_in1k.py",
        "efficientnet/efficientnet-b0_8xb32_in1k.py",
        "simsiam/simsiam_resnet50_8xb32-coslr-100e_in1k.py",
    ),
    "mmdet": (
        "faster_rcnn/faster-rcnn_r50_fpn_1x_coco.py",
        "mask_rcnn/mask-rcnn_r50_fpn_2x_coco.py",
        "cascade_rcnn/cascade-mask-rcnn_r50_fpn_1x_coco.py",
        "dcn/faster-rcnn_r50-dconv-c3-c5_fpn_1x_coco.py",
        "detr/detr_r50_8xb2-150e_coco.py",
        "rtmdet/rtmdet_s_8xb32-300e_coco.py",
        "yolox/yolox_s_8xb8-300e_coco.py",
        "vfnet/vfnet_r50_fpn_1x_coco.py",
    ),
}


@pytest.mark.parametrize(("package", "name"), [(package, name) for package, names in STOCK.items() for name in names])
def test_nothing_that_stock_configs_spell_would_be_refused_if_they_did_not(package, name, monkeypatch):
    """Every entry of a config, as an option on the same config without this entry."""
    module = pytest.importorskip(package)
    config = read_config(Path(module.__file__).parent / ".mim/configs" / name)
    monkeypatch.setattr(known, "parameters_of", cache(known.parameters_of))
    count = 0
    for key in known._places(config._cfg_dict):
        if not all(key.split(".")) or "custom_keys" in key:
            continue  # names of parameters, which have dots in them
        *above, _ = key.split(".")
        holder = config._cfg_dict
        for part in above:
            holder = holder[int(part)] if isinstance(holder, list | tuple) else holder[part]
        if above and isinstance(holder, dict):
            before = Config(dict.fromkeys(config))  # spells nothing but the names at the top
            check_names(before, config, [key])
            count += 1
    assert count > 50
