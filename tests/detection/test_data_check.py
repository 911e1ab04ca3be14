"""Annotations and images of a detector are looked at before it trains; what mmdet would drop in silence is counted."""

from __future__ import annotations

import json
import warnings
from pathlib import Path
from xml.etree import ElementTree

import pytest
from mmdet.datasets import CocoDataset
from PIL import Image

from mmssl_dynamic.detection import data_check
from mmssl_dynamic.detection.data_check import check_detection_data
from mmssl_dynamic.errors import DataError, UserError, UserNotice
from tests.detection_data import write_coco, write_voc

COCO80 = CocoDataset.METAINFO["classes"]


@pytest.fixture
def coco(tmp_path):
    write_coco(tmp_path)
    return tmp_path / "coco"


@pytest.fixture
def voc(tmp_path):
    write_voc(tmp_path)
    return tmp_path / "VOCdevkit"


def coco_set(root: Path, masks: bool = True, **others) -> dict:
    return dict(
        type="CocoDataset",
        data_root=f"{root}/",
        ann_file="annotations/instances_train2017.json",
        data_prefix=dict(img="train2017/"),
        pipeline=[dict(type="LoadAnnotations", with_bbox=True, with_mask=masks)],
        **others,
    )


def voc_set(root: Path, **others) -> dict:
    prefix = dict(sub_data_root="VOC2007/")
    file = "VOC2007/ImageSets/Main/trainval.txt"
    return dict(type="VOCDataset", data_root=f"{root}/", ann_file=file, data_prefix=prefix, pipeline=[], **others)


def check(*sets: dict) -> None:
    check_detection_data([("train_dataloader", config) for config in sets])


def change(root: Path, edit) -> dict:
    """Edit the annotation file in place."""
    file = root / "annotations/instances_train2017.json"
    data = json.loads(file.read_text())
    edit(data)
    file.write_text(json.dumps(data))
    return data


def test_good_sets_of_both_kinds_pass_without_a_word(coco, voc):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        check(coco_set(coco), coco_set(coco, masks=False), voc_set(voc))
    check(dict(type="OpenImagesDataset", ann_file="x.csv"))  # a kind that is not known here


def first(data, **values):
    data["annotations"][0].update(values)


COCO_FAULTS = {
    "an image is gone": (
        lambda root, data: (root / "train2017/000000000001.jpg").unlink(),
        r"1 image is not there \(.*/train2017/000000000001\.jpg\)",
    ),
    "an image is cut": (
        lambda root, data: (root / "train2017/000000000001.jpg").write_bytes(
            (root / "train2017/000000000001.jpg").read_bytes()[:900]
        ),
        r"1 image cannot be used \(.*000000000001\.jpg: a part of its data is lost",
    ),
    "an image is empty": (
        lambda root, data: (root / "train2017/000000000002.jpg").write_bytes(b""),
        r"1 image cannot be used \(.*000000000002\.jpg: it is empty",
    ),
    "an image is larger than told": (
        lambda root, data: Image.new("RGB", (50, 40)).save(root / "train2017/000000000000.jpg"),
        r"1 image of another size than the annotations say \(.*: 50 x 40, not 96 x 96\)",
    ),
    "ids of images": (
        lambda root, data: data["images"][1].update(id=data["images"][0]["id"]),
        "1 image whose id is given before",
    ),
    "ids of annotations": (
        lambda root, data: [entry.update(id=1) for entry in data["annotations"]],
        r"\d+ annotations whose id is given before \(1, 1, 1, \.\.\.\)",
    ),
    "an image that is not listed": (lambda root, data: first(data, image_id=99), r"not listed \(1 of image 99\)"),
    "a class that is not listed": (lambda root, data: first(data, category_id=999), r"not listed \(1 of class 999\)"),
    "negative sizes": (
        lambda root, data: first(data, bbox=[10, 10, -5, 20]),
        r"1 box outside of the image or without a size \(annotation 1: \[10, 10, -5, 20\] in 96 x 96\)",
    ),
    "boxes outside": (lambda root, data: first(data, bbox=[200, 10, 20, 20]), "1 box outside of the image"),
    "corners instead of sizes, relative": (
        lambda root, data: [entry.update(bbox=[0.1, 0.1, 0.4, 0.5]) for entry in data["annotations"]],
        "boxes outside of the image or without a size",
    ),
    "a box of text": (lambda root, data: first(data, bbox="1,2,3,4"), "without a box of four numbers"),
    "no area": (lambda root, data: data["annotations"][0].pop("area"), "without a box of four numbers and an area"),
    "empty masks": (lambda root, data: first(data, segmentation=[]), "1 object without a mask, which the detector"),
    "a polygon of two corners": (lambda root, data: first(data, segmentation=[[1, 2, 3, 4]]), "no polygon of three"),
    "run lengths of another size": (
        lambda root, data: first(data, segmentation=dict(size=[5, 5], counts=[25])),
        "1 mask that is no polygon",
    ),
    "no file name": (lambda root, data: data["images"][0].pop("file_name"), "1 image without id, file_name, width"),
    "width of text": (lambda root, data: data["images"][0].update(width="96"), "1 image without id, file_name, width"),
    "own classes": (
        lambda root, data: [entry.update(name=f"widget{entry['id']}") for entry in data["categories"]],
        r"has the classes widget1, .* and person, bicycle, .* of the config are not among them; set "
        r"train_dataloader\.dataset\.metainfo=dict\(classes=\(\.\.\.\)\), .* num_classes=80",
    ),
    "a class less": (lambda root, data: data["categories"].pop(3), "and motorcycle of the config is not among them"),
    "classes in another order": (
        lambda root, data: data["categories"].reverse(),
        r"lists the classes in another order than the config \(toothbrush, ",
    ),
    "no annotations at all": (lambda root, data: data["annotations"].clear(), "holds no box of the config's classes"),
    "a list is missing": (
        lambda root, data: data.pop("categories"),
        "no annotation file of COCO's kind, .* 'categories'",
    ),
    "a list of numbers": (
        lambda root, data: data.update(images=[1, 2]),
        "no annotation file of COCO's kind, .* 'images'",
    ),
}


