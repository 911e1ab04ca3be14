"""Small copies of the eleven transfer data sets, in the layout and the file formats of the originals.

Every image is plain, as bright as its class: 20 x class + 10, so that labels can be read off the pixels.
"""

import json
import pickle

import numpy as np
import scipy.io
from PIL import Image
from torchvision import datasets

from mmssl_dynamic.downstream.transfer_readers import VOC_CLASSES

STEP = 20


def picture(path, label, size=8):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (size, size), (STEP * label + STEP // 2,) * 3).save(path, quality=95)


def lines(path, rows):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(f"{row}\n" for row in rows))


def aircraft(root):
    base = root / "fgvc-aircraft-2013b/data"
    variants = ["Boeing 707", "A300"]
    lines(base / "variants.txt", variants)
    for index, part in enumerate(("train", "val", "test")):
        rows = [(f"{10 * index + i:07d}", i % 2) for i in range(4)]
        lines(base / f"images_variant_{part}.txt", [f"{name} {variants[k]}" for name, k in rows])
        for name, label in rows:
            picture(base / "images" / f"{name}.jpg", label)


def caltech101(root, per_class=33):
    for label, name in enumerate(("BACKGROUND_Google", "accordion")):
        for i in range(per_class):
            picture(root / "caltech101/101_ObjectCategories" / name / f"image_{i + 1:04d}.jpg", label)


def cars(root):
    base = root / "stanford_cars"
    kind = [("class", "O"), ("fname", "O")]
    (base / "devkit").mkdir(parents=True)
    names = np.array(["Audi", "BMW", "Fiat"], dtype=object)
    scipy.io.savemat(base / "devkit/cars_meta.mat", {"class_names": names})
    for part, file in (("train", "devkit/cars_train_annos.mat"), ("test", "cars_test_annos_withlabels.mat")):
        rows = [(k % 3 + 1, f"{k:05d}.jpg") for k in range(6)]
        scipy.io.savemat(base / file, {"annotations": np.array(rows, dtype=kind)})
        for label, name in rows:
            picture(base / f"cars_{part}" / name, label - 1)


def cifar(root, monkeypatch, reader, key):
    """The files' MD5 sums, which are pinned, are left out of the reader for the time of the test."""
    folder = root / reader.base_folder
    folder.mkdir(parents=True)
    for kind in ("train_list", "test_list"):
        monkeypatch.setattr(reader, kind, [[name, None] for name, _ in getattr(reader, kind)])
        for name, _ in getattr(reader, kind):
            labels = [0, 1, 2, 1]
            red = [np.r_[[STEP * k + STEP // 2] * 1024, np.zeros(2048)] for k in labels]  # one plane after the other
            (folder / name).write_bytes(pickle.dumps({"data": np.array(red, dtype=np.uint8), key: labels}))
    monkeypatch.setattr(reader, "meta", {**reader.meta, "md5": None})
    (folder / reader.meta["filename"]).write_bytes(pickle.dumps({reader.meta["key"]: ["a", "b", "c"]}))


def dtd(root):
    base = root / "dtd/dtd"
    for index, part in enumerate(("train", "val", "test")):
        rows = [
            (name, f"{name}_{index}{i}.jpg", label) for label, name in enumerate(("banded", "dotted")) for i in (0, 1)
        ]
        lines(base / f"labels/{part}1.txt", [f"{name}/{file}" for name, file, _ in rows])
        lines(base / f"labels/{part}2.txt", ["banded/of_another_split.jpg"])
        for name, file, label in rows:
            picture(base / "images" / name / file, label)


def flowers(root, monkeypatch):
    base = root / "flowers-102"
    labels = np.array([1, 2, 2, 1, 1, 2])
    base.mkdir(parents=True)
    scipy.io.savemat(base / "imagelabels.mat", {"labels": labels})
    scipy.io.savemat(base / "setid.mat", {"trnid": [6, 1], "valid": [2, 4], "tstid": [3, 5]})
    for index, label in enumerate(labels):
        picture(base / f"jpg/image_{index + 1:05d}.jpg", label - 1)
    files = {key: (name, None) for key, (name, _) in datasets.Flowers102._file_dict.items()}
    monkeypatch.setattr(datasets.Flowers102, "_file_dict", files)


def food(root):
    base = root / "food-101"
    (base / "meta").mkdir(parents=True)
    for part, first in (("train", 0), ("test", 3)):
        rows = {name: [f"{name}/{i}" for i in range(first, first + 3)] for name in ("waffles", "apple_pie")}
        (base / f"meta/{part}.json").write_text(json.dumps(rows))
        for label, name in enumerate(sorted(rows)):
            for file in rows[name]:
                picture(base / "images" / f"{file}.jpg", label)


def pets(root):
    base = root / "oxford-iiit-pet"
    for part, names in (("trainval", ("Bombay_1", "pug_2", "pug_3")), ("test", ("pug_1", "Bombay_2"))):
        labels = [1 if name.startswith("Bombay") else 2 for name in names]
        lines(base / f"annotations/{part}.txt", [f"{name} {label} 1 1" for name, label in zip(names, labels)])
        for name, label in zip(names, labels):
            picture(base / "images" / f"{name}.jpg", label - 1)


def sun397(root, partitions="SUN397/Partitions"):
    names = ("a/abbey", "a/apse/indoor", "v/van")
    for part, first in (("Training_01", 0), ("Testing_01", 2)):
        rows = [(f"/{name}/sun_{i}.jpg", k) for k, name in enumerate(names) for i in (first, first + 1)]
        lines(root / partitions / f"{part}.txt", [name for name, _ in rows])
        for name, label in rows:
            picture(root / f"SUN397{name}", label)


#: What images of VOC show: classes of plain and of difficult objects.
VOC_IMAGES = {
    "train": [({0}, set()), ({1}, {0}), ({0, 1}, {1})],
    "val": [({0}, set()), ({1}, set())],
    "test": [({0, 1}, set()), (set(), {0})],
}


def voc2007(root):
    base = root / "VOCdevkit/VOC2007"
    for index, (part, images) in enumerate(VOC_IMAGES.items()):
        lines(base / f"ImageSets/Main/{part}.txt", [f"{index}{i:05d}" for i in range(len(images))])
        for i, (plain, difficult) in enumerate(images):
            things = [(k, 0) for k in plain] + [(k, 1) for k in difficult]
            xml = "".join(
                f"<object><name>{VOC_CLASSES[k]}</name><difficult>{hard}</difficult></object>" for k, hard in things
            )
            lines(base / f"Annotations/{index}{i:05d}.xml", [f"<annotation>{xml}</annotation>"])
            picture(base / f"JPEGImages/{index}{i:05d}.jpg", i)


def write_all(root, monkeypatch):
    """All eleven."""
    for write in (aircraft, caltech101, cars, dtd, food, pets, sun397, voc2007):
        write(root)
    flowers(root, monkeypatch)
    cifar(root, monkeypatch, datasets.CIFAR10, "labels")
    cifar(root, monkeypatch, datasets.CIFAR100, "fine_labels")
    return root
