"""Every value at the top level of every config is an option that does something, everywhere."""

from functools import cache
from pathlib import Path

import pytest

from mmssl_dynamic.errors import ConfigError
from mmssl_dynamic.options import config_file
from mmssl_dynamic.options.config_file import read_config
from mmssl_dynamic.options.known import READ_NAMES

# A fast config is another one with two options: test_configs.py compares them.
CONFIGS = sorted(
    p
    for p in (Path(__file__).parents[2] / "configs").rglob("*.py")
    if "_base_" not in p.parts and not p.name.endswith("_fast.py")
)
FROM_DSPNET = "dspnet/slimmable-supervised_mobilenet-v3-dspnet_4xb128-300e_in1k.py"
DSPNET = "dspnet/dspnet_mobilenet-v3_16xb256-coslr-300e_in1k.py"
BYOL = "dspnet/byol_mobilenet-v3_16xb256-coslr-300e_in1k.py"


def other(value):
    """A value unlike this one, of its type."""
    if isinstance(value, bool):
        return not value
    if isinstance(value, int | float):
        return value * 2 or 3
    return "another" if value is None else f"another/{value}"


def left_behind(before, after, name, value, place=""):
    """Places where an entry ``name`` still has ``value``."""
    if isinstance(after, dict):
        for key, child in after.items():
            inner = f"{place}.{key}"
            if place and key == name and child == value == before.get(key):
                yield inner
            yield from left_behind(before.get(key), child, name, value, inner)
    elif isinstance(after, list | tuple):
        for index, (old, new) in enumerate(zip(before, after)):
            yield from left_behind(old, new, name, value, f"{place}.{index}")


def edited(path, name, value):
    """The config with an option; ``None`` where it is refused for changing nothing."""
    try:
        return read_config(path, {name: value}).to_dict()
    except ConfigError as error:
        if f"option {name}={value} changes nothing" not in str(error):
            raise
        return None


@pytest.mark.parametrize("path", CONFIGS, ids=lambda p: p.stem)
def test_every_top_level_value_is_followed_or_refused(path, monkeypatch):
    monkeypatch.setattr(config_file, "_evaluate", cached(config_file._evaluate))
    before = read_config(path).to_dict()
    scalars = {k: v for k, v in before.items() if not isinstance(v, dict | list | tuple) and k not in READ_NAMES}
    for name, value in scalars.items():
        after = edited(path, name, other(value))
        if after is None:
            continue
        assert after.pop(name) == other(value)
        assert after != {key: child for key, child in before.items() if key != name}, name
        assert list(left_behind(before, after, name, value)) == []


def cached(evaluate):
    """Reads the plain config once."""
    plain = cache(evaluate)
    return lambda path, edits: evaluate(path, edits) if edits else plain(path, ())


@pytest.mark.parametrize(
    ("name", "option", "value", "place"),
    [
        (
            "sdr/simsiam_r50_custom.py",
            "image_size",
            112,
            "train_dataloader.dataset.dataset.pipeline.1.transforms.0.0.size",
        ),
        ("sdr/simsiam_r50_custom.py", "image_size", 112, "extract_dataloader.dataset.pipeline.2.crop_size"),
        ("sdr/simsiam_r50_custom.py", "eval_pipeline.1.scale", 9, "extract_dataloader.dataset.pipeline.1.scale"),
        (
            "sdr/sdr_byol_r50_256path_8xb64-coslr-400e_in1k.py",
            "image_size",
            112,
            "train_pipeline.1.transforms.1.0.size",
        ),
        ("transfer/semisup_finetune_dspnet.py", "labels", "10.txt", "train_dataloader.dataset.dataset.ann_file"),
        ("transfer/semisup_frozen_dspnet.py", "labels", "10.txt", "train_dataloader.dataset.dataset.ann_file"),
        ("transfer/semisup_finetune_dspnet.py", "head_lr", 0.5, "optim_wrapper.optimizer.lr"),
        ("dspnet/slimmable-supervised_mobilenet-v3_tinyin.py", "val_root", "x y", "val_dataloader.dataset.data_root"),
        ("dspnet/slimmable-supervised_mobilenet-v3_tinyin.py", "val_root", "x y", "test_dataloader.dataset.data_root"),
        (FROM_DSPNET, "pretrained", "p.pth", "model.backbone.init_cfg.checkpoint"),
        (DSPNET, "warmup_epochs", 3, "custom_hooks.0.warmup_epochs"),
        (DSPNET, "num_networks", 5, "custom_hooks.0.num_networks"),
        (DSPNET, "widths", (0.5, 1.0, 1.5), "model.backbone.widths"),
        (BYOL, "width", 1.5, "model.backbone.widths.0"),
        ("detection/mask-rcnn_dspnet-r18_fpn_180k_coco.py", "data_root", "/c", "train_dataloader.dataset.data_root"),
    ],
)
def test_values_arrive_where_they_are_used(repo_root, name, option, value, place):
    node = read_config(repo_root / "configs" / name, {option: value})._cfg_dict
    for part in place.split("."):
        node = node[int(part)] if isinstance(node, list | tuple) else node[part]
    assert node == value


SANDWICH = dict(any_width=True, dynamic_sampling=True, favour_small=1.0, loss_weights="width", group_alpha=0.05)
SANDWICH |= dict(same_view=1.0, directions="alternate", num_networks=2, warmup_epochs=1, widths=(0.5, 1.0))


@pytest.mark.parametrize(
    "name",
    [p.name for p in CONFIGS if p.parent.name == "dspnet" and p.name.startswith("dspnet_") and "-narrow" not in p.name],
)
def test_every_config_of_dspnet_has_the_options_of_its_page(repo_root, name):
    assert read_config(repo_root / "configs/dspnet" / name, SANDWICH).model.backbone.any_width


def test_rates_of_backbone_and_head_keep_their_own_values(repo_root):
    config = read_config(
        repo_root / "configs/transfer/semisup_finetune_dspnet.py", {"head_lr": 0.5, "backbone_lr": 0.1}
    )
    rate = config.optim_wrapper.optimizer.lr
    factor = config.optim_wrapper.paramwise_cfg.custom_keys.backbone.lr_mult
    assert (rate, rate * factor) == (0.5, pytest.approx(0.1))


def test_the_margin_around_the_test_crop_grows_with_the_image(repo_root):
    config = read_config(repo_root / "configs/sdr/sdr_simsiam_r50_256path.py")
    assert (config.eval_pipeline[1].scale, config.eval_pipeline[2].crop_size) == (256, 224)
    config = read_config(repo_root / "configs/sdr/sdr_simsiam_r50_256path.py", {"image_size": 448})
    assert (config.eval_pipeline[1].scale, config.eval_pipeline[2].crop_size) == (512, 448)


def test_coco_annotations_lie_in_the_folder_that_is_given_with_or_without_a_slash(repo_root):
    path = repo_root / "configs/detection/mask-rcnn_dspnet-r18_fpn_180k_coco.py"
    for folder in ("/my coco", "/my coco/"):
        config = read_config(path, {"data_root": folder})
        assert config.val_evaluator.ann_file == "/my coco/annotations/instances_val2017.json"
