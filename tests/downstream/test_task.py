"""Tasks come from image folders and from configs of mmpretrain data sets, and bad ones are refused."""

from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from mmssl_dynamic.datasets.normalisation import Normalisation
from mmssl_dynamic.downstream.task import Task
from mmssl_dynamic.errors import ConfigError, DataError

PIPELINE = [
    {"type": "mmssl_dynamic.LoadImage"},
    {"type": "CenterCrop", "crop_size": 16},
    {"type": "PackInputs"},
]
NORMALISATION = Normalisation((0.0,) * 3, (255.0,) * 3, to_rgb=True)


def write(root, parts):
    for part, classes in parts.items():
        for index, (label, count) in enumerate(classes.items()):
            folder = root / part / label
            folder.mkdir(parents=True)
            for i in range(count):
                Image.new("RGB", (20, 18), (60 * index + i, 0, 255)).save(folder / f"{i}.png")
    return root


def config(path, **values):
    path.write_text("\n".join(f"{key} = {value!r}" for key, value in values.items()))
    return path


def test_a_folder_is_a_task_with_batches_of_its_parts(tmp_path):
    root = write(tmp_path / "flowers", {"train": {"daisy": 3, "rose": 2}, "test": {"daisy": 1, "rose": 1}})
    task = Task.from_folder(root, PIPELINE)
    assert task.name == "flowers"
    splits = task.splits(NORMALISATION, batch_size=4)
    assert splits.val is None
    assert list(splits.parts()) == ["train", "test"]
    assert splits.train.num_images == 5
    batches = list(splits.train)
    assert [len(batch.images) for batch in batches] == [4, 1]
    assert [int(label) for batch in batches for label in batch.labels] == [0, 0, 0, 1, 1]
    assert batches[0].images[0, :, 0, 0].tolist() == [0.0, 0.0, 1.0]  # blue, in RGB order


def test_a_folder_with_validation_images_has_them_as_a_part(tmp_path):
    classes = {"a": 1, "b": 1}
    task = Task.from_folder(write(tmp_path, {"train": classes, "val": classes, "test": classes}), PIPELINE)
    assert list(task.splits(NORMALISATION, 2).parts()) == ["train", "val", "test"]


def test_data_sets_of_mmpretrain_are_a_task(tmp_path):
    root = write(tmp_path, {"train": {"a": 2, "b": 2}, "test": {"a": 1, "b": 1}})
    data = {part: {"type": "CustomDataset", "data_root": str(root / part)} for part in ("train", "test")}
    task = Task.from_config(config(tmp_path / "letters_v2.py", name="letters", **data), PIPELINE)
    assert task.name == "letters"
    assert [int(label) for batch in task.splits(NORMALISATION, 4).train for label in batch.labels] == [0, 0, 1, 1]
    assert Task.from_config(config(tmp_path / "letters_v2.py", **data), PIPELINE).name == "letters_v2"


def test_impossible_tasks_are_refused(tmp_path):
    with pytest.raises(DataError, match="does not exist"):
        Task.from_folder(tmp_path / "nowhere", PIPELINE)
    one = write(tmp_path / "one", {"train": {"a": 2}, "test": {"a": 1}})
    with pytest.raises(DataError, match="only one class"):
        Task.from_folder(one, PIPELINE)
    empty = write(tmp_path / "empty", {"train": {"a": 1, "b": 1}})
    (empty / "test" / "a").mkdir(parents=True)
    with pytest.raises(DataError, match="holds no image"):
        Task.from_folder(empty, PIPELINE)
    root = write(tmp_path / "odd", {"train": {"a": 1, "b": 1}, "test": {"a": 1, "c": 1}})
    with pytest.raises(DataError, match="differ"):
        Task.from_folder(root, PIPELINE)
    data = {part: {"type": "CustomDataset", "data_root": str(root / part)} for part in ("train", "test")}
    with pytest.raises(DataError, match="different classes"):
        Task.from_config(config(tmp_path / "odd.py", **data), PIPELINE)
    with pytest.raises(ConfigError, match="does not define 'test"):
        Task.from_config(config(tmp_path / "half.py", train=data["train"]), PIPELINE)


def test_a_task_is_given_as_a_folder_a_config_or_itself(tmp_path):
    root = write(tmp_path / "task", {part: {"a": 1, "b": 1} for part in ("train", "val", "test")})
    data = {part: {"type": "CustomDataset", "data_root": str(root / part)} for part in ("train", "test")}
    assert Task.given(root, PIPELINE).name == "task"
    assert Task.given(config(tmp_path / "letters.py", **data), PIPELINE).name == "letters"
    whole = Task.from_folder(root, PIPELINE)
    assert list(Task.given(whole, PIPELINE, parts=("train", "test")).data) == ["train", "test"]


def test_parts_that_nobody_asks_for_are_not_read(tmp_path):
    root = write(tmp_path / "task", {part: {"a": 1, "b": 1} for part in ("train", "val", "test")})
    task = Task.given(root, PIPELINE, parts=("train", "test"))
    assert list(task.data) == list(task.datasets) == list(task.images) == ["train", "test"]
    assert (task.split, list(task.record())) == ("folders train/, test/", ["name", "train", "test"])


def test_labels_and_classes_are_those_of_the_folders(tmp_path):
    root = write(tmp_path, {"train": {"daisy": 2, "rose": 1}, "test": {"daisy": 1, "rose": 1}})
    task = Task.from_folder(root, PIPELINE)
    assert (task.classes, task.num_classes) == (("daisy", "rose"), 2)
    assert [task.labels(part).tolist() for part in ("train", "test")] == [[0, 0, 1], [0, 1]]


def test_several_labels_an_image_are_a_table_for_map_and_refused_otherwise():
    listing = {
        "type": "mmssl_dynamic.ListedImages",
        "images": np.zeros((3, 4, 4, 3), np.uint8),
        "labels": np.array([[1, 0, 1], [0, 1, 0], [0, 0, 0]], dtype=bool),
    }
    task = Task("shapes", {"train": listing, "test": listing}, metric="map")
    assert task.labels("train").tolist() == listing["labels"].tolist()
    with pytest.raises(DataError, match="the training images need one label each"):
        replace(task, metric="top1").labels("train")


def test_images_without_labels_are_refused(tmp_path):
    root = write(tmp_path, {"train": {"a": 1, "b": 1}})
    listing = {"type": "mmssl_dynamic.ImageFolder", "data_root": str(root / "train"), "with_label": False}
    with pytest.raises(DataError, match="the test images need one label each"):
        Task("none", {"train": listing, "test": listing}, PIPELINE).labels("test")
