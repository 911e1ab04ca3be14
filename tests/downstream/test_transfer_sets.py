"""The eleven transfer data sets: read from their own files, checked before anything runs, folders beside them."""

import shutil

import numpy as np
import pytest
import torch
from torchvision import datasets

from mmssl_dynamic.datasets.batches import ImageBatches
from mmssl_dynamic.datasets.fingerprint import images_record
from mmssl_dynamic.datasets.listed_images import ListedImages
from mmssl_dynamic.datasets.load_image import read_image
from mmssl_dynamic.datasets.names import image_names
from mmssl_dynamic.datasets.normalisation import Normalisation
from mmssl_dynamic.downstream.transfer_sets import TRANSFER_SETS, found_below, overview, read_all
from mmssl_dynamic.errors import DataError
from tests.downstream import transfer_files as files
from tests.helpers import write_images


@pytest.fixture
def root(tmp_path, monkeypatch):
    return files.write_all(tmp_path, monkeypatch)


def brightness_class(sample):
    pixels = sample["img"] if "img" in sample else read_image(sample["img_path"])
    return int(pixels.max()) // files.STEP


def parts(task):
    """Training images with those that validate, these, and test images: names by part."""
    found = {part: image_names(dataset) for part, dataset in task.datasets.items()}
    val = found.get("val")
    return found["train"] + (val or []), val, found["test"]


#: Training images (validation among them), validation images, test images.
SIZES = {
    "aircraft": (8, 4, 4),
    "caltech101": (60, None, 6),
    "cars": (6, None, 6),
    "cifar10": (20, None, 4),
    "cifar100": (4, None, 4),
    "dtd": (8, 4, 4),
    "flowers": (4, 2, 2),
    "food": (6, None, 6),
    "pets": (3, None, 2),
    "sun397": (6, None, 6),
    "voc2007": (5, 2, 2),
}


def test_every_image_of_all_eleven_has_the_label_it_was_written_for(root):
    found = read_all(list(TRANSFER_SETS), root)
    assert {data.name: data.metric for data in found} == {
        **dict.fromkeys(("aircraft", "caltech101", "flowers", "pets"), "mean_per_class"),
        **dict.fromkeys(("cars", "cifar10", "cifar100", "dtd", "food", "sun397"), "top1"),
        "voc2007": "map",
    }
    for data in found:
        train, val, test = parts(data)
        assert (len(train), None if val is None else len(val), len(test)) == SIZES[data.name], data.name
        if data.name == "voc2007":
            continue
        for part, dataset in data.datasets.items():
            for index, label in enumerate(data.labels(part)):
                assert brightness_class(dataset.get_data_info(index)) == label, (data.name, index)
        assert not set(train) & set(test) or data.name.startswith("cifar")


def test_validation_images_are_those_that_the_data_set_names(root):
    (flowers,) = read_all(["flowers"], root)
    train, val, _ = parts(flowers)
    assert [name[-6:] for name in train] == ["06.jpg", "01.jpg", "02.jpg", "04.jpg"]
    assert [name[-6:] for name in val] == ["02.jpg", "04.jpg"]


def test_difficult_objects_of_voc_count_as_absent(root):
    (voc,) = read_all(["voc2007"], root)
    expected = [plain for part in ("train", "val") for plain, _ in files.VOC_IMAGES[part]]
    labels = np.concatenate([voc.labels("train"), voc.labels("val")])
    assert [set(np.flatnonzero(row)) for row in labels] == expected
    assert [set(np.flatnonzero(row)) for row in voc.labels("test")] == [{0, 1}, set()]
    assert labels.shape == (5, 20)
    assert voc.classes[:2] == ("aeroplane", "bicycle")


def test_caltech101_without_lists_is_drawn_30_images_per_class_and_says_what_the_protocol_has(root):
    with pytest.warns(UserWarning, match=r"not those of published figures; put the folder caltech101-splits of .*ssl"):
        (drawn,) = read_all(["caltech101"], root)
    assert np.bincount(drawn.labels("train")).tolist() == [30, 30]
    assert "seed 0" in drawn.split
    assert "caltech101-splits" in overview()


