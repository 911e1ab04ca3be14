"""Annotation files of COCO's and VOC's kinds, read to find what is wrong with them.

Boxes are (left, top, right, bottom) in pixels here, and sizes (width, height).
"""

from __future__ import annotations

import math
import os
import xml.etree.ElementTree as ElementTree
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mmssl_dynamic.detection.class_names import check_order, how_to_name, shown_names
from mmssl_dynamic.errors import DataError, first_line
from mmssl_dynamic.fileio import read_json

_MOST_BYTES = 8 * 2**30  # of a COCO file; the largest has half a GiB
_OUTSIDE = "box{es} outside of the image or without a size"
_POLYGONS = "mask{s} that {are} no polygon of three corners"

Size = tuple[int, int]


@dataclass
class Annotations:
    """What is read of an annotation file.

    Attributes:
        file: The file.
        key: Equal for data sets with equal annotations and images.
        images: Size of each image file as the annotations tell, ``None`` where they do not.
        boxes: Number of boxes that a detector learns from.
        problems: By kind, an example for each case; see :class:`~mmssl_dynamic.detection.data_check.Findings`.
        minor: Kinds of problems that are tolerated in small numbers, and how many there could be.
        notes: What else is left out, in words.
        classes: Names of the classes in the annotations, whether a detector learns them or not.
    """

    file: Path
    key: str
    images: dict[str, Size | None] = field(default_factory=dict)
    boxes: int = 0
    problems: dict[str, list[str]] = field(default_factory=dict)
    minor: dict[str, int] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    classes: list[str] = field(default_factory=list)

    def add(self, kind: str, example: object) -> None:
        """Count a case of a problem."""
        self.problems.setdefault(kind, []).append(str(example))


def read_coco(
    file: Path, folder: str, classes: Sequence[str], masks: bool, loader: str, one_option: bool = False
) -> Annotations:
    """Read a COCO file.

    Args:
        file: The file.
        folder: Of the images.
        classes: That the detector learns, in the order of their labels.
        masks: Whether it learns masks.
        loader: Whose data set it is, for messages.
        one_option: As of :func:`how_to_name`.

    Raises:
        DataError: the file is no COCO file, or has other classes.
        ArtifactError: it is no JSON.
    """
    data = read_json(file, f"{loader}: annotation file", _MOST_BYTES)
    parts = ("images", "annotations", "categories")
    entries: dict[str, list[dict[str, Any]]] = {}
    for part in parts:
        found = data.get(part) if isinstance(data, dict) else None
        if not isinstance(found, list) or not all(isinstance(entry, dict) for entry in found):
            raise DataError(
                f"{loader}: {file} is no annotation file of COCO's kind, as it has no list '{part}'; give one with "
                f"{', '.join(parts)}."
            )
        entries[part] = found
    names = [str(entry.get("name")) for entry in entries["categories"]]
    check_order(file, names, classes, loader, one_option)
    numbers = [_hashable(entry.get("id")) for entry in entries["categories"]]
    known = set(numbers)
    learnt = {number for number, name in zip(numbers, names) if not classes or name in classes}
    result = Annotations(file, f"{file}|{folder}|{classes}|{masks}")
    result.classes = names
    sizes = _coco_images(entries["images"], folder, result)
    result.minor = dict.fromkeys((_OUTSIDE, _POLYGONS), len(entries["annotations"]))
    seen: set[Any] = set()
    for entry in entries["annotations"]:
        number = _hashable(entry.get("id"))
        if number in seen:
            result.add("annotation{s} whose id is given before", number)
        seen.add(number)
        image = _hashable(entry.get("image_id"))
        if image not in sizes:
            result.add("annotation{s} of images that are not listed", f"{number} of image {image}")
        elif _hashable(entry.get("category_id")) not in known:
            result.add("annotation{s} of classes that are not listed", f"{number} of class {entry.get('category_id')}")
        elif entry.get("ignore") or _hashable(entry.get("category_id")) not in learnt:
            continue
        elif _coco_box(entry, sizes[image], result) and (not masks or _coco_mask(entry, sizes[image], result)):
            result.boxes += not entry.get("iscrowd")
    return result


def _coco_images(entries: Sequence[dict[str, Any]], folder: str, result: Annotations) -> dict[Any, Size]:
    """Sizes of the images by their ids."""
    sizes: dict[Any, Size] = {}
    for entry in entries:
        name, number = entry.get("file_name"), _hashable(entry.get("id"))
        width, height = entry.get("width"), entry.get("height")
        if not isinstance(name, str) or not name or not _is_side(width) or not _is_side(height) or number is None:
            result.add("image{s} without id, file_name, width or height", f"{number}: {name}")
            continue
        if number in sizes:
            result.add("image{s} whose id is given before", number)
        path = os.path.join(folder, name)
        if path in result.images:
            result.add("image{s} listed twice", path)
        sizes[number] = result.images[path] = (int(width), int(height))  # type: ignore[arg-type]
    return sizes


def _coco_box(entry: dict[str, Any], size: Size, result: Annotations) -> bool:
    """Whether a box can be learnt."""
    box, area = entry.get("bbox"), entry.get("area", math.nan)
    if not _are_numbers(box, 4) or not _are_numbers([area], 1):
        result.add("annotation{s} without a box of four numbers and an area", entry.get("id"))
        return False
    left, top, width, height = box  # type: ignore[misc]
    if not _check_box((left, top, left + width, top + height), size) or width < 1 or height < 1 or area <= 0:
        result.add(_OUTSIDE, f"annotation {entry.get('id')}: {box} in {size[0]} x {size[1]}")
        return False
    return True


