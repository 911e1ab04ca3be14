"""Augmentation of batches: each step as Pillow's and OpenCV's, draws as torchvision's, whatever the batch."""

import cv2
import numpy as np
import pytest
import torch
from mmengine.dataset import default_collate
from mmpretrain.registry import MODELS, TRANSFORMS
from mmpretrain.structures import DataSample
from mmpretrain.utils import register_all_modules
from PIL import Image, ImageOps
from torchvision.transforms import ColorJitter
from torchvision.transforms import functional as V

from mmssl_dynamic.datasets import DrawAugmentations
from mmssl_dynamic.datasets.sample_request import seeded
from mmssl_dynamic.errors import ConfigError
from mmssl_dynamic.models.augmentation import Draw, augment

VIEW = dict(jitter=0.8, brightness=0.4, contrast=0.4, saturation=0.2, hue=0.1, grey=0.2, blur=0.5, flip=0.5)


def photo(seed=0, side=24):
    """A smooth picture with noise, (side, side, 3) RGB."""
    rng = np.random.default_rng(seed)
    spots = cv2.resize(rng.uniform(0, 255, (4, 4, 3)), (side, side), interpolation=cv2.INTER_CUBIC)
    return np.clip(spots + rng.normal(0, 8, spots.shape), 0, 255).astype(np.uint8)


def augmented(image, **draw):
    batch = torch.from_numpy(image).permute(2, 0, 1)[None]
    (out,) = augment(batch, torch.tensor([Draw(**draw).row()]))
    return out.permute(1, 2, 0).numpy()


@pytest.mark.parametrize(
    ("draw", "reference", "most"),
    [
        (dict(jitter=1, brightness=0.7), lambda i: V.adjust_brightness(i, 0.7), 0),
        (dict(jitter=1, brightness=1.3), lambda i: V.adjust_brightness(i, 1.3), 0),
        (dict(jitter=1, contrast=0.6), lambda i: V.adjust_contrast(i, 0.6), 1),
        (dict(jitter=1, contrast=1.4), lambda i: V.adjust_contrast(i, 1.4), 1),
        (dict(jitter=1, saturation=0.6), lambda i: V.adjust_saturation(i, 0.6), 1),
        (dict(jitter=1, saturation=1.4), lambda i: V.adjust_saturation(i, 1.4), 1),
        (dict(grey=1), lambda i: V.to_grayscale(i, 3), 1),
        (dict(solarize=128), lambda i: ImageOps.solarize(i, 128), 0),
        (dict(flip=1), ImageOps.mirror, 0),
        (dict(jitter=0, brightness=0.5, hue=0.1), lambda i: i, 0),  # jitter is off
    ],
)
def test_each_step_is_pillows(draw, reference, most):
    image = photo()
    wanted = np.asarray(reference(Image.fromarray(image))).astype(float)
    assert np.abs(augmented(image, **draw) - wanted).max() <= most


@pytest.mark.parametrize("shift", [-0.1, 0.04, 0.1, 0.5])
def test_hue_is_turned_as_by_pillow_up_to_its_coarse_hsv(shift):
    image = photo(1)
    wanted = np.asarray(V.adjust_hue(Image.fromarray(image), shift)).astype(float)
    difference = np.abs(augmented(image, jitter=1, hue=shift) - wanted)
    assert difference.mean() < 2.5
    assert np.abs(image.astype(float) - wanted).mean() > 4 * difference.mean()


@pytest.mark.parametrize("sigma", [0.3, 1.0, 2.0])
def test_blur_is_opencvs(sigma):
    image = photo(2)
    wanted = cv2.GaussianBlur(image, (0, 0), sigma, borderType=cv2.BORDER_REFLECT_101).astype(float)
    assert np.abs(augmented(image, sigma=sigma) - wanted).max() <= 1


