"""Annotations and images of a detector, looked at before it trains: what mmdet would trip over, or drop in silence.

Of every data set the annotation file is read once, every image is looked for and looked at its end, and a sample of
them is decoded.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from mmssl_dynamic.datasets.load_image import read_image
from mmssl_dynamic.detection.annotations import Annotations, read_coco, read_voc
from mmssl_dynamic.detection.class_names import refuse_missing
from mmssl_dynamic.errors import DataError, UserNotice, first_line

#: Images that are decoded, evenly spread; of the others only the end is read.
SAMPLE = 256
# Real data sets have a few broken boxes, which mmdet leaves out; more are a mistake in the file.
_TOLERATED = 0.01
_SHOWN = 3
_ENDS = {b"\xff\xd8": b"\xff\xd9", b"\x89P": b"IEND"}  # beginnings of JPEG and PNG, and what their ends hold
_END_BYTES = 2048


@dataclass
class Findings:
    """What is wrong with a data set.

    Attributes:
        examples: By kind, in words such as ``'image{s} {are} not there'``: one example for each case.
        minor: Kinds that are tolerated in small numbers, and of how many there could be.
    """

    examples: dict[str, list[str]] = field(default_factory=dict)
    minor: dict[str, int] = field(default_factory=dict)

    def add(self, kind: str, example: object) -> None:
        """Count a case."""
        self.examples.setdefault(kind, []).append(str(example))

    def is_fatal(self) -> bool:
        """Whether a training would stop, or learn from something else than the user means."""
        return any(
            kind not in self.minor or len(found) > _TOLERATED * self.minor[kind]
            for kind, found in self.examples.items()
        )

    def sentence(self) -> str:
        """All kinds with their numbers and first examples."""
        return "; ".join(
            f"{_counted(kind, len(found))} ({', '.join(found[:_SHOWN])}{', ...' * (len(found) > _SHOWN)})"
            for kind, found in self.examples.items()
        )


def _counted(kind: str, count: int) -> str:
    """``('image{s} {are} not there', 1) -> '1 image is not there'``."""
    many = count != 1
    return f"{count} {kind.format(s='s' * many, es='es' * many, are='are' if many else 'is')}"


def check_detection_data(sets: Iterable[tuple[str, Mapping[str, Any]]], classes: Sequence[str] | None = None) -> None:
    """Look at all data sets of a detector.

    Args:
        sets: For each data set the loader that it belongs to, such as ``'train_dataloader'``, and its config. Those of
            mmdet's COCO and VOC kinds are looked at, others pass.
        classes: The config's option ``classes``, if it has one: all of them have to be among the training images.

    Raises:
        DataError: a data set cannot be trained or tested with; the message names the annotation file, says how many
            cases of what there are, and names the first ones.
    """
    seen: set[str] = set()
    learnt: dict[Path, list[str]] = {}
    for loader, config in sets:
        annotations = _read(loader, config, classes is not None)
        if annotations is not None and loader == "train_dataloader":
            learnt[annotations.file] = annotations.classes
        if annotations is None or annotations.key in seen:
            continue
        seen.add(annotations.key)
        findings = Findings(annotations.problems, annotations.minor)
        check_images(annotations, findings)
        if findings.is_fatal():
            raise DataError(
                f"{loader}: {annotations.file} cannot be used: {findings.sentence()}; mend the annotations or the data."
            )
        if not annotations.boxes:
            raise DataError(
                f"{loader}: {annotations.file} holds no box of the config's classes that can be learnt; give another "
                "annotation file, or set the data set's metainfo=dict(classes=(...)) to its own classes."
            )
        told = [*annotations.notes, *([findings.sentence()] if findings.examples else [])]
        if told:
            warnings.warn(
                UserNotice(f"{annotations.file}: left out or taken as they are: {'; '.join(told)}"), stacklevel=2
            )

    if classes is not None and learnt:
        names = list(dict.fromkeys(name for found in learnt.values() for name in found))
        refuse_missing(", ".join(map(str, learnt)), names, classes, "train_dataloader", True)


def _read(loader: str, config: Mapping[str, Any], one_option: bool) -> Annotations | None:
    """The annotations of a data set, ``None`` of one of a kind that is not known here."""
    from mmdet.datasets import CocoDataset, XMLDataset
    from mmdet.registry import DATASETS

    kind = config["type"] if isinstance(config["type"], type) else DATASETS.get(config["type"])
    root = config.get("data_root") or ""
    file = os.path.join(root, config["ann_file"])
    if not isinstance(kind, type) or "://" in file:
        return None
    classes = (config.get("metainfo") or {}).get("classes") or getattr(kind, "METAINFO", {}).get("classes") or ()
    prefix = {key: os.path.join(root, value) for key, value in (config.get("data_prefix") or {}).items()}
    masks = any(step.get("with_mask") for step in config.get("pipeline") or ())
    if issubclass(kind, CocoDataset):
        return read_coco(Path(file), prefix.get("img", root), tuple(classes), masks, loader, one_option)
    if issubclass(kind, XMLDataset):
        folder, images = config.get("ann_subdir", "Annotations"), config.get("img_subdir", "JPEGImages")
        place = Path(prefix.get("sub_data_root", ""))
        return read_voc(Path(file), place, folder, images, tuple(classes), loader, one_option)
    return None


def check_images(annotations: Annotations, findings: Findings) -> None:
    """Look for all images, at their ends, and into a sample of them."""
    paths = list(annotations.images)
    sample = set(np.linspace(0, len(paths) - 1, min(SAMPLE, len(paths)), dtype=int).tolist())
    findings.minor["image{s} of another size than the annotations say"] = len(sample)
    with ThreadPoolExecutor(min(16, 4 * (os.cpu_count() or 1))) as pool:
        results = pool.map(_look, paths, [index in sample for index in range(len(paths))])
        for path, (problem, size) in zip(paths, results):
            if problem == "missing":
                findings.add("image{s} {are} not there", path)
            elif problem is not None:
                findings.add("image{s} cannot be used", f"{path}: {problem}")
            elif size is not None and annotations.images[path] not in (None, size):
                told, found = annotations.images[path], size
                assert told is not None
                findings.add(
                    "image{s} of another size than the annotations say",
                    f"{path}: {found[0]} x {found[1]}, not {told[0]} x {told[1]}",
                )


def _look(path: str, inside: bool) -> tuple[str | None, tuple[int, int] | None]:
    """What is wrong with an image, and its width and height if it was decoded."""
    try:
        if not inside and _ends_well(path):
            return None, None
        height, width = read_image(path).shape[:2]
    except FileNotFoundError:
        return "missing", None
    except DataError as error:
        if not os.path.lexists(path):
            return "missing", None
        reason = first_line(error).partition(" cannot be used (")[2].partition("); replace")[0]
        return reason or first_line(error), None
    except OSError as error:
        return error.strerror or type(error).__name__, None
    return None, (width, height)


def _ends_well(path: str) -> bool:
    """Whether a JPEG or PNG has an end; other files have to be decoded to know."""
    with open(path, "rb") as file:
        end = _ENDS.get(file.read(2))
        if end is None:
            return False
        file.seek(0, os.SEEK_END)
        file.seek(max(0, file.tell() - _END_BYTES))
        return end in file.read()
