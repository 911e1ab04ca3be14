"""Whether a folder holds ImageNet as it should be, before a week-long run finds out.

What ImageNet-1k has: Russakovsky et al., "ImageNet Large Scale Visual Recognition Challenge", Table 2.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from mmpretrain.datasets import ImageNet
from tqdm import tqdm

from mmssl_dynamic.datasets.image_listing import by_ending, visible_entries, walk_files
from mmssl_dynamic.datasets.load_image import printable
from mmssl_dynamic.datasets.preparation.wordnet import WNID
from mmssl_dynamic.errors import ConfigError, DataError

#: Classes of ImageNet-1k.
NUM_CLASSES = 1000
#: Fewest and most images of a class.
IMAGES_PER_CLASS = {"train": (732, 1300), "val": (50, 50)}
#: Images of all 1,000 classes.
TOTAL_IMAGES = {"train": 1_281_167, "val": 50_000}
_SHOWN = 5  # names in a sentence


@dataclass
class PartReport:
    """What a folder of classes holds, and what is wrong with it.

    Attributes:
        folder: The folder.
        part: 'train' or 'val'.
        counts: Number of images by name of the class folder, sorted.
        images: All image files in class folders, in order.
        problems: Sentences about what training would suffer from.
        notes: Sentences about what it would not.
    """

    folder: str
    part: str
    counts: dict[str, int] = field(default_factory=dict)
    images: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def lines(self) -> list[str]:
        """The findings as lines of text."""
        numbers = self.counts.values()
        per_class = f", {min(numbers)} to {max(numbers)} a class" if numbers else ""
        lines = [f"{self.part:<5} {len(self.counts)} class folders, {len(self.images):,} images{per_class}"]
        lines += [f"  problem: {sentence}" for sentence in self.problems]
        return lines + [f"  note: {sentence}" for sentence in self.notes]


def check_imagenet(
    root: str | os.PathLike[str],
    num_classes: int = NUM_CLASSES,
    images_per_class: tuple[int, int] | None = None,
    progress: bool = True,
) -> list[PartReport]:
    """Count classes and images; nothing is decoded, nothing is changed.

    Args:
        root: Holds ``train/``, ``val/`` or both; or is one of them itself, ``val`` if that is its name.
        num_classes: Class folders there should be.
        images_per_class: Fewest and most images of a class of ``train``. Defaults to :data:`IMAGES_PER_CLASS`; then,
            and with 1,000 classes, the total is checked as well.
        progress: Whether to show a bar with the time left.

    Returns:
        A report for each part.

    Raises:
        ConfigError: a number cannot be.
        DataError: there is no folder, it is empty, or it cannot be read.
    """
    if num_classes < 1:
        raise ConfigError(f"{num_classes} classes cannot be checked; give the number of class folders there should be.")
    if images_per_class is not None and not 0 < images_per_class[0] <= images_per_class[1]:
        raise ConfigError(f"images per class {images_per_class} must be the fewest, at least 1, and the most.")
    reports = []
    for folder, part in _parts(Path(root)):
        own = images_per_class if part == "train" else None
        total = TOTAL_IMAGES[part] if own is None and num_classes == NUM_CLASSES else None
        reports.append(_check_part(folder, part, num_classes, own or IMAGES_PER_CLASS[part], total, progress))
    if not any(report.counts or report.images for report in reports):
        raise DataError(
            f"ImageNet folder {printable(root)} holds no class folders and no images; give the folder that holds "
            "train/ and val/."
        )
    if len(reports) == 1 and reports[0].folder != printable(root):
        missing = "val" if reports[0].part == "train" else "train"
        reports[0].notes.append(f"there is no {missing}/, so only {reports[0].part}/ is checked.")
    if len(reports) == 2 and all(report.counts for report in reports):
        train, val = (set(report.counts) for report in reports)
        if train != val:
            only = _some(sorted(train ^ val))
            reports[1].problems.append(f"its class folders are not those of train: {only} are in one of them only.")
    return reports


def _parts(root: Path) -> list[tuple[Path, str]]:
    """The folders of classes, and what they are."""
    if not root.is_dir():
        raise DataError(
            f"ImageNet folder {printable(root)} does not exist; give the folder that holds train/ and val/."
        )
    below = [(root / part, part) for part in ("train", "val") if (root / part).is_dir()]
    return below or [(root, "val" if root.resolve().name == "val" else "train")]


def _check_part(
    folder: Path, part: str, num_classes: int, per_class: tuple[int, int], total: int | None, progress: bool
) -> PartReport:
    report = PartReport(printable(folder), part)
    entries = [Path(entry.path) for entry in visible_entries(folder)]
    folders = [entry for entry in entries if entry.is_dir()]
    loose = [entry.name for entry in entries if not entry.is_dir()]
    other: list[str] = []
    for entry in tqdm(folders, desc=part, unit="class", disable=not progress):
        files = sorted(walk_files(entry))
        images = [f"{entry}/{name}" for name in files if _is_image(name)]
        other += [f"{entry.name}/{name}" for name in files if not _is_image(name)]
        report.counts[entry.name] = len(images)
        report.images += images
    other += [name for name in loose if not _is_image(name)]
    loose = [name for name in loose if _is_image(name)]
    if folders:
        _judge_classes(report, num_classes, per_class, total)
        if loose:
            report.problems.append(
                f"{len(loose)} images lie outside the class folders, where training does not see them; move or remove "
                f"them: {_some(loose)}."
            )
    elif loose:
        report.images += [f"{folder}/{name}" for name in loose]
        _judge_flat(report)
    else:
        report.problems.append("it holds no class folders and no images; unpack the archive anew.")
    if other:
        kinds = by_ending(Counter(Path(name).suffix.lower() for name in other))
        report.notes.append(f"{len(other)} other files are left out ({kinds}): {_some(other)}.")
    return report


def _judge_flat(report: PartReport) -> None:
    """No class folders: the layout of the original archive of ``val``."""
    count = len(report.images)
    report.problems.append(
        f"{report.folder} is flat, as the original archive unpacks: {count:,} images and no class folders; sort them "
        "into folders named by WNID, which evaluation takes for the classes."
    )
    if report.part == "val" and count != TOTAL_IMAGES["val"]:
        report.problems.append(f"{count:,} images instead of {TOTAL_IMAGES['val']:,}; unpack the archive anew.")


def _judge_classes(report: PartReport, num_classes: int, per_class: tuple[int, int], total: int | None) -> None:
    """Names and number of class folders, and number of images in them."""
    counts, problems = report.counts, report.problems
    if len(counts) != num_classes:
        problems.append(
            f"{len(counts)} class folders instead of {num_classes}; unpack the missing ones, remove others, or give "
            "--classes."
        )
    strange = [printable(name) for name in counts if WNID.fullmatch(name) is None]
    if strange:
        problems.append(
            f"{len(strange)} folders are not named by a WNID ('n' and 8 digits); rename or remove them: "
            f"{_some(strange)}."
        )
    empty = [name for name, count in counts.items() if not count]
    if empty:
        problems.append(f"{len(empty)} class folders hold no image; unpack them anew: {_some(empty)}.")
    low, high = per_class
    wrong = [f"{name} ({count})" for name, count in counts.items() if count and not low <= count <= high]
    if wrong:
        expected = str(low) if low == high else f"{low} to {high}"
        option = ", or give --images-per-class" if report.part == "train" else ""
        problems.append(
            f"{len(wrong)} classes do not have {expected} images; unpack them anew{option}: {_some(wrong)}."
        )
    if total is not None and len(report.images) != total:
        problems.append(f"{len(report.images):,} images instead of {total:,}.")


def _is_image(name: str) -> bool:
    """Whether the configs' data set, mmpretrain's ``ImageNet``, takes the file for an image."""
    return name.lower().endswith(ImageNet.IMG_EXTENSIONS)


def _some(names: Sequence[str]) -> str:
    rest = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(printable(name) for name in names[:_SHOWN]) + rest
