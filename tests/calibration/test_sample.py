"""Batches that BatchNorm statistics come from hold all kinds of images, however the data set lists them."""

import logging
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from mmengine.config import Config
from PIL import Image

from mmssl_dynamic.calibration import BNBank, CalibrationImages, calibrate_bank, calibrate_path
from mmssl_dynamic.calibration.sample import draw_images, even_batch_size, training_views
from mmssl_dynamic.datasets.batches import ImageBatches, build_dataset
from mmssl_dynamic.datasets.normalisation import Normalisation
from mmssl_dynamic.demo.photos import load_photos
from mmssl_dynamic.engine import BNBankHook, CalibrateBNHook
from mmssl_dynamic.errors import ConfigError
from mmssl_dynamic.features.pooling import pooled_features
from mmssl_dynamic.loading import load_config
from mmssl_dynamic.models import SDRResNet

NORMALISATION = Normalisation((127.0,) * 3, (50.0,) * 3, to_rgb=True)


def test_batches_are_of_nearly_equal_length():
    assert even_batch_size(2000, 200) == 200
    assert even_batch_size(2001, 200) == 182
    assert even_batch_size(3, 200) == 3


def test_a_sample_is_in_random_order_and_a_function_of_seed_and_stream():
    candidates = np.arange(100, 200)
    drawn = draw_images(candidates, 50, 0, "full")
    assert len(set(drawn)) == 50
    assert set(drawn) < set(candidates.tolist())
    assert drawn != sorted(drawn)
    assert np.corrcoef(drawn, np.arange(50))[0, 1] < 0.4
    assert drawn == draw_images(candidates, 50, 0, "full")
    assert drawn != draw_images(candidates, 50, 1, "full")
    assert drawn != draw_images(candidates, 50, 0, "path/0")
    assert sorted(draw_images(candidates, 1000, 0, "full")) == candidates.tolist()


CROPS = 40
BATCH = 2 * CROPS  # two photographs


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Crops of photographs in one folder each: as a data set lists them, a batch holds one or two photographs."""
    root = tmp_path_factory.mktemp("photographs")
    rng = np.random.default_rng(0)
    for name, photo in load_photos().items():
        (root / name).mkdir()
        for i in range(CROPS):
            top, left = (rng.integers(0, side - 32) for side in photo.shape[:2])
            Image.fromarray(photo[top : top + 32, left : left + 32]).save(root / name / f"{i:02d}.png")
    return root


@pytest.fixture(scope="module")
def dataset(folder):
    return build_dataset(extract_config(folder))


def extract_config(folder):
    pipeline = [dict(type="mmssl_dynamic.LoadImage"), dict(type="PackInputs")]
    return dict(type="mmssl_dynamic.ImageFolder", data_root=str(folder), pipeline=pipeline)


@pytest.fixture(scope="module")
def net():
    torch.manual_seed(0)
    return SDRResNet(18, stage_channels=(8, 16, 24, 32), stage_groups=(1, 1, 2, 2), stem_channels=8)


NAME = "0-0-1-0"


@pytest.fixture(scope="module")
def reference(net, dataset):
    """Statistics of one batch of all images."""
    (everything,) = ImageBatches(dataset, NORMALISATION, len(dataset))
    return calibrate_path(net, NAME, [everything.images])


def astray(net, dataset, found, reference):
    """What statistics do to features, relative to the features' spread."""
    features = []
    for statistics in (found, reference):
        net.set_bn_statistics(NAME, statistics)
        features.append(pooled_features(net, ImageBatches(dataset, NORMALISATION, 200), NAME)[0])
    one, other = features
    return float((one - other).norm() / (other - other.mean(0)).norm())


def test_the_order_of_a_folder_spoils_statistics(net, dataset, reference):
    """What the tests below protect from."""
    listed = calibrate_path(net, NAME, ImageBatches(dataset, NORMALISATION, BATCH))
    assert astray(net, dataset, listed, reference) > 0.4


def test_a_bank_of_images_listed_by_class_has_the_statistics_of_one_large_batch(net, dataset, reference):
    options = dict(images=len(dataset), batch_size=BATCH, progress=False)
    bank = calibrate_bank(net, CalibrationImages((dataset,), NORMALISATION), None, **options)
    for kind in ("path", "prefix"):
        assert astray(net, dataset, bank.statistics(NAME, kind), reference) < 0.12


def test_the_hook_calibrates_on_images_listed_by_class_as_on_one_large_batch(net, dataset, folder, reference):
    model = torch.nn.Module()
    model.backbone = net
    loader = dict(dataset=extract_config(folder))
    config = Config(dict(model=dict(data_preprocessor=NORMALISATION.record()), extract_dataloader=loader))
    runner = SimpleNamespace(
        model=model, cfg=config, seed=0, _randomness_cfg={}, logger=logging.getLogger("calibration")
    )
    CalibrateBNHook(images=len(dataset), batch_size=BATCH).calibrate(runner)
    assert astray(net, dataset, net.bn_statistics(NAME), reference) < 0.12


