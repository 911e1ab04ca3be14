"""Files of the eleven transfer data sets, read as torchvision reads them and laid out as it lays them out.

Nothing is downloaded. torchvision has no splits of Caltech-101 and SUN397; these are read here.
"""

from __future__ import annotations

import re
import warnings
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torchvision import datasets

from mmssl_dynamic.datasets.image_listing import class_folders, is_hidden
from mmssl_dynamic.datasets.load_image import printable
from mmssl_dynamic.downstream.task import Task
from mmssl_dynamic.errors import DataError
from mmssl_dynamic.text_lists import read_lines

#: The classes of PASCAL VOC 2007, in the order of their labels.
VOC_CLASSES = (
    *("aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow"),
    *("diningtable", "dog", "horse", "motorbike", "person", "pottedplant", "sheep", "sofa", "train", "tvmonitor"),
)
_CALTECH_TRAIN = 30  # images per class
CALTECH_LISTS = "caltech101-splits"
"""Folder with the split of the protocol, ``train.txt`` and ``test.txt``, as its authors publish it."""
_NAME_AND_LABEL = re.compile(r"(.*\S)[\s;,]+(\d+)")


#: Files, or pixels; and class indices (N,), or (N, K) bool.
Listing = tuple[Sequence[Any] | NDArray[np.uint8], Any]


def _task(
    root: Path,
    train: Listing,
    test: Listing,
    val: Listing | None = None,
    split: str = "predefined",
    classes: Sequence[str] | None = None,
) -> Task:
    """The task of files and labels; the name is that of the folder until it gets its own."""
    listings = {"train": train, "val": val, "test": test}
    data = {part: _images(root, listing, classes) for part, listing in listings.items() if listing is not None}
    return Task(root.name, data, split=split)


def _images(root: Path, listing: Listing, classes: Sequence[str] | None) -> dict[str, Any]:
    files, labels = listing
    truth = np.asarray(labels)
    return {
        "type": "mmssl_dynamic.ListedImages",
        "images": files if isinstance(files, np.ndarray) else [str(file) for file in files],
        "labels": truth if truth.ndim == 2 else truth.astype(np.int64),
        "data_root": str(root),
        "classes": classes,
    }


def _listed(reader: Any) -> Listing:
    # torchvision hands out images alone, decoded; it has kept these names since its readers were written.
    return reader._image_files, reader._labels


def read_aircraft(root: Path) -> Task:
    """FGVC Aircraft, 100 variants."""
    train, val, test = (_listed(datasets.FGVCAircraft(root, split)) for split in ("train", "val", "test"))
    return _task(root, train, test, val)


def read_caltech101(root: Path) -> Task:
    """Caltech-101, 102 classes with the background.

    The data set has no split. That of the protocol is read where its lists are (see :func:`caltech101_lists`; a path
    below ``101_ObjectCategories`` and a label on each line); else 30 images of each class are drawn to train on, and a
    warning says so.
    """
    images = root / "caltech101" / "101_ObjectCategories"
    lists = caltech101_lists(root)
    if lists is not None:
        parts = []
        for list_file in lists:
            found = [_NAME_AND_LABEL.fullmatch(line) for line in read_lines(list_file, "list of images", DataError)]
            if None in found:
                raise DataError(f"line {found.index(None) + 1} of {list_file} is no path and label; correct it.")
            lines = [(match[1].replace("\\", "/").removeprefix("./"), match[2]) for match in found if match]
            parts.append(([images / name for name, _ in lines], [int(label) for _, label in lines]))
        return _task(root, parts[0], parts[1], split=f"{lists[0].parent.name}/train.txt, test.txt")
    warnings.warn(
        f"Caltech-101 has no split of its own: {_CALTECH_TRAIN} images of each class are drawn to train on, which are "
        f"not those of published figures; put the folder {CALTECH_LISTS} of github.com/linusericsson/ssl-transfer into "
        f"{printable(root / 'caltech101')}.",
        stacklevel=2,
    )
    rng = np.random.default_rng(0)
    train: tuple[list[Path], list[int]] = ([], [])
    test: tuple[list[Path], list[int]] = ([], [])
    for label, folder in enumerate(class_folders(images)):
        files = sorted(path for path in folder.glob("*.jpg") if not is_hidden(path.name))
        drawn = set(rng.permutation(len(files))[:_CALTECH_TRAIN].tolist())
        for index, file in enumerate(files):
            part = train if index in drawn else test
            part[0].append(file)
            part[1].append(label)
    return _task(root, train, test, split=f"drawn: {_CALTECH_TRAIN} training images per class, seed 0")


