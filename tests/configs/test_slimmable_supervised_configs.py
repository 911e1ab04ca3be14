import math
from pathlib import Path

import pytest
import torch
from mmengine.optim import OptimWrapper
from mmpretrain.registry import DATASETS, METRICS, MODELS, TRANSFORMS
from mmpretrain.structures import DataSample
from mmpretrain.utils import register_all_modules

from mmssl_dynamic.engine.launch import prepare_config
from mmssl_dynamic.errors import ArtifactError
from mmssl_dynamic.loading import load_config
from tests.helpers import write_images

CONFIGS = sorted((Path(__file__).parents[2] / "configs/dspnet").glob("slimmable-supervised*.py"))
WIDTHS = ("w0.5", "w0.75", "w1.0", "w1.25", "w1.5")


def test_there_are_configs_of_every_initialisation():
    kinds = {p.stem.removeprefix("slimmable-supervised_mobilenet-v3").split("_")[0] for p in CONFIGS}
    assert kinds == {"", "-dspnet", "-byol"}


@pytest.mark.parametrize("path", CONFIGS, ids=lambda p: p.stem)
def test_every_config_trains_a_step_of_five_networks(path):
    register_all_modules(init_default_scope=False)
    config = prepare_config(path)
    torch.manual_seed(0)
    model = MODELS.build(config.model).train()
    assert model.backbone.subnets == WIDTHS
    config_of_backbone = config.model.backbone
    if "init_cfg" in config_of_backbone:
        assert (CONFIGS[0].parent / f"{Path(config_of_backbone.init_cfg.checkpoint).parent.name}.py").is_file()
        with pytest.raises(ArtifactError, match="does not exist"):
            model.init_weights()
    assert model.head.fc.out_features == config.num_classes
    optimiser = OptimWrapper(torch.optim.SGD(model.parameters(), lr=0.1))
    data = dict(
        inputs=torch.randint(0, 255, (4, 3, 64, 64)).float(),
        data_samples=[DataSample().set_gt_label(i) for i in range(4)],
    )
    assert math.isfinite(model.train_step(data, optimiser)["loss"])
    METRICS.build(config.val_evaluator)


@pytest.mark.parametrize("path", CONFIGS, ids=lambda p: p.stem)
def test_every_config_agrees_with_itself(path):
    config = load_config(path)
    warmup, main = config.param_scheduler
    assert warmup.end == main.begin == config.warmup_epochs
    assert main.get("end", config.max_epochs) == config.max_epochs == config.train_cfg.max_epochs
    processes = 1 if "tinyin" in path.name else 4
    assert config.auto_scale_lr.base_batch_size == processes * config.train_dataloader.batch_size
    trained = config.train_dataloader.dataset.dataset
    assert trained.data_root == config.extract_dataloader.dataset.data_root == config.data_root
    assert config.val_dataloader == config.test_dataloader
    assert config.model.data_preprocessor.num_classes == config.model.head.num_classes == config.num_classes
    names = [hook.type for hook in config.custom_hooks]
    assert names == [f"mmssl_dynamic.{kind}" for kind in ("SandwichHook", "CalibrateBNHook", "BNBankHook")]


@pytest.mark.parametrize("size", [64, 224])
def test_pipelines_give_images_of_their_size(size, tmp_path):
    register_all_modules(init_default_scope=False)
    config = load_config(CONFIGS[0].parents[1] / f"_base_/datasets/slimmable_supervised_{size}px.py")
    folder = write_images(tmp_path, 4, size=80)

    def build(pipeline):
        with (
            DATASETS.switch_scope_and_registry("mmpretrain") as registry,
            TRANSFORMS.switch_scope_and_registry("mmpretrain"),
        ):
            return registry.build(dict(type="mmssl_dynamic.ImageFolder", data_root=str(folder), pipeline=pipeline))

    training, evaluation = build(config.train_pipeline), build(config.eval_pipeline)
    for _ in range(20):  # enough draws for every augmentation
        for index in range(4):
            sample = training[index]
            assert sample["inputs"].shape == (3, size, size)
            assert sample["inputs"].dtype is torch.uint8
            assert int(sample["data_samples"].gt_label) in range(4)
    assert not torch.equal(training[0]["inputs"], training[0]["inputs"])
    assert torch.equal(evaluation[0]["inputs"], evaluation[0]["inputs"])
    assert evaluation[0]["inputs"].shape == (3, size, size)


# What timm calls our operations: mmpretrain's type and, where there are two of it, its direction.
TIMM_NAMES = {
    "ColorTransform": "Color",
    "Shear horizontal": "ShearX",
    "Shear vertical": "ShearY",
    "Translate horizontal": "TranslateXRel",
    "Translate vertical": "TranslateYRel",
}


def test_the_recipe_on_imagenet_is_timms():
    """timm's training of mobilenetv3_large_100: --aa rand-m9-mstd0.5 --reprob 0.2 --lr .064 on 2 x 512 images."""
    auto_augment = pytest.importorskip("timm.data.auto_augment")
    config = load_config(next(path for path in CONFIGS if "-byol" in path.name))
    assert config.optim_wrapper.optimizer.lr / config.auto_scale_lr.base_batch_size == 0.064 / 1024
    assert config.model.head.loss == dict(type="LabelSmoothLoss", label_smooth_val=0.1, mode="original")
    register_all_modules(init_default_scope=False)
    (step,) = (step for step in config.train_pipeline if step.type == "RandAugment")
    theirs = {op.name: op for op in auto_augment.rand_augment_transform("rand-m9-mstd0.5", {}).ops}
    with TRANSFORMS.switch_scope_and_registry("mmpretrain") as registry:
        ours = registry.build(step)
    assert ours.num_policies == 2
    names = []
    for operation in ours:
        kind = type(operation).__name__
        name = f"{kind} {operation.direction}" if hasattr(operation, "direction") else kind
        names.append(TIMM_NAMES.get(name, name))
        their = theirs[names[-1]]
        assert operation.prob == their.prob == 0.5
        if their.level_fn is None:
            continue
        assert (
            (operation.magnitude_level, operation.magnitude_std) == (their.magnitude, their.magnitude_std) == (9, 0.5)
        )
        for level in (0.0, 3.3, 8.7, 9.9, 10.0):
            operation.magnitude_level, operation.magnitude_std = level, 0
            magnitude = operation.random_magnitude()
            if kind == "Posterize":
                magnitude = math.ceil(magnitude)
            elif operation.magnitude_range[0] == -0.9:
                magnitude = 1 + magnitude
                assert operation.random_negative_prob == 0
            (expected,) = their.level_fn(level, their.hparams)
            whole = kind.startswith("Solarize")  # timm rounds its grey values
            assert magnitude == pytest.approx(abs(expected), abs=1 if whole else 1e-9), (kind, level)
    assert sorted(names) == sorted(theirs)