@pytest.mark.parametrize("folder", ["caltech101/caltech101-splits", "caltech101-splits", "caltech101/meta"])
def test_caltech101_is_split_by_its_lists_where_they_are(root, folder, recwarn):
    lists = {"train": "accordion/image_0003.jpg 1", "test": "BACKGROUND_Google/image_0001.jpg 0"}
    for part, name in lists.items():
        files.lines(root / folder / f"{part}.txt", [name])
    (listed,) = read_all(["caltech101"], root)
    assert image_names(listed.datasets["train"]) == ["caltech101/101_ObjectCategories/accordion/image_0003.jpg"]
    assert listed.labels("test").tolist() == [0]
    assert listed.split == f"{folder.rsplit('/', 1)[-1]}/train.txt, test.txt"
    assert not [warning for warning in recwarn if "published figures" in str(warning.message)]
    (root / folder / "test.txt").unlink()
    with pytest.raises(DataError, match=rf"{folder}/test.txt of the split of Caltech-101 is missing"):
        read_all(["caltech101"], root)


def test_sun397_finds_its_lists_in_either_place(root, tmp_path_factory):
    other = tmp_path_factory.mktemp("sun")
    files.sun397(other, "SUN397")
    one, two = (read_all(["sun397"], place)[0] for place in (root, other))
    assert parts(one) == parts(two)
    assert one.labels("train").tolist() == [0, 0, 1, 1, 2, 2]


def test_fingerprints_follow_the_images_and_not_the_place(root, tmp_path_factory):
    other = tmp_path_factory.mktemp("moved")
    files.food(other)
    one, two = (read_all(["food"], place)[0] for place in (root, other))
    assert one.images["train"].listing == two.images["train"].listing
    listing = one.data["train"]
    for path, copy in zip(listing["images"], two.data["train"]["images"]):
        shutil.copystat(path, copy)
    assert images_record(two.datasets["train"]) == one.images["train"]
    files.picture(next((other / "food-101/images").rglob("0.jpg")), 0, size=40)
    (changed,) = read_all(["food"], other)
    assert changed.images["train"].listing != one.images["train"].listing
    relabelled = ListedImages(listing["images"], 1 - listing["labels"], listing["data_root"])
    assert images_record(relabelled).listing != one.images["train"].listing


def test_pixels_and_files_reach_the_network_alike(root):
    steps = [dict(type="mmssl_dynamic.LoadImage"), dict(type="CenterCrop", crop_size=8), dict(type="PackInputs")]
    normalisation = Normalisation((0.0,) * 3, (1.0,) * 3, to_rgb=True)
    cifar, pets = read_all(["cifar10", "pets"], root, steps)
    (batch,) = ImageBatches(cifar.datasets["test"], normalisation, 8)
    red = torch.tensor([10.0, 30.0, 50.0, 30.0])
    assert torch.equal(batch.images[:, 0], red[:, None, None].expand(4, 8, 8))  # RGB: the first plane is red
    assert not batch.images[:, 1:].any()
    (batch,) = ImageBatches(pets.datasets["test"], normalisation, 8)
    assert batch.images.mean((1, 2, 3)).round().tolist() == [30, 10]


def test_all_that_is_missing_is_told_before_anything_runs_one_sentence_each(root):
    (root / "dtd/dtd/labels/val1.txt").unlink()
    (root / "stanford_cars/cars_test/00003.jpg").unlink()
    (root / "flowers-102/setid.mat").write_bytes(b"broken")
    (root / "VOCdevkit/VOC2007/ImageSets").rename(root / "elsewhere")
    with pytest.raises(DataError) as error:
        read_all(["dtd", "pets", "cars", "flowers", "voc2007", "birds"], root)
    sentences = [line.strip() for line in str(error.value).splitlines()]
    assert len(sentences) == 5
    for sentence, words in zip(
        sentences,
        (
            f"data set dtd is not complete: {root}/dtd/dtd/labels/val1.txt is missing; unpack dtd-r1.0.1.tar.gz",
            "cars_test/00003.jpg is listed but not there",
            "data set flowers in",
            "voc2007 is not complete",
            "data set birds is none of aircraft,",
        ),
    ):
        assert words in sentence
    with pytest.raises(DataError, match="--data-root"):
        read_all(["dtd"], root / "nowhere")


