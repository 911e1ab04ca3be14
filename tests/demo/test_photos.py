"""Demo data: test regions stay untouched, brightness is no cue, files are the same for a seed and never half there."""

from __future__ import annotations

import importlib.util
import json
import math
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mmssl_dynamic.datasets import ImageFolder
from mmssl_dynamic.demo import photos as module
from mmssl_dynamic.demo import windows
from mmssl_dynamic.demo.photos import write_demo_data
from mmssl_dynamic.demo.regions import PHOTOS, TASKS
from mmssl_dynamic.demo.windows import gap_between, held_out_boxes, plan_pretraining, plan_tasks
from mmssl_dynamic.downstream.folders import labelled_folders
from mmssl_dynamic.errors import ConfigError

CLASSES = [kind for task in TASKS for kind in task.classes]
SIZES = {photo.name: photo.size for photo in PHOTOS}


@pytest.fixture(scope="module")
def photos() -> dict[str, np.ndarray]:
    pytest.importorskip("skimage")
    return module.load_photos()


@pytest.fixture(scope="module")
def grey(photos) -> dict[str, np.ndarray]:
    return {name: np.asarray(Image.fromarray(pixels).convert("L")) for name, pixels in photos.items()}


@pytest.fixture(scope="module")
def demo(photos, tmp_path_factory) -> module.DemoData:
    return write_demo_data(tmp_path_factory.mktemp("demo") / "data", num_pretrain=400)


@pytest.fixture
def few_per_class(photos, monkeypatch) -> None:
    """Tasks of a few images, for tests that write the data again and again."""
    monkeypatch.setattr(windows, "TRAIN_PER_CLASS", 3)
    monkeypatch.setattr(windows, "TEST_PER_CLASS", 2)


def files(root: Path) -> dict[str, bytes]:
    return {path.relative_to(root).as_posix(): path.read_bytes() for path in sorted(root.rglob("*")) if path.is_file()}


def test_gap_between_boxes_counts_the_pixels_between_them():
    assert gap_between((0, 0, 10, 10), (10, 0, 20, 10)) == 0
    assert gap_between((0, 0, 10, 10), (13, 50, 20, 60)) == 40
    assert gap_between((0, 0, 10, 10), (9, 9, 20, 20)) == -1


def test_train_and_test_regions_of_a_photograph_are_a_window_apart():
    for first in CLASSES:
        for second in CLASSES:
            if first.photo == second.photo:
                widest = max(first.windows[1], second.windows[1])
                gaps = [gap_between(train, test) for train in first.train for test in second.test]
                assert min(gaps) >= widest, (first.name, second.name)


def test_every_region_lies_in_its_photograph_and_holds_its_largest_window():
    for kind in CLASSES:
        width, height = SIZES[kind.photo]
        for left, top, right, bottom in (*kind.train, *kind.test):
            assert 0 <= left < right <= width
            assert 0 <= top < bottom <= height
            assert min(right - left, bottom - top) >= kind.windows[1], kind.name


def test_planned_windows_lie_in_the_regions_of_their_class_and_split(grey):
    regions = {
        f"tasks/{task.name}/{split}/{kind.name}": boxes
        for task in TASKS
        for kind in task.classes
        for split, boxes in (("train", kind.train), ("test", kind.test))
    }
    for plan in plan_tasks(grey, seed=3):
        left, top, right, bottom = plan.box
        boxes = regions[plan.path.rsplit("/", 1)[0]]
        assert any(b[0] <= left and b[1] <= top and right <= b[2] and bottom <= b[3] for b in boxes), plan


def test_no_window_for_pretraining_shares_a_pixel_with_a_test_window(grey):
    plans = plan_pretraining(grey, 1500, seed=1)
    assert len(plans) == 1500
    for plan in plans:
        assert min((gap_between(plan.box, box) for box in held_out_boxes(plan.photo)), default=0) >= 0
        width, height = SIZES[plan.photo]
        assert plan.left >= 0
        assert plan.top >= 0
        assert plan.left + plan.side <= width
        assert plan.top + plan.side <= height


def test_pixels_outside_the_window_have_no_influence_on_an_image(grey, photos):
    for plan in (*plan_tasks(grey, 0)[::97], *plan_pretraining(grey, 30, 0)):
        left, top, right, bottom = plan.box
        blank = np.zeros_like(photos[plan.photo])
        blank[top:bottom, left:right] = photos[plan.photo][top:bottom, left:right]
        expected = np.asarray(module.render(plan, photos[plan.photo], 32))
        np.testing.assert_array_equal(np.asarray(module.render(plan, blank, 32)), expected)


def test_all_images_have_the_same_mean_colour_and_none_is_flat(demo):
    for path in demo.root.rglob("*.png"):
        pixels = np.asarray(Image.open(path)).astype(float)
        assert pixels.shape[:2] == (32, 32)
        assert abs(pixels.mean(axis=(0, 1)) - module.MEAN).max() < 0.6, path
        assert pixels.std() > module.CONTRAST / 4, path


def test_folders_and_counts_are_what_data_sets_read(demo):
    assert len(ImageFolder(str(demo.pretrain))) == demo.counts["pretrain"] == 400
    assert sorted(demo.tasks) == ["everyday", "medical", "textures"]
    for task in TASKS:
        _, classes = labelled_folders(demo.tasks[task.name])
        assert classes == tuple(kind.name for kind in task.classes)
        for part in ("train", "test"):
            labels = ImageFolder(str(demo.tasks[task.name] / part)).get_gt_labels()
            assert len(labels) == demo.counts[f"tasks/{task.name}/{part}"]
            assert len(set(np.bincount(labels))) == 1


