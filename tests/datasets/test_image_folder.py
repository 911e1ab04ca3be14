"""ImageFolder: names decide order and labels."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest
from mmpretrain.registry import DATASETS
from mmpretrain.utils import register_all_modules

from mmssl_dynamic.datasets import ImageFolder, list_images, read_image
from mmssl_dynamic.datasets.image_listing import Listing, by_ending, class_folders, find_images
from mmssl_dynamic.errors import ConfigError, DataError, UserNotice
from tests.helpers import write_files


def names_and_labels(dataset: ImageFolder) -> list[tuple[str, int | None]]:
    infos = [dataset.get_data_info(i) for i in range(len(dataset))]
    return [(Path(info["img_path"]).relative_to(dataset.image_root).as_posix(), info.get("gt_label")) for info in infos]


def test_images_are_sorted_by_name_in_any_case_of_ending_and_others_ignored(tmp_path):
    write_files(tmp_path, "b.PNG", "a.jpeg", "z/deep/er/c.Tif", "notes.txt")
    assert list_images(tmp_path) == ["a.jpeg", "b.PNG", "z/deep/er/c.Tif"]


HIDDEN = (".DS_Store", ".hidden.png", ".ipynb_checkpoints/a.png", "@eaDir/a.png", "__MACOSX/._a.png", "Thumbs.db")
HIDDEN += ("desktop.ini", "$RECYCLE.BIN/a.png", "System Volume Information/a.png", "#recycle/a.png")


def test_hidden_files_and_folders_are_as_if_they_were_not_there(tmp_path):
    write_files(tmp_path, "cat/a.png", "dog/b.png", *HIDDEN, *(f"cat/{name}" for name in HIDDEN))
    assert find_images(tmp_path) == Listing(["cat/a.png", "dog/b.png"], Counter())
    assert ImageFolder(str(tmp_path)).CLASSES == ("cat", "dog")
    assert [folder.name for folder in class_folders(tmp_path)] == ["cat", "dog"]


def test_files_left_out_are_counted_by_their_ending(tmp_path):
    write_files(
        tmp_path, "a.png", "b.HEIC", "c/d.heic", "no_ending", "x.jpg_large", "x.jpg?w=200", "c/notes.txt", ".hidden.txt"
    )
    listing = find_images(tmp_path)
    assert listing.images == ["a.png"]
    first, *others = listing.left_out_text().split(", ")
    assert first == "2 .heic"
    assert sorted(others) == ["1 .jpg?w=200", "1 .jpg_large", "1 .txt", "1 without an ending"]
    with pytest.warns(UserNotice, match=f"{tmp_path}: 1 images; other files are left out: 2 .heic, "):
        ImageFolder(str(tmp_path))
    assert by_ending(Counter({f".{i}": 9 - i for i in range(9)})).endswith("4 .5, 6 of other kinds")


def test_what_is_no_file_is_left_to_reading(tmp_path):
    write_files(tmp_path, "a.png")
    (tmp_path / "gone.png").symlink_to(tmp_path / "nowhere")
    (tmp_path / "loop.png").symlink_to(tmp_path / "loop.png")
    assert find_images(tmp_path).images == ["a.png", "gone.png", "loop.png"]
    for name in ("gone.png", "loop.png"):
        with pytest.raises(DataError, match=name):
            read_image(tmp_path / name)


def test_a_mmpretrain_config_builds_it_and_its_pipeline_loads_the_image(tmp_path):
    register_all_modules(init_default_scope=False)
    write_files(tmp_path, "cat/a.png", "dog/b.png")
    pipeline = [dict(type="mmssl_dynamic.LoadImage"), dict(type="PackInputs")]
    with DATASETS.switch_scope_and_registry("mmpretrain") as registry:
        dataset = registry.build(dict(type="mmssl_dynamic.ImageFolder", data_root=str(tmp_path), pipeline=pipeline))
    sample = dataset[1]
    assert sample["inputs"].shape == (3, 4, 4)
    assert int(sample["data_samples"].gt_label) == 1
    assert dataset.CLASSES == ("cat", "dog")


def test_auto_labels_by_first_level_folder_only_if_every_image_is_in_one(tmp_path):
    labelled = ImageFolder(str(write_files(tmp_path / "labelled", "dog/1.png", "cat/sub/2.png", "empty/notes.txt")))
    assert labelled.labelled
    assert labelled.CLASSES == ("cat", "dog")
    assert names_and_labels(labelled) == [("cat/sub/2.png", 0), ("dog/1.png", 1)]
    flat = ImageFolder(str(write_files(tmp_path / "flat", "1.png", "2.png")))
    mixed = ImageFolder(str(write_files(tmp_path / "mixed", "cat/1.png", "dog/1.png", "loose.png")))
    single = ImageFolder(str(write_files(tmp_path / "single", "photos/1.png", "photos/2.png")))
    for dataset in (flat, mixed, single):
        assert not dataset.labelled
        assert dataset.CLASSES is None
        assert all(label is None for _, label in names_and_labels(dataset))


def test_with_label_false_takes_every_image_without_labels(tmp_path):
    dataset = ImageFolder(str(write_files(tmp_path, "cat/1.png", "dog/1.png")), with_label=False)
    assert names_and_labels(dataset) == [("cat/1.png", None), ("dog/1.png", None)]


def test_with_label_true_refuses_an_image_outside_the_class_folders(tmp_path):
    write_files(tmp_path, "cat/1.png", "dog/1.png", "loose.png")
    with pytest.raises(DataError, match=r"loose\.png lies outside the class folders"):
        ImageFolder(str(tmp_path), with_label=True)


def test_classes_of_the_config_decide_the_labels(tmp_path):
    write_files(tmp_path, "cat/1.png", "dog/1.png")
    dataset = ImageFolder(str(tmp_path), classes=("dog", "horse", "cat"))
    assert names_and_labels(dataset) == [("cat/1.png", 2), ("dog/1.png", 0)]
    with pytest.raises(DataError, match="dog is not among the 2 classes"):
        ImageFolder(str(tmp_path), classes=("cat", "horse"))


def test_data_prefix_indices_and_lazy_init_work_as_in_mmpretrain(tmp_path):
    write_files(tmp_path, "train/a.png", "train/b.png", "train/c.png", "other/d.png")
    dataset = ImageFolder(str(tmp_path), data_prefix="train", indices=2, lazy_init=True)
    dataset.full_init()
    assert dataset.image_root == str(tmp_path / "train")
    assert [name for name, _ in names_and_labels(dataset)] == ["a.png", "b.png"]


@pytest.mark.parametrize("spelling", ["{}", "{}/"])
def test_a_slash_at_the_end_of_the_folder_changes_nothing(tmp_path, spelling):
    dataset = ImageFolder(spelling.format(write_files(tmp_path, "a.png")))
    assert dataset.image_root == str(tmp_path)
    assert dataset.get_data_info(0)["img_path"] == f"{tmp_path}/a.png"


def test_links_are_followed_and_circles_of_links_end(tmp_path, monkeypatch):
    write_files(tmp_path / "store", "dog/1.png")
    root = write_files(tmp_path / "root", "cat/1.png")
    (root / "dog").symlink_to(tmp_path / "store" / "dog")
    (root / "cat" / "up").symlink_to(root)
    (tmp_path / "store" / "dog" / "back").symlink_to(root)
    names = list_images(root)
    assert names[:2] == ["cat/1.png", "dog/1.png"]
    assert all(name.count("/") < 4 for name in names)
    monkeypatch.chdir(tmp_path)
    assert list_images("root") == names


def test_a_missing_or_useless_folder_is_one_sentence(tmp_path):
    with pytest.raises(DataError, match="gone does not exist"):
        ImageFolder(str(tmp_path / "gone"))
    with pytest.raises(DataError, match="holds no image; give"):
        ImageFolder(str(tmp_path))
    write_files(tmp_path, "a.heic", "b.heic", "c.txt")
    with pytest.raises(DataError, match=r"holds no image, only other files \(2 \.heic, 1 \.txt\)"):
        ImageFolder(str(tmp_path))
    with pytest.raises(DataError, match=r"a\.heic is a file"):
        ImageFolder(str(tmp_path / "a.heic"))
    write_files(tmp_path, "task/train/000000.tar", "task/test/000000.tar")
    sentence = rf"\(2 \.tar\); if images are packed in test/000000\.tar, give {tmp_path}/task/test\.$"
    with pytest.raises(DataError, match=sentence):
        ImageFolder(str(tmp_path / "task"))
    with pytest.raises(DataError, match=r"if images are packed in 000000\.tar, unpack it: files are needed here\.$"):
        list_images(tmp_path / "task/train")


@pytest.mark.parametrize("name", ["line\nbreak.png", "latin\udce91.png"])
def test_a_name_that_no_list_of_names_can_hold_is_refused(tmp_path, name):
    write_files(tmp_path, name)
    with pytest.raises(DataError, match="rename the file") as caught:
        list_images(tmp_path)
    str(caught.value).encode("utf-8")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({}, "needs data_root"),
        ({"data_root": "x", "with_label": "yes"}, "must be True, False or 'auto'"),
        ({"data_root": "x", "ann_file": "list.txt"}, "has no ann_file"),
    ],
)
def test_wrong_arguments_are_config_errors(arguments, message):
    with pytest.raises(ConfigError, match=message):
        ImageFolder(**arguments)