def test_pickled_files_are_opened_only_if_they_are_the_originals(root, monkeypatch):
    sums = [["train", "16019d7e3df5f24257cddd939b257f8d"]]
    monkeypatch.setattr(datasets.CIFAR100, "train_list", sums)
    with pytest.raises(DataError, match="data set cifar100 in .* cannot be read .*; unpack cifar-100-python.tar.gz"):
        read_all(["cifar100"], root)


def test_own_folders_are_data_sets_and_known_ones_may_lie_in_folders(tmp_path):
    for name in ("mine", "pets"):
        for part, count in (("train", 8), ("test", 4)):
            write_images(tmp_path / name / part, count, size=8)
    write_images(tmp_path / "mine/val", 4, size=8, seed=1)
    mine, pets = read_all(["mine", "pets"], tmp_path)
    assert (mine.metric, pets.metric) == ("top1", "mean_per_class")
    assert mine.labels("val").tolist() == [0, 1, 2, 3]
    assert "val" not in pets.data
    assert mine.labels("train").tolist() == [0, 0, 1, 1, 2, 2, 3, 3]
    assert mine.datasets["val"].get_data_info(0)["img_path"] == str(tmp_path / "mine/val/class_0/0000.png")
    assert found_below(tmp_path) == ["mine", "pets"]


def test_the_overview_names_every_file_and_says_what_is_there(tmp_path):
    files.pets(tmp_path)
    text = overview(tmp_path)
    assert found_below(tmp_path) == ["pets"]
    assert text.count("[found]") == 1
    for entry in TRANSFER_SETS.values():
        assert all(file in text for file in entry.files)
    assert "[missing SUN397/a]" in text


def test_a_folder_with_val_alone_is_a_data_set_and_is_found(tmp_path):
    for part in ("train", "val"):
        write_images(tmp_path / "mine" / part, 4, size=8)
        write_images(tmp_path / "@eaDir" / part, 4, size=8)
    assert found_below(tmp_path) == ["mine"]
    (mine,) = read_all(["mine"], tmp_path)
    assert "val" not in mine.data
    assert mine.datasets["test"].get_data_info(0)["img_path"] == str(tmp_path / "mine/val/class_0/0000.png")


def test_a_file_that_is_in_no_archive_is_to_be_downloaded_and_not_unpacked(root):
    labels = root / "stanford_cars/cars_test_annos_withlabels.mat"
    labels.unlink()
    with pytest.raises(DataError) as error:
        read_all(["cars"], root)
    assert "unpack" not in str(error.value)
    assert f"{labels} is missing; download stanford_cars/cars_test_annos_withlabels.mat" in str(error.value)
    (root / "stanford_cars/devkit/cars_meta.mat").unlink()
    with pytest.raises(
        DataError, match=r"\(and 1 more\); unpack cars_train.tgz, .* there and download stanford_cars/cars_t"
    ):
        read_all(["cars"], root)
    assert "cars_test_annos_withlabels.mat (a file of its own)" in overview()


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
def test_lists_of_a_split_may_come_from_windows(root, encoding):
    expected = [parts(data)[2] for data in read_all(["sun397", "caltech101"], root)]
    lists = [*(root / "SUN397").rglob("*_01.txt"), *(root / "caltech101/meta").glob("*.txt")]
    assert lists
    for file in lists:
        file.write_bytes(file.read_text().replace("/", "\\").replace("\n", "\r\n").encode(encoding))
    assert [parts(data)[2] for data in read_all(["sun397", "caltech101"], root)] == expected


def test_a_hidden_folder_is_no_class_of_caltech(root):
    for file in (root / "caltech101/meta").glob("*.txt"):
        file.unlink()
    (before,) = read_all(["caltech101"], root)
    write_images(root / "caltech101/101_ObjectCategories/.ipynb_checkpoints", 2, size=8)
    (after,) = read_all(["caltech101"], root)
    assert after.labels("train").tolist() == before.labels("train").tolist()
