"""The eleven data sets of many-shot transfer (SDR Table 1), and folders of one's own beside them."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from mmssl_dynamic.datasets.image_listing import class_folders
from mmssl_dynamic.datasets.load_image import printable
from mmssl_dynamic.downstream import transfer_readers as readers
from mmssl_dynamic.downstream.folders import is_labelled
from mmssl_dynamic.downstream.task import Task
from mmssl_dynamic.errors import DataError, first_line

PathLike = str | os.PathLike[str]


@dataclass(frozen=True)
class TransferSet:
    """A known data set.

    Attributes:
        name: For ``--datasets``.
        metric: Its usual one: ``'top1'``, ``'mean_per_class'`` or ``'map'``.
        classes: K.
        images: Training (and validation) and test images.
        files: What has to lie below the root.
        archives: What these are unpacked from.
        read: Reads it from the root.
        single: Those of the files that are in no archive, and are downloaded as they are.
    """

    name: str
    metric: str
    classes: int
    images: str
    files: tuple[str, ...]
    archives: str
    read: Callable[[Path], Task]
    single: tuple[str, ...] = ()

    def remedy(self, missing: Sequence[str]) -> str:
        """What to do where some of :attr:`files` are not there."""
        steps = [f"download {file}, which is in no archive" for file in self.single if file in missing]
        if any(file not in self.single for file in missing):
            steps.insert(0, f"unpack {self.archives} there")
        return " and ".join(steps)

    def missing(self, root: Path) -> list[str]:
        """Those of :attr:`files` that are not there."""
        if self.name == "sun397":
            lists = [os.path.relpath(path, root) for path in readers.sun397_lists(root)]
            return [file for file in (self.files[0], *lists) if not (root / file).exists()]
        return [file for file in self.files if not (root / file).exists()]


def _below(folder: str, *files: str) -> tuple[str, ...]:
    return tuple(f"{folder}/{file}" for file in files)


#: By name, in the order of SDR's Table 1.
TRANSFER_SETS = {
    entry.name: entry
    for entry in (
        TransferSet(
            "aircraft",
            "mean_per_class",
            100,
            "3,334 + 3,333 / 3,333",
            _below(
                "fgvc-aircraft-2013b/data",
                *("images", "variants.txt"),
                *("images_variant_train.txt", "images_variant_val.txt", "images_variant_test.txt"),
            ),
            "fgvc-aircraft-2013b.tar.gz",
            readers.read_aircraft,
        ),
        TransferSet(
            "caltech101",
            "mean_per_class",
            102,
            "3,060 / 6,084",
            ("caltech101/101_ObjectCategories",),
            "101_ObjectCategories.tar.gz (and, for the protocol's split, the folder caltech101-splits of "
            "github.com/linusericsson/ssl-transfer)",
            readers.read_caltech101,
        ),
        TransferSet(
            "cars",
            "top1",
            196,
            "8,144 / 8,041",
            _below(
                "stanford_cars",
                *("cars_train", "cars_test", "devkit/cars_train_annos.mat", "devkit/cars_meta.mat"),
                "cars_test_annos_withlabels.mat",
            ),
            "cars_train.tgz, cars_test.tgz, car_devkit.tgz",
            readers.read_cars,
            ("stanford_cars/cars_test_annos_withlabels.mat",),
        ),
        TransferSet(
            "cifar10",
            "top1",
            10,
            "50,000 / 10,000",
            _below("cifar-10-batches-py", "data_batch_1", "test_batch", "batches.meta"),
            "cifar-10-python.tar.gz",
            readers.read_cifar10,
        ),
        TransferSet(
            "cifar100",
            "top1",
            100,
            "50,000 / 10,000",
            _below("cifar-100-python", "train", "test", "meta"),
            "cifar-100-python.tar.gz",
            readers.read_cifar100,
        ),
        TransferSet(
            "dtd",
            "top1",
            47,
            "1,880 + 1,880 / 1,880",
            _below("dtd/dtd", "images", "labels/train1.txt", "labels/val1.txt", "labels/test1.txt"),
            "dtd-r1.0.1.tar.gz",
            readers.read_dtd,
        ),
        TransferSet(
            "flowers",
            "mean_per_class",
            102,
            "1,020 + 1,020 / 6,149",
            _below("flowers-102", "jpg", "imagelabels.mat", "setid.mat"),
            "102flowers.tgz",
            readers.read_flowers,
        ),
        TransferSet(
            "food",
            "top1",
            101,
            "75,750 / 25,250",
            _below("food-101", "images", "meta/train.json", "meta/test.json"),
            "food-101.tar.gz",
            readers.read_food,
        ),
        TransferSet(
            "pets",
            "mean_per_class",
            37,
            "3,680 / 3,669",
            _below("oxford-iiit-pet", "images", "annotations/trainval.txt", "annotations/test.txt"),
            "images.tar.gz, annotations.tar.gz",
            readers.read_pets,
        ),
        TransferSet(
            "sun397",
            "top1",
            397,
            "19,850 / 19,850",
            _below("SUN397", "a", "Partitions/Training_01.txt", "Partitions/Testing_01.txt"),
            "SUN397.tar.gz, Partitions.zip",
            readers.read_sun397,
        ),
        TransferSet(
            "voc2007",
            "map",
            20,
            "2,501 + 2,510 / 4,952",
            _below(
                "VOCdevkit/VOC2007",
                *("JPEGImages", "Annotations"),
                *("ImageSets/Main/train.txt", "ImageSets/Main/val.txt", "ImageSets/Main/test.txt"),
            ),
            "VOCtrainval_06-Nov-2007.tar, VOCtest_06-Nov-2007.tar",
            readers.read_voc2007,
        ),
    )
}


def read_all(names: Sequence[str] | None, root: PathLike, pipeline: Sequence[dict] = ()) -> list[Task]:
    """Read data sets, and check that every image of theirs is there.

    Args:
        names: All known data sets when left out; ``['found']``: all that lie there. Else names of known data sets, or
            of folders ``root/NAME`` with ``train/CLASS``, ``test/CLASS`` and, if there is one, ``val/CLASS``, which is
            the test set where there is no ``test``. A known data set may lie so, too.
        root: Folder of all data sets.
        pipeline: What images go through.

    Raises:
        DataError: some cannot be used; one sentence for each.
    """
    base = Path(root)
    if not base.is_dir():
        raise DataError(f"--data-root {printable(base)} does not exist; give the folder of the data sets.")
    if names is None:
        names = list(TRANSFER_SETS)
    elif list(names) == ["found"]:
        names = found_below(base)
    if not names:
        raise DataError("there is no data set to transfer to; name at least one.")
    found, problems = [], []
    for name in dict.fromkeys(names):
        try:
            task = replace(_read(name, base), name=name, pipeline=pipeline)
            if any("images" in listing and not len(listing["images"]) for listing in task.data.values()):
                raise DataError(f"data set {name} has no images; unpack it anew.")
            _ = task.images  # looks at every file
            found.append(task)
        except DataError as error:
            problems.append(str(error))
    if problems:
        raise DataError("\n       ".join(problems))
    return found


def _read(name: str, root: Path) -> Task:
    known = TRANSFER_SETS.get(name)
    if known is None or (known.metric != "map" and (root / name / "train").is_dir() and known.missing(root)):
        if known is None and not (root / name / "train").is_dir():
            raise DataError(
                f"data set {name} is none of {', '.join(TRANSFER_SETS)}, and {printable(root / name)} has no folder "
                "train/; correct --datasets, or lay it out as train/CLASS and test/CLASS."
            )
        return replace(Task.from_folder(root / name), metric=known.metric if known else "top1")
    missing = known.missing(root)
    if missing:
        more = f" (and {len(missing) - 1} more)" if len(missing) > 1 else ""
        raise DataError(
            f"data set {name} is not complete: {printable(root / missing[0])} is missing{more}; "
            f"{known.remedy(missing)}, or leave {name} out of --datasets."
        )
    try:
        return replace(known.read(root), metric=known.metric)
    except DataError as error:
        raise DataError(f"data set {name}: {error}") from error
    except Exception as error:  # damaged files make their readers raise nearly anything
        raise DataError(
            f"data set {name} in {printable(root)} cannot be read ({first_line(error)}); unpack {known.archives} anew."
        ) from error


def found_below(root: PathLike) -> list[str]:
    """Data sets that seem to be there: known ones, and folders with ``train/`` and ``test/`` or ``val/``.

    Raises:
        DataError: the folder cannot be read.
    """
    base = Path(root)
    known = [name for name, entry in TRANSFER_SETS.items() if not entry.missing(base)]
    folders = [path.name for path in class_folders(base) if is_labelled(path)]
    return known + [name for name in folders if name not in known]


def overview(root: PathLike | None = None) -> str:
    """The known data sets as a table: metric, size, files, and with ``root`` whether they are there."""
    lines = []
    for name, entry in TRANSFER_SETS.items():
        state = ""
        if root is not None:
            missing = entry.missing(Path(root))
            state = "found" if not missing else f"missing {missing[0]}"
            state = f"  [{state}]"
        lines.append(f"{name:<11} {entry.metric:<15} {entry.classes:>4} classes  {entry.images:<22}{state}".rstrip())
        lines += [f"    {file}{' (a file of its own)' * (file in entry.single)}" for file in entry.files]
        lines.append(f"    from {entry.archives}")
    return "\n".join(lines)
