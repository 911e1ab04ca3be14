"""check_imagenet finds what is missing or out of place in an ImageNet folder, and nothing else."""

from __future__ import annotations

import pytest

from mmssl_dynamic.datasets.preparation.imagenet_check import IMAGES_PER_CLASS, check_imagenet
from mmssl_dynamic.errors import ConfigError, DataError


def name(index):
    return f"n{index:08d}"


def fill(folder, classes, count):
    """Class folders with empty files: nothing here is decoded."""
    for index in range(classes):
        (folder / name(index)).mkdir(parents=True)
        for image in range(count):
            (folder / name(index) / f"{image:04d}.JPEG").touch()


@pytest.fixture
def root(tmp_path):
    """Three classes with six images each to train on, and with 50 each to validate on."""
    fill(tmp_path / "train", 3, 6)
    fill(tmp_path / "val", 3, 50)
    return tmp_path


def problems(root, classes=3, per_class=(5, 7)):
    return [text for part in check_imagenet(root, classes, per_class, progress=False) for text in part.problems]


def test_a_whole_folder_has_no_problems(root):
    train, val = check_imagenet(root, 3, (5, 7), progress=False)
    assert (train.part, train.counts) == ("train", {name(index): 6 for index in range(3)})
    assert (val.part, sum(val.counts.values()), len(val.images)) == ("val", 150, 150)
    assert train.images[:2] == [f"{root}/train/{name(0)}/0000.JPEG", f"{root}/train/{name(0)}/0001.JPEG"]
    assert train.problems == train.notes == val.problems == val.notes == []
    assert train.lines() == ["train 3 class folders, 18 images, 6 to 6 a class"]


def test_a_part_is_checked_alone_by_its_name(root):
    (val,) = check_imagenet(root / "val", 3, progress=False)
    assert (val.part, val.problems) == ("val", [])
    (train,) = check_imagenet(root / "train", 3, (5, 7), progress=False)
    assert (train.part, train.problems) == ("train", [])
    (root / "val").rename(root / "later")
    (train,) = check_imagenet(root, 3, (5, 7), progress=False)
    assert (train.problems, train.notes) == ([], ["there is no val/, so only train/ is checked."])


def test_imagenets_own_numbers_are_expected_unless_others_are_given(root):
    found = problems(root, 1000, None)
    assert "3 class folders instead of 1000" in found[0]
    assert "3 classes do not have 732 to 1300 images" in found[1]
    assert "18 images instead of 1,281,167" in found[2]
    assert "150 images instead of 50,000" in found[4]
    assert not any("50 images; unpack" in text for text in found[3:])
    assert not any("1,281,167" in text for text in problems(root, 3, None))


def test_the_fewest_and_the_most_images_are_allowed(root):
    fill(root / "more" / "train", 1, 0)
    low, high = IMAGES_PER_CLASS["train"]
    folder = root / "more" / "train" / name(0)
    for count in (low - 1, low, high, high + 1):
        for image in range(len(list(folder.iterdir())), count):
            (folder / f"{image:04d}.JPEG").touch()
        found = problems(root / "more", 1, None)
        assert len(found) == (not low <= count <= high), count


def test_missing_empty_and_misnamed_classes_are_named(root):
    for image in (root / "train" / name(1)).iterdir():
        image.unlink()
    (root / "train" / name(2)).rename(root / "train" / "dog")
    (root / "val" / name(2) / "0007.JPEG").unlink()
    found = problems(root, 4)
    assert len(found) == 6
    assert "3 class folders instead of 4" in found[0]
    assert "1 folders are not named by a WNID ('n' and 8 digits); rename or remove them: dog." in found[1]
    assert f"1 class folders hold no image; unpack them anew: {name(1)}." in found[2]
    assert "3 class folders instead of 4" in found[3]
    assert f"1 classes do not have 50 images; unpack them anew: {name(2)} (49)." in found[4]
    assert f"its class folders are not those of train: dog, {name(2)} are in one of them only." in found[5]


def test_files_that_training_ignores_are_noted_and_images_out_of_place_are_problems(root):
    (root / "train" / f"{name(0)}.tar").touch()
    (root / "train" / name(0) / "boxes.txt").touch()
    (root / "train" / name(0) / ".hidden.JPEG").touch()
    (root / "train" / "loose.JPEG").touch()
    train, val = check_imagenet(root, 3, (5, 7), progress=False)
    assert train.counts[name(0)] == 6
    assert train.notes == [f"2 other files are left out (1 .txt, 1 .tar): {name(0)}/boxes.txt, {name(0)}.tar."]
    assert len(train.problems) == 1
    assert "1 images lie outside the class folders" in train.problems[0]
    assert "loose.JPEG" in train.problems[0]
    assert val.problems == val.notes == []


def test_images_in_folders_within_a_class_count_as_training_counts_them(root):
    (root / "train" / name(0)).rename(root / "images")
    (root / "train" / name(0)).mkdir()
    (root / "images").rename(root / "train" / name(0) / "images")
    train, _ = check_imagenet(root, 3, (5, 7), progress=False)
    assert (train.counts[name(0)], train.problems) == (6, [])


def test_a_flat_val_is_named_as_the_layout_of_the_archive(root):
    for folder in list((root / "val").iterdir()):
        for image in folder.iterdir():
            image.rename(root / "val" / f"{folder.name}_{image.name}")
        folder.rmdir()
    train, val = check_imagenet(root, 3, (5, 7), progress=False)
    assert train.problems == []
    assert len(val.images) == 150
    assert len(val.problems) == 2
    assert "is flat, as the original archive unpacks: 150 images and no class folders; sort them" in val.problems[0]
    assert "150 images instead of 50,000" in val.problems[1]


def test_a_part_without_anything_is_a_problem_and_nothing_at_all_is_refused(root, tmp_path_factory):
    empty = tmp_path_factory.mktemp("empty")
    (empty / "readme.txt").touch()
    for folder in (empty, empty / "gone"):
        with pytest.raises(DataError, match="give the folder that holds train/ and val/"):
            check_imagenet(folder, progress=False)
    (root / "val").rename(root / "elsewhere")
    (root / "val").mkdir()
    assert problems(root) == ["it holds no class folders and no images; unpack the archive anew."]


@pytest.mark.parametrize(("classes", "per_class"), [(0, None), (3, (0, 4)), (3, (5, 4))])
def test_numbers_that_cannot_be_are_refused(root, classes, per_class):
    with pytest.raises(ConfigError):
        check_imagenet(root, classes, per_class, progress=False)