def test_changes_are_made_in_the_order_that_was_drawn():
    image = photo(3)
    factors = dict(jitter=1, brightness=1.4, contrast=0.6, saturation=1.3)
    for order in ((0, 1, 2, 3), (2, 1, 0, 3), (1, 3, 0, 2)):
        found = augmented(image, **factors, **dict(zip(("first", "second", "third", "fourth"), order)))
        wanted = Image.fromarray(image)
        for kind in order:
            if kind < 3:
                change = (V.adjust_brightness, V.adjust_contrast, V.adjust_saturation)[kind]
                wanted = change(wanted, (1.4, 0.6, 1.3)[kind])
        assert np.abs(found - np.asarray(wanted).astype(float)).max() <= 3


def test_a_view_does_not_depend_on_its_batch():
    images = torch.stack([torch.from_numpy(photo(i)).permute(2, 0, 1) for i in range(6)])
    with seeded(0):
        rows = np.concatenate([DrawAugmentations([VIEW])({})["draws"] for _ in range(6)])
    together = augment(images, torch.from_numpy(rows))
    for index in range(6):
        alone = augment(images[index : index + 1], torch.from_numpy(rows[index : index + 1]))
        assert (together[index] - alone[0]).abs().max() <= 1  # a sum that is rounded another way


def test_draws_have_the_distributions_of_torchvision():
    count = 4000
    with seeded(0):
        rows = np.concatenate([DrawAugmentations([VIEW])({})["draws"] for _ in range(count)])
        jitter = ColorJitter(0.4, 0.4, 0.2, 0.1)
        theirs = [
            ColorJitter.get_params(jitter.brightness, jitter.contrast, jitter.saturation, jitter.hue)
            for _ in range(count)
        ]
    names = list(Draw.__dataclass_fields__)
    column = {name: rows[:, i] for i, name in enumerate(names)}
    for index, name in enumerate(("brightness", "contrast", "saturation", "hue"), start=1):
        mine, reference = np.sort(column[name]), np.sort([float(params[index]) for params in theirs])
        assert np.abs(mine - reference).max() < 0.04 * np.ptp(reference), name  # quantile by quantile
    first = np.bincount([int(params[0][0]) for params in theirs], minlength=4) / count
    assert np.abs(np.bincount(column["first"].astype(int), minlength=4) / count - first).max() < 0.04
    assert all(sorted(row) == [0, 1, 2, 3] for row in rows[:, 1:5].tolist())
    for name, share in (("jitter", 0.8), ("grey", 0.2), ("flip", 0.5)):
        assert column[name].mean() == pytest.approx(share, abs=0.03)
    blurred = column["sigma"][column["sigma"] > 0]
    assert len(blurred) / count == pytest.approx(0.5, abs=0.03)
    assert np.quantile(blurred, [0, 0.5, 1]) == pytest.approx([0.1, 1.05, 2.0], abs=0.05)
    assert set(column["solarize"]) == {256.0}


def test_pixels_have_the_statistics_of_the_pipeline_on_the_cpu():
    """Moments of many views of one picture, by both ways, agree within what chance leaves."""
    register_all_modules(init_default_scope=False)
    steps = [
        dict(
            type="RandomApply",
            transforms=[dict(type="torchvision/ColorJitter", brightness=0.4, contrast=0.4, saturation=0.2, hue=0.1)],
            prob=0.8,
        ),
        dict(type="torchvision/RandomGrayscale", p=0.2),
        dict(type="PILToNumpy"),
        dict(type="mmssl_dynamic.GaussianBlur", sigma=(0.1, 2.0), prob=0.5),
        dict(type="RandomFlip", prob=0.5),
    ]
    with TRANSFORMS.switch_scope_and_registry("mmpretrain") as registry:
        transforms = [registry.build(step) for step in steps]
    image, count = photo(4, 16), 600
    theirs = []
    with seeded(0):
        for _ in range(count):
            results = dict(img=Image.fromarray(image))
            for transform in transforms:
                results = transform(results)
            theirs.append(results["img"])
        rows = np.concatenate([DrawAugmentations([VIEW])({})["draws"] for _ in range(count)])
    batch = torch.from_numpy(image).permute(2, 0, 1).expand(count, 3, 16, 16)
    mine = augment(batch, torch.from_numpy(rows)).permute(0, 2, 3, 1).numpy()
    theirs = np.stack(theirs).astype(float)

    def moments(views):
        return {
            "mean": views.mean((1, 2)),
            "contrast": views.std((1, 2)),
            "colour": np.abs(views[..., 0] - views[..., 1]).mean((1, 2))[:, None],
            "edges": np.abs(np.diff(views, axis=2)).mean((1, 2)),
        }

    for (name, one), other in zip(moments(mine).items(), moments(theirs).values()):
        error = np.hypot(one.std(0), other.std(0)) / np.sqrt(count)
        assert (np.abs(one.mean(0) - other.mean(0)) < 4 * error + 0.3).all(), name
        assert one.std(0) == pytest.approx(other.std(0), rel=0.15), name


