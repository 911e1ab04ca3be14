"""The blur of the views is a Gaussian of the drawn width."""

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from mmssl_dynamic.datasets.gaussian_blur import GaussianBlur
from mmssl_dynamic.datasets.sample_request import seeded
from mmssl_dynamic.errors import ConfigError


def image(size=48):
    return np.random.default_rng(0).integers(0, 256, (size, size + 8, 3), dtype=np.uint8)


@pytest.mark.parametrize("sigma", [0.5, 1.0, 2.0])
def test_equals_scipys_gaussian(sigma):
    blurred = GaussianBlur((sigma, sigma), prob=1.0).transform(dict(img=image()))["img"]
    expected = gaussian_filter(image().astype(float), (sigma, sigma, 0), mode="mirror")
    assert blurred.dtype == np.uint8
    assert np.abs(blurred - expected).max() < 2.5  # of 255: rounding, and tails beyond three deviations
    assert np.abs(blurred - expected).mean() < 0.7


def test_a_tiny_deviation_leaves_the_image():
    assert np.array_equal(GaussianBlur((0.1, 0.1), 1.0).transform(dict(img=image()))["img"], image())


def test_blurs_with_the_given_probability_and_draws_from_the_whole_range():
    blur = GaussianBlur((0.1, 2.0), prob=0.5)
    with seeded(0):
        variances = np.array([blur.transform(dict(img=image(16)))["img"].var() for _ in range(400)])
    original = image(16).var()
    assert 0.4 < (variances < original - 1).mean() < 0.6  # deviations below 0.25 or so change nothing
    assert variances.min() < 0.1 * original
    with seeded(1):
        first = blur.transform(dict(img=image()))["img"]
    with seeded(1):
        assert np.array_equal(blur.transform(dict(img=image()))["img"], first)


@pytest.mark.parametrize("options", [dict(sigma=(2.0, 0.1)), dict(sigma=(0.0, 1.0)), dict(prob=1.5)])
def test_refuses_ranges_that_make_no_sense(options):
    with pytest.raises(ConfigError, match="GaussianBlur"):
        GaussianBlur(**options)