def test_licence_of_every_photograph_and_origin_of_every_image_are_written_down(demo):
    marker = json.loads((demo.root / "demo_data.json").read_text())
    assert all(marker["licences"][photo.file] for photo in PHOTOS)
    rows = (demo.root / "patches.csv").read_text().splitlines()[1:]
    assert len(rows) == sum(demo.counts.values())


@pytest.mark.usefixtures("few_per_class")
def test_a_seed_gives_the_same_bytes_and_another_seed_other_windows(tmp_path):
    first = files(write_demo_data(tmp_path / "first", num_pretrain=60).root)
    assert files(write_demo_data(tmp_path / "again", num_pretrain=60).root) == first
    other = files(write_demo_data(tmp_path / "other", num_pretrain=60, seed=1).root)
    assert other.keys() == first.keys()
    assert other["patches.csv"] != first["patches.csv"]


@pytest.mark.usefixtures("few_per_class")
def test_size_changes_the_images_and_not_the_windows(tmp_path):
    small = write_demo_data(tmp_path / "small", num_pretrain=20)
    larger = write_demo_data(tmp_path / "larger", size=48, num_pretrain=20)
    assert Image.open(next(larger.pretrain.iterdir())).size == (48, 48)
    assert (larger.root / "patches.csv").read_text() == (small.root / "patches.csv").read_text()


@pytest.mark.usefixtures("few_per_class")
def test_finished_data_are_kept_and_incomplete_or_other_data_replaced(tmp_path, monkeypatch):
    first = write_demo_data(tmp_path / "data", num_pretrain=20)
    image = first.pretrain / "brick_0000.png"
    written = image.stat().st_mtime_ns
    assert write_demo_data(tmp_path / "data", num_pretrain=20) == first
    assert image.stat().st_mtime_ns == written
    image.unlink()
    assert write_demo_data(tmp_path / "data", num_pretrain=20) == first
    assert image.is_file()
    assert write_demo_data(tmp_path / "data", num_pretrain=21).counts["pretrain"] == 21
    monkeypatch.setattr(module, "SCHEMA_VERSION", 99)
    assert json.loads((write_demo_data(tmp_path / "data").root / "demo_data.json").read_text())["schema_version"] == 99
    assert [path.name for path in tmp_path.iterdir()] == ["data"]


@pytest.mark.usefixtures("few_per_class")
def test_an_interrupted_run_leaves_nothing_behind_and_keeps_the_old_data(tmp_path, monkeypatch):
    first = write_demo_data(tmp_path / "data", num_pretrain=20)
    before = files(first.root)
    calls = iter(range(100))

    def interrupted(*arguments):
        if next(calls) == 50:
            raise KeyboardInterrupt
        return Image.new("L", (8, 8))

    monkeypatch.setattr(module, "render", interrupted)
    with pytest.raises(KeyboardInterrupt):
        write_demo_data(tmp_path / "data", num_pretrain=21)
    assert files(first.root) == before
    assert [path.name for path in tmp_path.iterdir()] == ["data"]


def test_foreign_files_are_never_replaced(photos, tmp_path):
    (tmp_path / "thesis.txt").write_text("precious")
    with pytest.raises(ConfigError, match="not demo data"):
        write_demo_data(tmp_path)
    with pytest.raises(ConfigError, match="is a file"):
        write_demo_data(tmp_path / "thesis.txt")
    assert (tmp_path / "thesis.txt").read_text() == "precious"


def test_without_scikit_image_or_its_photographs_one_sentence_says_what_to_install(tmp_path, monkeypatch):
    find_spec = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "skimage" else find_spec(name))
    with pytest.raises(ConfigError, match=r"pip install 'mmssl-dynamic\[demo\]'"):
        write_demo_data(tmp_path / "data")
    with pytest.raises(ConfigError, match=r"no photograph .*brick\.png"):
        module._load_photo(tmp_path, next(photo for photo in PHOTOS if photo.name == "brick"))
    Image.new("L", (3, 3)).save(tmp_path / "brick.png")
    with pytest.raises(ConfigError, match="has 3 x 3 pixels, not the expected 512 x 512"):
        module._load_photo(tmp_path, next(photo for photo in PHOTOS if photo.name == "brick"))
    assert not (tmp_path / "data").exists()


@pytest.mark.parametrize("arguments", [{"size": 4}, {"seed": -1}, {"num_pretrain": 0}])
def test_impossible_arguments_are_config_errors(tmp_path, arguments):
    with pytest.raises(ConfigError, match="demo data need"):
        write_demo_data(tmp_path / "data", **arguments)


def test_mean_colour_alone_does_not_solve_a_task(demo):
    for folder in demo.tasks.values():
        means, labels = {}, {}
        for part in ("train", "test"):
            dataset = ImageFolder(str(folder / part))
            paths = [dataset.get_data_info(i)["img_path"] for i in range(len(dataset))]
            means[part] = np.stack([np.asarray(Image.open(p).convert("RGB")).mean(axis=(0, 1)) for p in paths])
            labels[part] = dataset.get_gt_labels()
        distance = ((means["test"][:, None] - means["train"][None]) ** 2).sum(-1)
        votes = labels["train"][np.argsort(distance, axis=1)[:, :20]]
        predicted = np.array([np.bincount(row).argmax() for row in votes])
        classes = labels["train"].max() + 1
        assert (predicted == labels["test"]).mean() < 0.45
        assert math.isclose(np.bincount(labels["test"]).min(), len(labels["test"]) / classes)
