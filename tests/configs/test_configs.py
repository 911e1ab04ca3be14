import math
from pathlib import Path

import pytest
import torch
from mmpretrain.registry import MODELS, TRANSFORMS
from mmpretrain.utils import register_all_modules

from mmssl_dynamic.engine import SubnetOptimWrapper
from mmssl_dynamic.engine.launch import prepare_config
from mmssl_dynamic.loading import load_config
from mmssl_dynamic.subnets import FULL, PathSpace
from tests.helpers import samples, write_images

CONFIGS = sorted(
    p
    for p in (Path(__file__).parents[2] / "configs").rglob("*.py")
    if not {"_base_", "transfer", "detection"} & set(p.parts)
    and not p.name.startswith("slimmable-supervised")  # one view: a test of their own
    and not p.name.endswith("_fast.py")  # another one with two options: likewise
)
FAST = sorted((Path(__file__).parents[2] / "configs").rglob("*_fast.py"))


def single_device(node):
    """Plain BatchNorm for SyncBN, as evaluation and mmengine's Runner do on one device."""
    for key, child in list(node.items()):
        if key == "norm_cfg" and child and child["type"] == "SyncBN":
            node[key] = dict(type="BN" if node["type"].endswith("ResNet") else "BN1d")
        elif isinstance(child, dict):
            single_device(child)


def build(config):
    register_all_modules(init_default_scope=False)
    model = config.model
    single_device(model)
    if "teacher" in model:  # whose weights nobody ships
        model.teacher.update(model=torch.nn.Conv2d(3, 8, 8, stride=8), checkpoint=None)
    torch.manual_seed(0)
    return MODELS.build(model)


def is_sdr(config):
    kinds = ("SDR", "SDRBYOL", "SDRMoCo", "SDRSlimmable")
    return config.model.type in tuple(f"mmssl_dynamic.{kind}" for kind in kinds)


def test_there_are_configs():
    assert {"sdr_simsiam_r50_256path.py", "sdr_simsiam_r18_16path_tinyin.py", "sdr_demo.py"} <= {
        p.name for p in CONFIGS
    }


@pytest.mark.parametrize("path", CONFIGS, ids=lambda p: p.stem)
def test_every_config_builds_and_trains_a_step(path):
    config = prepare_config(path)
    model = build(config).train()
    views = [torch.randn(4, 3, 64, 64) for _ in range(2)]
    paths = PathSpace(tuple(config.stage_groups)).paths if is_sdr(config) else ()
    name = paths[-1] if paths else FULL
    losses = model.loss(views, samples(name, 4))
    loss = sum(value for key, value in losses.items() if "loss" in key)
    loss.backward()
    assert math.isfinite(float(loss))
    assert all(p.grad is not None for p in model.parameters() if p.requires_grad)
    assert (bool(paths) and config.model.distillation is not None) == ("loss_kd" in losses)


@pytest.mark.parametrize("path", CONFIGS, ids=lambda p: p.stem)
def test_every_config_agrees_with_itself(path):
    config = load_config(path)
    epochs = config.train_cfg.max_epochs
    slimmable, byol = config.model.type.endswith("DSPNet"), config.model.type.endswith("BYOL")
    if slimmable or byol:  # warm-up, then cosine to the end
        first, second = config.param_scheduler
        assert (first.begin, first.end, second.end) == (0, second.begin, epochs)
    else:
        assert [(s.T_max, s.end) for s in config.param_scheduler] == [(epochs, epochs)]
    if slimmable:  # the full network alone while warming up
        assert first.end == config.custom_hooks[0].warmup_epochs
    # lr 0.05 x B / 256 (SimSiam Sec. 4.1), 0.3 x B / 256 (BYOL for 300 epochs) and 0.03 x B / 256 (MoCo Sec. 4) over 8
    # GPUs on ImageNet, 0.2 x B / 256 (DSPNet Sec. 5.1) over 16; the demos' rates are their own, as are those on one
    # device where SGD replaces LARS, of small studies and laptops, and of fine-tuning
    imagenet = config.extract_dataloader.dataset.type == "ImageNet"
    gpus = (16 if slimmable else 8) if imagenet else 1
    if "demo" not in path.parts and "32px" not in path.name:
        assert config.auto_scale_lr.base_batch_size == gpus * config.train_dataloader.batch_size
        own = "small_scale" in path.parts or "pruned" in path.stem or path.stem.endswith("_custom_small")
        if imagenet and not own or not (slimmable or byol or own):
            factor = 0.2 if slimmable else 0.3 if byol else 0.03 if config.model.type.endswith("MoCo") else 0.05
            rate = factor * config.auto_scale_lr.base_batch_size / 256
            assert config.optim_wrapper.optimizer.lr == pytest.approx(rate)
    data = config.train_dataloader.dataset
    if is_sdr(config):
        assert tuple(data.stage_groups) == tuple(config.model.backbone.stage_groups) == tuple(config.stage_groups)
        assert data.clusters_file == config.clusters_file
    data = data.dataset
    assert data.data_root == config.extract_dataloader.dataset.data_root == config.data_root


