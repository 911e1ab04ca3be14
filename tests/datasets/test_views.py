"""Views by this package's transforms are mmpretrain's and torchvision's, to the bit."""

import numpy as np
import pytest
from mmpretrain.registry import TRANSFORMS
from mmpretrain.utils import register_all_modules

from mmssl_dynamic.datasets.sample_request import seeded
from mmssl_dynamic.errors import ConfigError

AFTER = [
    dict(type="mmssl_dynamic.ColorJitter", brightness=0.4, contrast=0.4, saturation=0.4, hue=0.1, prob=0.8),
    dict(type="mmssl_dynamic.GaussianBlur", sigma=(0.1, 2.0), prob=0.5),
    dict(type="RandomFlip", prob=0.5),
]


def built(*steps):
    register_all_modules(init_default_scope=False)
    with TRANSFORMS.switch_scope_and_registry("mmpretrain") as registry:
        transforms = [registry.build(step) for step in steps]

    def run(results):
        for transform in transforms:
            results = transform(results)
        return results

    return run


@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic"])
@pytest.mark.parametrize("shape", [(40, 60), (20, 200), (32, 32), (100, 30)])
def test_views_are_those_of_mmpretrain_and_torchvision_to_the_bit(shape, interpolation):
    options = dict(size=32, scale=(0.2, 1.0), interpolation=interpolation)
    theirs = [dict(type="NumpyToPIL", to_rgb=True), dict(type="torchvision/RandomResizedCrop", **options)]
    theirs += [dict(type="PILToNumpy", to_bgr=True), *AFTER]
    ours = [dict(type="mmssl_dynamic.RandomResizedCrop", **options), *AFTER]
    one = built(dict(type="MultiView", num_views=[1, 2], transforms=[theirs, theirs[:3]]))
    other = built(dict(type="mmssl_dynamic.MultiView", num_views=[1, 2], transforms=[ours, ours[:1]]))
    image = np.random.default_rng(0).integers(0, 256, (*shape, 3), dtype=np.uint8)
    before = image.copy()
    for seed in range(6):
        with seeded(seed):
            wanted = one(dict(img=image.copy()))["img"]
        with seeded(seed):
            found = other(dict(img=image, img_path="x"))
        assert found["img_path"] == "x"
        assert len(found["img"]) == 3
        assert all(np.array_equal(a, b) for a, b in zip(found["img"], wanted))
        assert all(view.flags.writeable for view in found["img"])  # as tensors want it
    assert np.array_equal(image, before)
    assert image.flags.writeable  # of whoever else has it


def test_a_view_that_would_change_the_image_of_the_next_one_fails():
    class Paints:
        def __call__(self, results):
            results["img"][:] = 0
            return results

    with pytest.raises(ValueError, match="read-only"):
        built(dict(type="mmssl_dynamic.MultiView", num_views=2, transforms=[[Paints()]]))(
            dict(img=np.ones((4, 4, 3), np.uint8))
        )


def test_options_that_cannot_be_are_refused():
    for options, message in (
        (dict(size=0), "size=0 must be a number of pixels"),
        (dict(size=8, scale=(0.5, 0.2)), "scale=.* must be two positive numbers"),
        (dict(size=8, interpolation="area"), "interpolation='area' must be one of bilinear, bicubic"),
    ):
        with pytest.raises(ConfigError, match=message):
            built(dict(type="mmssl_dynamic.RandomResizedCrop", **options))
    with pytest.raises(ConfigError, match="1 pipelines and num_views=.*, not one for each"):
        built(dict(type="mmssl_dynamic.MultiView", num_views=[1, 1], transforms=[[]]))