def test_the_preprocessor_augments_in_training_alone_and_normalises_both_ways():
    options = dict(mean=[1.0, 2.0, 3.0], std=[4.0, 5.0, 6.0], to_rgb=True)
    plain = MODELS.build(dict(type="SelfSupDataPreprocessor", **options))
    augmenting = MODELS.build(dict(type="mmssl_dynamic.AugmentingPreprocessor", **options))
    views = [torch.from_numpy(np.stack([photo(i), photo(i + 1)])).permute(0, 3, 1, 2) for i in (0, 5)]
    rows = np.array([[Draw(flip=1).row(), Draw(grey=1).row()], [Draw().row(), Draw(flip=1).row()]], np.float32)
    samples = [DataSample(), DataSample()]
    for sample, draws in zip(samples, rows):
        sample.set_field(draws, "draws", field_type="metainfo")
    data = dict(inputs=views, data_samples=samples)
    evaluated, wanted = augmenting(data, False)["inputs"], plain(data, False)["inputs"]
    assert all(torch.equal(a, b) for a, b in zip(evaluated, wanted))
    trained = augmenting(data, True)["inputs"]
    torch.testing.assert_close(trained[0][0], wanted[0][0].flip(2))
    torch.testing.assert_close(trained[0][1], wanted[0][1])
    torch.testing.assert_close(trained[1][1], wanted[1][1].flip(2))
    red = trained[1][0] * torch.tensor([4.0, 5.0, 6.0]).view(3, 1, 1) + torch.tensor([1.0, 2.0, 3.0]).view(3, 1, 1)
    torch.testing.assert_close(red[0], red[2])  # it has lost its colours
    with pytest.raises(ConfigError, match="draws for 2 views and the loader gives 1"):
        augmenting(dict(inputs=views[:1], data_samples=samples), True)


def test_draws_travel_with_the_sample_from_the_pipeline_to_the_device():
    register_all_modules(init_default_scope=False)
    steps = [
        dict(type="mmssl_dynamic.MultiView", num_views=2, transforms=[[dict(type="CenterCrop", crop_size=16)]]),
        dict(type="mmssl_dynamic.DrawAugmentations", views=[dict(jitter=0, grey=0, blur=0, flip=1), dict(VIEW)]),
        dict(type="PackInputs", meta_keys=("draws",)),
    ]
    with TRANSFORMS.switch_scope_and_registry("mmpretrain") as registry:
        transforms = [registry.build(step) for step in steps]
    samples = []
    for seed in range(3):
        with seeded(seed):
            sample = dict(img=photo(seed, 20))
            for transform in transforms:
                sample = transform(sample)
            samples.append(sample)
    batch = default_collate(samples)
    model_side = MODELS.build(dict(type="mmssl_dynamic.AugmentingPreprocessor"))
    first, second = model_side(batch, True)["inputs"]
    plain = batch["inputs"][0].float()
    torch.testing.assert_close(first, plain.flip(3))
    assert not torch.equal(second, batch["inputs"][1].float())


@pytest.mark.parametrize(
    ("view", "message"),
    [
        (dict(gray=0.2), "has no option gray; use jitter"),
        (dict(blur=1.5), "blur=1.5 must be a probability"),
        (dict(sigma=(2.0, 0.1)), "needs sigma as two ascending positive numbers"),
        (dict(hue=0.7), "hue up to 0.5"),
    ],
)
def test_draws_that_cannot_be_are_refused(view, message):
    with pytest.raises(ConfigError, match=message):
        DrawAugmentations([view])