@pytest.mark.parametrize(
    ("kind", "size"), [("mocov2", 32), ("mocov2", 64), ("mocov2", 224), ("byol", 128), ("byol", 224)]
)
def test_view_pipelines_give_two_different_views_of_their_size(kind, size, tmp_path):
    from mmpretrain.registry import DATASETS

    register_all_modules(init_default_scope=False)
    config = load_config(CONFIGS[0].parents[1] / f"_base_/datasets/{kind}_views_{size}px.py")
    folder = write_images(tmp_path, 4, size=80)
    with (
        DATASETS.switch_scope_and_registry("mmpretrain") as registry,
        TRANSFORMS.switch_scope_and_registry("mmpretrain"),
    ):
        data = registry.build(
            dict(type="mmssl_dynamic.ImageFolder", data_root=str(folder), pipeline=config.train_pipeline)
        )
        evaluation = registry.build(
            dict(type="mmssl_dynamic.ImageFolder", data_root=str(folder), pipeline=config.eval_pipeline)
        )
    torch.manual_seed(0)
    for index in range(4):  # enough draws for every colour transform
        views = data[index]["inputs"]
        assert [tuple(v.shape) for v in views] == [(3, size, size)] * 2
        assert not torch.equal(*views)
        assert all(v.dtype is torch.uint8 for v in views)
    assert torch.equal(evaluation[0]["inputs"], evaluation[0]["inputs"])
    assert evaluation[0]["inputs"].shape == (3, size, size)


def test_resnet50_with_256_paths_trains_real_steps(repo_root):
    model = build(load_config(repo_root / "configs/sdr/sdr_simsiam_r50_256path.py")).train()
    backbone = model.backbone
    sizes = backbone.num_parameters("full"), backbone.num_parameters("0-0-0-0")
    print(f"super-network {sizes[0]:,} weights, sub-network {sizes[1]:,} weights, {len(backbone.subnets) - 1} paths")
    assert sizes == (58_133_184, 22_740_576)
    assert len(backbone.subnets) == 257
    wrapper = SubnetOptimWrapper(torch.optim.SGD(model.parameters(), lr=0.02, momentum=0.9, weight_decay=1e-4))
    views = [torch.randn(8, 3, 32, 32, generator=torch.Generator().manual_seed(i)) for i in range(2)]
    weight = model.backbone.layer4[0].conv2.weight
    inside, outside = {}, {}
    for name, group in (("full", None), ("0-3-1-2", 2), ("3-0-2-1", 1)):
        with wrapper.optim_context(model):
            losses = model.loss(views, samples(name, 8))
            loss = sum(value for key, value in losses.items() if "loss" in key)
        before = weight.detach().clone()
        wrapper.update_params(loss)
        assert math.isfinite(float(loss))
        moved = (weight.detach() != before).any(dim=3).any(dim=2)  # (C_out, C_in)
        if group is None:
            assert moved.float().mean() > 0.99
            continue
        channels = torch.cat([torch.arange(416), torch.arange(416 + 104 * group, 520 + 104 * group)])
        inside[name] = moved[channels][:, channels].float().mean()
        outside[name] = moved.sum() - moved[channels][:, channels].sum()
    assert all(share > 0.99 for share in inside.values())
    assert all(count == 0 for count in outside.values())