TRAINING = """
steps = [dict(type='mmssl_dynamic.LoadImage')]
view_1 = [dict(type='RandomFlip', prob=1.0)]
view_2 = [dict(type='RandomResizedCrop', scale=32, crop_ratio_range=(0.2, 0.6))]
images = dict(type='mmssl_dynamic.ImageFolder', data_root='{folder}')
pack = [dict(type='PackInputs')]
extract_dataloader = dict(dataset=dict(images, pipeline=steps + pack))
model = dict(data_preprocessor=dict(mean=[127.0], std=[50.0], to_rgb=True))
train_dataloader = dict(dataset=dict(type='mmssl_dynamic.SeededDataset', dataset=dict(images, pipeline={pipeline})))
"""


def training_config(folder, tmp_path, pipeline):
    (tmp_path / "config.py").write_text(TRAINING.replace("{folder}", str(folder)).replace("{pipeline}", pipeline))
    return load_config(tmp_path / "config.py")


def pixels(data, indices):
    return [torch.cat([batch.images for batch in part]) for part in data.batches(indices, 4)]


def test_training_transforms_give_each_kind_of_view_batches_of_its_own(folder, tmp_path, dataset):
    both = "steps + [dict(type='MultiView', num_views=[1, 1], transforms=[view_1, view_2])] + pack"
    config = training_config(folder, tmp_path, both)
    indices = [700, 3, 41, 250, 99, 7]
    first, second = pixels(CalibrationImages.of(config, "train"), indices)
    (plain,) = pixels(CalibrationImages.of(config), indices)
    torch.testing.assert_close(first, plain[::2].flip(-1))
    assert second.shape == plain[1::2].shape
    assert not torch.allclose(second, plain[1::2])
    # The crops are random, and the same ones when it is calibrated again.
    assert torch.equal(pixels(CalibrationImages.of(config, "train"), indices)[1], second)
    assert len(pixels(CalibrationImages.of(config, "train"), indices[:3])) == 1  # too few for two variances


def test_equal_views_are_one_and_supervised_transforms_are_taken_as_they_are(folder, tmp_path):
    for pipeline in (
        "steps + [dict(type='MultiView', num_views=2, transforms=[view_2])] + pack",
        "steps + view_2 + pack",
    ):
        config = training_config(folder, tmp_path, pipeline)
        (steps,) = training_views(config)
        assert [step.type for step in steps] == ["mmssl_dynamic.LoadImage", "RandomResizedCrop", "PackInputs"]
        (found,) = pixels(CalibrationImages.of(config, "train"), [5, 2, 9])
        assert found.shape == (3, 3, 32, 32)


def test_what_cannot_be_calibrated_with_is_refused_before_a_training(folder, tmp_path):
    config = training_config(folder, tmp_path, "steps + pack")
    for build in (lambda kind: CalibrationImages.of(config, kind), lambda kind: BNBankHook(transforms=kind)):
        with pytest.raises(ConfigError, match="transforms='test' must be one of eval, train"):
            build("test")
    with pytest.raises(ConfigError, match="transforms='test' must be one of eval, train"):
        CalibrateBNHook(transforms="test")
    del config.train_dataloader.dataset["dataset"]["pipeline"]
    run = SimpleNamespace(cfg=config, train_dataloader=SimpleNamespace(dataset=SimpleNamespace(clusters=None)))
    with pytest.raises(ConfigError, match="names no pipeline in train_dataloader"):
        BNBankHook(transforms="train").before_train(run)
    with pytest.raises(ConfigError, match="the sub-networks have none; use 'all'"):
        BNBankHook(source="mix").before_train(run)


def test_a_hook_calibrates_with_the_transforms_that_it_is_told(net, folder, tmp_path):
    pipeline = "steps + [dict(type='MultiView', num_views=2, transforms=[view_2])] + pack"
    config = training_config(folder, tmp_path, pipeline)
    model = torch.nn.Module()
    model.backbone = net
    run = SimpleNamespace(
        model=model, cfg=config, seed=0, _randomness_cfg={}, logger=logging.getLogger("calibration"),
        work_dir=str(tmp_path),
        train_dataloader=SimpleNamespace(dataset=SimpleNamespace(clusters=None)),
    )  # fmt: skip
    found = {}
    for transforms in ("eval", "train"):
        CalibrateBNHook(images=40, batch_size=20, transforms=transforms).calibrate(run)
        validation = net.bn_statistics("full")
        hook = BNBankHook(images=40, batch_size=20, bn=("path",), transforms=transforms)
        hook.before_train(run)
        hook.after_train(run)
        bank = BNBank.load(tmp_path / "bn_bank.safetensors")
        assert (bank.meta["transforms"], bank.meta["source"]) == (transforms, "all")
        torch.testing.assert_close(bank.path["full"]["bn1"], validation["bn1"])
        found[transforms] = bank.path["full"]["bn1"][1]
    assert not torch.allclose(found["train"], found["eval"], rtol=0.02)