def _coco_mask(entry: dict[str, Any], size: Size, result: Annotations) -> bool:
    """Whether a mask can be learnt: polygons, or run lengths of the image's size."""
    mask = entry.get("segmentation")
    if not mask:
        result.add("object{s} without a mask, which the detector learns", f"annotation {entry.get('id')}")
        return False
    if isinstance(mask, dict):
        fits = mask.get("size") == [size[1], size[0]] and isinstance(mask.get("counts"), list | str)
    else:
        polygons = [part for part in mask if isinstance(part, list)] if isinstance(mask, list) else []
        fits = any(len(part) >= 6 and len(part) % 2 == 0 and _are_numbers(part, len(part)) for part in polygons)
    if not fits:
        result.add(_POLYGONS, f"annotation {entry.get('id')}")
    return fits


def read_voc(
    file: Path,
    root: Path,
    annotations: str,
    images: str,
    classes: Sequence[str],
    loader: str,
    one_option: bool = False,
) -> Annotations:
    """Read the XML files that a list of VOC's kind names.

    Args:
        file: The list.
        root: Folder of the two next ones.
        annotations: Name of the folder of XML files.
        images: Name of the folder of images.
        classes: That the detector learns.
        loader: Whose data set it is, for messages.
        one_option: As of :func:`how_to_name`.

    Raises:
        DataError: the list is no text that mmdet can read.
    """
    data = file.read_bytes()
    if data[:2] in (b"\xff\xfe", b"\xfe\xff") or data[:3] == b"\xef\xbb\xbf":
        raise DataError(
            f"{loader}: list {file} begins with a byte order mark, which mmdet takes for a part of the first name; "
            "save it as plain UTF-8."
        )
    try:
        names = data.decode("utf-8").splitlines()
    except UnicodeDecodeError as error:
        raise DataError(f"{loader}: list {file} is no text in UTF-8 ({error.reason}); save it as UTF-8.") from error
    result = Annotations(file, f"{file}|{root}|{classes}")
    others: list[str] = []
    found: set[str] = set()
    total = 0
    for name in names:
        path = f"{root / images / name}.jpg"
        if path in result.images:
            result.add("name{s} listed twice", name)
        objects = _voc_file(root / annotations / f"{name}.xml", path, result)
        total += len(objects)
        found.update(label for label, *_ in objects)
        for label, example, fits in objects:
            if label not in classes:
                others.append(label)
            elif fits:
                result.boxes += 1
            else:
                result.add(_OUTSIDE, example)
    own, result.classes = sorted(set(others)), sorted(found)
    if own and not result.boxes and _OUTSIDE not in result.problems:
        raise DataError(
            f"{loader}: {file} has the classes {shown_names(own)}, none of which is among the config's "
            f"({shown_names(classes)}); {how_to_name(own, loader, one_option)}."
        )
    if own:
        result.notes.append(f"{len(others)} objects of classes that the config does not name ({shown_names(own)})")
    result.minor = {_OUTSIDE: total}
    return result


def _voc_file(file: Path, image: str, result: Annotations) -> list[tuple[str, str, bool]]:
    """Class of each object of an image, what to call it, and whether its box can be learnt."""
    result.images[image] = None
    try:
        root = ElementTree.parse(file).getroot()
    except OSError:
        result.add("XML file{s} {are} not there", file)
        return []
    except ElementTree.ParseError as error:
        result.add("XML file{s} {are} damaged", f"{file}: {first_line(error)}")
        return []
    try:
        size = root.find("size")
        if size is not None:
            width, height = (int(size.findtext(side, "")) for side in ("width", "height"))
            if width < 1 or height < 1:
                raise ValueError(f"{width} x {height} pixels")
            result.images[image] = (width, height)
        found = []
        for index, thing in enumerate(root.findall("object"), 1):
            corners = [float(thing.findtext(f"bndbox/{corner}", "")) - 1 for corner in ("xmin", "ymin", "xmax", "ymax")]
            known = result.images[image] or (math.inf, math.inf)
            fits = _check_box(corners, known) and corners[2] > corners[0] and corners[3] > corners[1]
            found.append((thing.findtext("name", ""), f"object {index} of {file}", fits))
        return found
    except ValueError as error:
        result.add("XML file{s} without numbers where they should be", f"{file}: {first_line(error)}")
        return []


def _check_box(box: Sequence[float], size: Sequence[float]) -> bool:
    """Whether a part of the box lies in the image."""
    left, top, right, bottom = box
    return min(right, size[0]) > max(left, 0) and min(bottom, size[1]) > max(top, 0)


def _are_numbers(values: Any, count: int) -> bool:
    return (
        isinstance(values, list)
        and len(values) == count
        and all(type(value) in (int, float) and math.isfinite(value) for value in values)
    )


def _is_side(value: Any) -> bool:
    return type(value) in (int, float) and 1 <= value < 2**31


def _hashable(value: Any) -> Any:
    return value if isinstance(value, int | float | str) else None if value is None else repr(value)
