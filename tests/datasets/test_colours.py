"""Colours are torchvision's on Pillow, up to roundings, and drawn from the same distributions."""

import cv2
import numpy as np
import pytest
from PIL import Image
from torchvision.transforms import ColorJitter as TorchvisionJitter
from torchvision.transforms import functional as V

from mmssl_dynamic.datasets import ColorJitter, RandomGrayscale, colours
from mmssl_dynamic.datasets.sample_request import seeded
from mmssl_dynamic.errors import ConfigError


@pytest.fixture(scope="module")
def photo():
    """Smooth, with noise; BGR."""
    rng = np.random.default_rng(0)
    spots = cv2.resize(rng.uniform(0, 255, (4, 4, 3)), (32, 32), interpolation=cv2.INTER_CUBIC)
    return np.clip(spots + rng.normal(0, 8, spots.shape), 0, 255).astype(np.uint8)


def by_pillow(change, photo, *values):
    return np.asarray(change(Image.fromarray(photo[..., ::-1]), *values))[..., ::-1].astype(float)


@pytest.mark.parametrize(
    ("change", "reference", "factor", "most"),
    [
        (colours.adjust_brightness, V.adjust_brightness, 0.6, 0),
        (colours.adjust_brightness, V.adjust_brightness, 1.4, 0),
        (colours.adjust_contrast, V.adjust_contrast, 0.6, 0),
        (colours.adjust_contrast, V.adjust_contrast, 1.4, 0),
        (colours.adjust_saturation, V.adjust_saturation, 0.6, 1),
        (colours.adjust_saturation, V.adjust_saturation, 1.4, 2),
    ],
)
def test_a_blend_is_pillows(photo, change, reference, factor, most):
    difference = change(photo, factor).astype(float) - by_pillow(reference, photo, factor)
    assert np.abs(difference).max() <= most
    assert abs(difference.mean()) < 0.3


@pytest.mark.parametrize("shift", [-0.1, 0.04, 0.1, 0.5])
def test_hue_is_turned_as_by_pillow_up_to_the_steps_of_eight_bits(photo, shift):
    wanted = by_pillow(V.adjust_hue, photo, shift)
    difference = np.abs(colours.adjust_hue(photo, shift) - wanted)
    assert difference.mean() < 2.5
    assert np.abs(photo - wanted).mean() > 4 * difference.mean()


def test_jitter_has_the_moments_of_torchvisions(photo):
    options, count = dict(brightness=0.4, contrast=0.4, saturation=0.2, hue=0.1), 500
    theirs, ours = TorchvisionJitter(**options), ColorJitter(**options)
    with seeded(0):
        one = np.stack([by_pillow(theirs, photo) for _ in range(count)])
        other = np.stack([ours(dict(img=photo))["img"] for _ in range(count)]).astype(float)
    for moment in (
        lambda views: views.mean((1, 2)),
        lambda views: views.std((1, 2)),
        lambda views: np.abs(views[..., 0] - views[..., 1]).mean((1, 2))[:, None],
    ):
        a, b = moment(one), moment(other)
        error = np.hypot(a.std(0), b.std(0)) / np.sqrt(count)
        assert (np.abs(a.mean(0) - b.mean(0)) < 4 * error + 0.3).all()
        assert a.std(0) == pytest.approx(b.std(0), rel=0.15)


def test_probabilities_are_kept_and_an_image_is_left_as_it_was(photo):
    before = photo.copy()
    jitter, grey = ColorJitter(0.4, 0.4, 0.4, 0.1, prob=0.8), RandomGrayscale(0.2)
    with seeded(0):
        jittered = np.mean([jitter(dict(img=photo))["img"] is not photo for _ in range(1500)])
        greyed = [grey(dict(img=photo))["img"] for _ in range(1500)]
    assert jittered == pytest.approx(0.8, abs=0.03)
    assert np.mean([image is not photo for image in greyed]) == pytest.approx(0.2, abs=0.03)
    changed = next(image for image in greyed if image is not photo)
    assert np.abs(changed - by_pillow(V.to_grayscale, photo, 3)).max() <= 1
    assert np.array_equal(photo, before)


def test_a_range_of_nothing_changes_nothing_and_what_cannot_be_is_refused(photo):
    assert np.array_equal(ColorJitter()(dict(img=photo))["img"], photo)
    with pytest.raises(ConfigError, match="hue from 0 to 0.5"):
        ColorJitter(hue=0.6)
    with pytest.raises(ConfigError, match="RandomGrayscale.prob=2 must lie between 0 and 1"):
        RandomGrayscale(2)
