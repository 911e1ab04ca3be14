"""The folders of a labelled task: which part is which, and what does not fit."""

from pathlib import Path

import pytest

from mmssl_dynamic.datasets.shards import write_shards
from mmssl_dynamic.downstream.folders import labelled_folders
from mmssl_dynamic.errors import DataError
from tests.helpers import write_files


def test_the_parts_are_found_with_their_classes(tmp_path):
    write_files(tmp_path, "train/cat/1.png", "train/dog/1.png", "test/cat/1.png", "test/dog/1.png")
    folders, classes = labelled_folders(tmp_path)
    assert folders == {"train": tmp_path / "train", "test": tmp_path / "test"}
    assert classes == ("cat", "dog")
    write_files(tmp_path, "val/cat/1.png", "val/dog/1.png")
    assert labelled_folders(tmp_path)[0]["val"] == tmp_path / "val"


def test_where_there_is_no_test_folder_val_is_it(tmp_path):
    write_files(
        tmp_path, "train/cat/1.png", "train/dog/1.png", "val/cat/1.png", "val/dog/1.png", "val/.ipynb_checkpoints/x.png"
    )
    folders, classes = labelled_folders(tmp_path)
    assert (folders.get("val"), folders["test"]) == (None, tmp_path / "val")
    assert classes == ("cat", "dog")


@pytest.mark.parametrize(
    ("names", "message"),
    [
        ((), "does not exist"),
        (("cat/1.png", "dog/1.png"), "has no folder train/; it must hold"),
        (("train/cat/1.png", "train/dog/1.png"), r"has no folder test/; it must hold .* \(or val/CLASS/\)"),
        (("train/cat/1.png", "train/dog/1.png", "val/cat/1.png"), r"differ \(dog only in train/\)"),
        (("train/cat/1.png", "test/cat/1.png"), "has only one class, cat"),
        (("train/1.png", "test/cat/1.png"), r"1\.png lies outside the class folders"),
        (
            ("train/cat/1.png", "train/dog/1.png", "test/cat/1.png", "test/cow/1.png"),
            r"differ \(dog only in train/; cow only in test/\)",
        ),
        (("train/cat/1.png", "train/dog/1.png", "test/cat/1.png", "test/dog/1.txt"), r"\(dog only in train/\)"),
        (("train/cat/1.png", "train/dog/1.png", "test/cat/1.txt"), "test holds no image"),
    ],
)
def test_folders_that_do_not_fit_are_one_sentence(tmp_path, names, message):
    write_files(tmp_path / "task", *names)
    with pytest.raises(DataError, match=message) as caught:
        labelled_folders(tmp_path / "task")
    assert "\n" not in str(caught.value)
    packed, images = tmp_path / "packed", [name for name in names if name.endswith(".png")]
    for part in {Path(name).parts[0] for name in images if Path(name).parts[0] in ("train", "test", "val")}:
        for _ in write_shards(tmp_path / "task" / part, packed / part):
            pass
    if len(images) == len(names) and packed.is_dir():  # in shards, too
        with pytest.raises(DataError, match=message):
            labelled_folders(packed)


def test_parts_in_shards_have_the_classes_of_their_folders(tmp_path):
    write_files(
        tmp_path / "task", *(f"{part}/{name}/1.png" for part in ("train", "val", "test") for name in ("a", "b c"))
    )
    for part in ("train", "test"):
        assert sum(write_shards(tmp_path / "task" / part, tmp_path / "packed" / part)) == 2
    (tmp_path / "task/val").rename(tmp_path / "packed/val")  # as files
    folders, classes = labelled_folders(tmp_path / "packed")
    assert sorted(folders) == ["test", "train", "val"]
    assert classes == ("a", "b c")