@pytest.mark.parametrize("fault", COCO_FAULTS)
def test_faults_of_coco_data_are_one_sentence_with_the_file_numbers_and_examples(coco, fault):
    spoil, message = COCO_FAULTS[fault]
    change(coco, lambda data: spoil(coco, data))
    with pytest.raises(DataError, match=message) as error:
        check(coco_set(coco))
    assert str(error.value).startswith(f"train_dataloader: {coco}/annotations/instances_train2017.json ")
    assert "\n" not in str(error.value)


def test_masks_count_only_where_the_detector_learns_them(coco):
    change(coco, lambda data: [entry.update(segmentation=[]) for entry in data["annotations"]])
    check(coco_set(coco, masks=False))
    with pytest.raises(DataError, match="without a mask"):
        check(coco_set(coco))


@pytest.mark.parametrize("content", [b"[" * 100_000, b"{", b'{"images": NaN}', b"[]", b"\x89PNG"])
def test_what_is_no_json_of_coco_is_refused(coco, content):
    (coco / "annotations/instances_train2017.json").write_bytes(content)
    with pytest.raises(UserError, match=r"train_dataloader: .*instances_train2017\.json"):
        check(coco_set(coco))


def test_a_few_broken_boxes_among_many_are_told_and_taken(coco):
    """COCO itself has some; mmdet leaves them out."""

    def many(data):
        good = data["annotations"][0]
        data["annotations"] += [{**good, "id": 1000 + index} for index in range(300)]
        first(data, bbox=[10, 10, 0, 20])

    change(coco, many)
    with pytest.warns(UserNotice, match=r"1 box outside of the image or without a size \(annotation 1"):
        check(coco_set(coco))


def test_classes_of_ones_own_that_the_config_names_are_fine(coco):
    change(coco, lambda data: [entry.update(name=f"widget{entry['id']}") for entry in data["categories"]])
    check(coco_set(coco, metainfo=dict(classes=tuple(f"widget{i}" for i in range(1, 81)))))


def test_ends_of_images_are_looked_at_beyond_the_sample(coco, monkeypatch):
    monkeypatch.setattr(data_check, "SAMPLE", 1)
    check(coco_set(coco))
    image = coco / "train2017/000000000002.jpg"
    whole = image.read_bytes()
    image.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(DataError, match=r"1 image cannot be used \(.*000000000002\.jpg: a part of its data is lost"):
        check(coco_set(coco))
    image.write_bytes(whole + bytes(100))  # something behind the end is nothing wrong
    check(coco_set(coco))


def xml(root: Path, edit) -> None:
    file = root / "VOC2007/Annotations/2007_000001.xml"
    tree = ElementTree.parse(file)
    edit(tree.getroot())
    tree.write(file)


def rename(thing, name="widget"):
    for entry in thing.iter("name"):
        entry.text = name


def boxes(thing, **corners):
    for corner, value in corners.items():
        for entry in thing.iter(corner):
            entry.text = str(value)


VOC_FAULTS = {
    "an image is gone": (lambda root: (root / "VOC2007/JPEGImages/2007_000001.jpg").unlink(), "1 image is not there"),
    "an annotation is gone": (
        lambda root: (root / "VOC2007/Annotations/2007_000001.xml").unlink(),
        r"1 XML file is not there \(.*2007_000001\.xml\)",
    ),
    "an annotation is damaged": (
        lambda root: (root / "VOC2007/Annotations/2007_000001.xml").write_text("<annotation><object>"),
        "1 XML file is damaged",
    ),
    "a corner is no number": (lambda root: xml(root, lambda it: boxes(it, xmin="left")), "without numbers where they"),
    "boxes outside": (
        lambda root: xml(root, lambda it: boxes(it, xmin=200, xmax=300)),
        r"boxes outside .*\(object 1 of",
    ),
    "corners the wrong way": (lambda root: xml(root, lambda it: boxes(it, ymin=80, ymax=20)), "boxes outside"),
    "another size": (lambda root: xml(root, lambda it: boxes(it, width=960)), "image of another size than"),
    "a name twice": (
        lambda root: (root / "VOC2007/ImageSets/Main/trainval.txt").write_text("2007_000001\n2007_000001\n"),
        "1 name listed twice",
    ),
    "a byte order mark": (
        lambda root: (root / "VOC2007/ImageSets/Main/trainval.txt").write_bytes(b"\xef\xbb\xbf2007_000001\n"),
        "begins with a byte order mark",
    ),
    "own classes": (
        lambda root: [
            file.write_text(file.read_text().replace("<name>", "<name>my ")) for file in root.rglob("2007_*.xml")
        ],
        r"has the classes my car, .*none of which is among the config's \(aeroplane, .*num_classes=3",
    ),
}


@pytest.mark.parametrize("fault", VOC_FAULTS)
def test_faults_of_voc_data_are_one_sentence_too(voc, fault):
    spoil, message = VOC_FAULTS[fault]
    spoil(voc)
    with pytest.raises(DataError, match=message) as error:
        check(voc_set(voc))
    assert str(voc / "VOC2007/ImageSets/Main/trainval.txt") in str(error.value)
    assert "\n" not in str(error.value)


def test_objects_of_other_classes_among_known_ones_are_counted(voc):
    xml(voc, rename)
    with pytest.warns(UserNotice, match=r"\d objects of classes that the config does not name \(widget\)"):
        check(voc_set(voc))
