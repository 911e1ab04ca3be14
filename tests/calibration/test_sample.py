"""Batches that BatchNorm statistics come from hold all kinds of images, however the data set lists them."""

import logging
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from mmengine.config import Config
from PIL import Image

from mmssl_dynamic.calibration import calibrate_bank, calibrate_path
from mmssl_dynamic.calibration.sample import draw_images, even_batch_size
from mmssl_dynamic.datasets.batches import ImageBatches, build_dataset
from mmssl_dynamic.datasets.normalisation import Normalisation
from mmssl_dynamic.demo.photos import load_photos
from mmssl_dynamic.engine import CalibrateBNHook
from mmssl_dynamic.features.pooling import pooled_features
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
    bank = calibrate_bank(net, dataset, None, NORMALISATION, **options)
    for kind in ("path", "prefix"):
        assert astray(net, dataset, bank.statistics(NAME, kind), reference) < 0.12


def test_the_hook_calibrates_on_images_listed_by_class_as_on_one_large_batch(net, dataset, folder, reference):
    model = torch.nn.Module()
    model.backbone = net
    loader = dict(dataset=extract_config(folder))
    config = Config(dict(model=dict(data_preprocessor=NORMALISATION.record()), extract_dataloader=loader))
    runner = SimpleNamespace(model=model, cfg=config, seed=0, logger=logging.getLogger("calibration"))
    CalibrateBNHook(images=len(dataset), batch_size=BATCH).calibrate(runner)
    assert astray(net, dataset, net.bn_statistics(NAME), reference) < 0.12