@pytest.mark.parametrize(
    "name",
    [
        "demo/sdr_demo",
        "sdr/sdr_simsiam_r50_16path_custom",
        "sdr/sdr_byol_r50_256path_8xb64-coslr-400e_in1k",
        "sdr_slimmable/sdr-slimmable_simsiam_r18_16path_custom",
    ],
)
def test_the_choices_of_sdr_are_options_of_one_word(repo_root, name):
    options = {"init_from": "base.pth", "full_share": [1, 0.5, 0.5], "phase_lengths": [1, 1, 2]}
    options["directions"] = "alternate"
    config = load_config(repo_root / f"configs/{name}.py", options)
    assert config.model.init_cfg == dict(type="mmssl_dynamic.FromPlain", init_from="base.pth")
    assert config.train_dataloader.batch_sampler.full_share == [1, 0.5, 0.5]
    (hook,) = (hook for hook in config.custom_hooks if hook.type == "mmssl_dynamic.ProgressivePhaseHook")
    assert hook.lengths == [1, 1, 2]
    assert config.model.directions == "alternate"
    assert "mmssl_dynamic.DirectionHook" in [hook.type for hook in config.custom_hooks]
    unset = load_config(repo_root / f"configs/{name}.py")  # what the paper says
    assert (unset.model.init_cfg.init_from, unset.train_dataloader.batch_sampler.full_share) == (None, "uniform")


@pytest.mark.parametrize("name", ["demo/dspnet_demo", "dspnet/dspnet_mobilenet-v3_custom", "dspnet/dspnet_r50_custom"])
def test_the_choices_of_dspnet_are_options_of_one_word(repo_root, name):
    options = {"init_from": "base.pth", "directions": "both_of_largest"}
    config = load_config(repo_root / f"configs/{name}.py", options)
    assert config.model.init_cfg == dict(type="mmssl_dynamic.FromPlain", init_from="base.pth")
    assert config.model.directions == "both_of_largest"
    assert "mmssl_dynamic.DirectionHook" in [hook.type for hook in config.custom_hooks]


@pytest.mark.parametrize("path", [p for p in CONFIGS if "byol" in p.name or "dspnet" in p.name], ids=lambda p: p.stem)
def test_the_students_batch_norm_is_one_value_for_backbone_and_heads(path):
    def kinds(config):
        model = config.model
        heads = [*model.neck.get("projectors", [model.neck])]
        heads += model.head.predictor.get("predictors", [model.head.predictor])
        return model.backbone.norm_cfg.type, {part.norm_cfg.type for part in heads}

    def expected(student_bn):
        return student_bn, {"BN1d" if student_bn == "BN" else student_bn}

    config = load_config(path)
    assert kinds(config) == expected(config.student_bn)
    other = "SyncBN" if config.student_bn == "BN" else "BN"
    assert kinds(load_config(path, dict(student_bn=other))) == expected(other)


@pytest.mark.parametrize("path", FAST, ids=lambda p: p.stem)
def test_a_fast_config_is_the_plain_one_with_one_direction_a_step(path):
    fast, plain = load_config(path).to_dict(), load_config(path.with_name(f"{path.stem[:-5]}.py")).to_dict()
    assert fast["model"].pop("directions") == fast.pop("directions") == "alternate"
    assert fast.pop("channels_last") is True
    assert plain["model"].pop("directions") == plain.pop("directions") == "both"
    assert fast == plain
    assert "mmssl_dynamic.DirectionHook" in [hook["type"] for hook in fast["custom_hooks"]]
    assert load_config(path, {"directions": "both"}).model.directions == "both"