def caltech101_lists(root: Path) -> list[Path] | None:
    """``train.txt`` and ``test.txt`` of a split: the protocol's, in or beside ``caltech101``, or one in ``meta``.

    Raises:
        DataError: one of the two is there alone.
    """
    base = root / "caltech101"
    for folder in (base / CALTECH_LISTS, root / CALTECH_LISTS, base / "meta"):
        files = [folder / f"{part}.txt" for part in ("train", "test")]
        missing = [file for file in files if not file.is_file()]
        if not missing:
            return files
        if len(missing) < len(files):
            raise DataError(f"list {printable(missing[0])} of the split of Caltech-101 is missing; add it.")
    return None


def read_cars(root: Path) -> Task:
    """Stanford Cars, 196 models."""
    samples = [datasets.StanfordCars(root, split)._samples for split in ("train", "test")]
    train, test = (([file for file, _ in part], [label for _, label in part]) for part in samples)
    return _task(root, train, test)


def _cifar(root: Path, reader: Callable[..., Any]) -> Task:
    # Pickled files, which torchvision opens only if their MD5 is that of the originals.
    train, test = (reader(root, train=part) for part in (True, False))
    return _task(root, (train.data, train.targets), (test.data, test.targets))


def read_cifar10(root: Path) -> Task:
    """CIFAR-10."""
    return _cifar(root, datasets.CIFAR10)


def read_cifar100(root: Path) -> Task:
    """CIFAR-100, its 100 fine classes."""
    return _cifar(root, datasets.CIFAR100)


def read_dtd(root: Path) -> Task:
    """Describable Textures, the first of its ten splits."""
    train, val, test = (_listed(datasets.DTD(root, split, partition=1)) for split in ("train", "val", "test"))
    return _task(root, train, test, val, "predefined, split 1")


def read_flowers(root: Path) -> Task:
    """Oxford Flowers-102."""
    train, val, test = (_listed(datasets.Flowers102(root, split)) for split in ("train", "val", "test"))
    return _task(root, train, test, val)


def read_food(root: Path) -> Task:
    """Food-101."""
    train, test = (_listed(datasets.Food101(root, split)) for split in ("train", "test"))
    return _task(root, train, test)


def read_pets(root: Path) -> Task:
    """Oxford-IIIT Pets, 37 breeds."""
    readers = [datasets.OxfordIIITPet(root, split) for split in ("trainval", "test")]
    train, test = ((reader._images, reader._labels) for reader in readers)
    return _task(root, train, test)


def sun397_lists(root: Path) -> tuple[Path, Path]:
    """``Training_01.txt`` and ``Testing_01.txt``, in ``SUN397/Partitions`` or in ``SUN397`` itself."""
    base = root / "SUN397"
    folder = base if (base / "Training_01.txt").is_file() else base / "Partitions"
    return folder / "Training_01.txt", folder / "Testing_01.txt"


def read_sun397(root: Path) -> Task:
    """SUN397, the first of its ten splits."""
    lines = [
        [line.replace("\\", "/").lstrip("/") for line in read_lines(file, "list of images", DataError)]
        for file in sun397_lists(root)
    ]
    classes = {name: k for k, name in enumerate(sorted({str(Path(line).parent) for line in lines[0]}))}
    train, test = (
        ([str(root / "SUN397" / line) for line in part], [classes[str(Path(line).parent)] for line in part])
        for part in lines
    )
    return _task(root, train, test, split="predefined, split 01")


def read_voc2007(root: Path) -> Task:
    """PASCAL VOC 2007: which of 20 classes an image shows. One that is there as a difficult object alone counts not."""
    train, val, test = (_voc(datasets.VOCDetection(root, "2007", split)) for split in ("train", "val", "test"))
    return _task(root, train, test, val, classes=VOC_CLASSES)


def _voc(reader: datasets.VOCDetection) -> Listing:
    labels = np.zeros((len(reader), len(VOC_CLASSES)), dtype=bool)
    for row, file in zip(labels, reader.annotations):
        for thing in ElementTree.parse(file).getroot().iter("object"):
            if thing.findtext("difficult", "0").strip() == "0":
                row[VOC_CLASSES.index(thing.findtext("name", "").strip())] = True
    return reader.images, labels
