"""Features on disk: right, read once for all networks, resumed, and never taken for those of something else."""

import os
from pathlib import Path

import numpy as np
import pytest
import torch

from mmssl_dynamic.datasets.batches import ImageBatches
from mmssl_dynamic.datasets.listed_images import ListedImages
from mmssl_dynamic.datasets.normalisation import Normalisation
from mmssl_dynamic.errors import ArtifactError
from mmssl_dynamic.features.feature_cache import FeatureCache
from mmssl_dynamic.features.networks import single_network
from mmssl_dynamic.features.pooling import pooled_features
from mmssl_dynamic.models import SlimmableResNet
from tests.helpers import randomise

OPTIONS = dict(channels=[[8] * 4, [16] * 4], blocks=[[1, 1, 1, 1]], zero_init_residual=False)
SMALL, LARGE = "w0.033333-d1111", "w0.066667-d1111"
NORMALISATION = Normalisation((120.0,) * 3, (60.0,) * 3, to_rgb=True)
STEPS = [dict(type="CenterCrop", crop_size=16), dict(type="PackInputs")]
COUNT = 11


class Counted(ListedImages):
    """Counts reads and fails at one image."""

    def __init__(self, source, steps, fails_at=None):
        super().__init__(*source, pipeline=steps)
        self.fails_at, self.read = fails_at, []

    def __getitem__(self, index):
        if index == self.fails_at:
            raise RuntimeError("the power failed")
        self.read.append(index)
        return super().__getitem__(index)


@pytest.fixture(scope="module")
def net():
    torch.manual_seed(0)
    return randomise(SlimmableResNet(**OPTIONS))


@pytest.fixture(scope="module")
def source():
    rng = np.random.default_rng(0)
    return rng.integers(0, 256, (COUNT, 16, 16, 3), dtype=np.uint8), np.zeros(COUNT, int)


def networks(net, names=(SMALL, LARGE)):
    return [single_network(net, name, OPTIONS) for name in names]


def cache(folder, weights="w", **options):
    return FeatureCache(folder, weights, NORMALISATION, 4, flush_seconds=0.0, **options)


def test_features_are_those_of_each_network_and_every_image_is_read_once(net, source, tmp_path):
    images = Counted(source, STEPS)
    found = cache(tmp_path).compute(networks(net), images, "set train")
    assert images.read == list(range(COUNT))
    for network in networks(net):
        expected, _ = pooled_features(
            network.backbone, ImageBatches(ListedImages(*source, pipeline=STEPS), NORMALISATION, 5)
        )
        np.testing.assert_allclose(found[network.name].load(), expected.numpy(), rtol=1e-5, atol=1e-6)
    again = Counted(source, STEPS)
    kept = cache(tmp_path).compute(networks(net), again, "set train")
    assert again.read == []
    assert all(np.array_equal(kept[name].load(), found[name].load()) for name in found)


@pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="tells open files by Linux's /proc")
def test_features_that_wait_hold_no_file_open(net, source, tmp_path):
    found = cache(tmp_path).compute(networks(net), ListedImages(*source, pipeline=STEPS), "set")
    files = {str(rows.path) for rows in found.values()}
    assert all(Path(file).is_file() for file in files)
    links = [Path("/proc/self/fd") / name for name in os.listdir("/proc/self/fd")]
    assert not files & {os.readlink(link) for link in links if link.is_symlink()}
    assert {rows.shape for rows in found.values()} == {rows.load().shape for rows in found.values()}


def test_a_pass_that_was_stopped_goes_on_and_networks_that_are_ahead_wait(net, source, tmp_path):
    whole = cache(tmp_path / "whole").compute(networks(net), Counted(source, STEPS), "set")
    stopped = cache(tmp_path / "stopped")
    with pytest.raises(RuntimeError, match="power"):
        stopped.compute(networks(net, [SMALL]), Counted(source, STEPS, fails_at=9), "set")
    with pytest.raises(RuntimeError, match="power"):
        stopped.compute(networks(net, [LARGE]), Counted(source, STEPS, fails_at=5), "set")
    images = Counted(source, STEPS)
    found = cache(tmp_path / "stopped").compute(networks(net), images, "set")
    assert images.read == list(range(4, COUNT))  # batches of four
    for name, rows in whole.items():
        np.testing.assert_allclose(found[name].load(), rows.load(), rtol=1e-5, atol=1e-6)


def test_other_weights_statistics_images_or_pipelines_are_other_features(net, source, tmp_path):
    (network,) = networks(net, [SMALL])
    cache(tmp_path).compute([network], ListedImages(*source, pipeline=STEPS), "set")
    others = []
    mean, var = net.bn_statistics(SMALL)["bn1"]
    torch.manual_seed(0)
    moved = randomise(SlimmableResNet(**OPTIONS))
    moved.set_bn_statistics(SMALL, {**net.bn_statistics(SMALL), "bn1": (mean + 1, var)})
    others.append((cache(tmp_path), *networks(moved, [SMALL]), source, STEPS))
    others.append((cache(tmp_path, "v"), network, source, STEPS))
    others.append((cache(tmp_path), network, (source[0][::-1], source[1]), STEPS))
    others.append((cache(tmp_path), network, source, [dict(type="CenterCrop", crop_size=12), STEPS[1]]))
    for files, other, data, steps in others:
        images = Counted(data, steps)
        files.compute([other], images, "set")
        assert len(images.read) == COUNT
    assert len(list(tmp_path.glob("*.npy"))) == 5


def test_a_damaged_file_is_computed_anew_and_a_discarded_one_is_gone(net, source, tmp_path):
    (network,) = networks(net, [SMALL])
    images = ListedImages(*source, pipeline=STEPS)
    expected = np.array(cache(tmp_path).compute([network], images, "set")[SMALL].load())
    (file,) = tmp_path.glob("*.npy")
    file.write_bytes(file.read_bytes()[:100])
    assert np.array_equal(cache(tmp_path).compute([network], images, "set")[SMALL].load(), expected)
    cache(tmp_path).discard(network, images, "set")
    assert list(tmp_path.iterdir()) == []


def test_features_with_nan_are_refused(net, source, tmp_path):
    (network,) = networks(net, [SMALL])
    next(network.backbone.parameters()).data[0] = torch.nan
    with pytest.raises(ArtifactError, match=f"network '{SMALL}' gives features with NaN"):
        cache(tmp_path).compute([network], ListedImages(*source, pipeline=STEPS), "set")
