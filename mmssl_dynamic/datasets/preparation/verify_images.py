"""Decode every image once, before hours of training find the broken one."""

from __future__ import annotations

import io
import os
import statistics
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from PIL import Image
from tqdm import tqdm

from mmssl_dynamic.datasets.load_image import (
    MAX_ASPECT,
    PACKED_REMEDY,
    REMEDY,
    decoded,
    packed_name,
    printable,
    read_bytes,
)
from mmssl_dynamic.datasets.lost_data import suspicion
from mmssl_dynamic.datasets.packed_images import PackedImages, Place
from mmssl_dynamic.errors import ConfigError, DataError
from mmssl_dynamic.writing import write_text

_CHUNK = 32  # images per job: few enough that the bar moves, enough that a million images are no million jobs
# What is packed is opened, and held, for one thread; decoders take longer, and work outside of it.
_one_reader = threading.Lock()


@dataclass(frozen=True)
class ImageFacts:
    """What decoding one image showed: the one-sentence problem, or else its kind ('JPEG RGB') and size in pixels.

    The path of one that is packed is its name, and what holds it. A suspicion is a sentence about a file that can be
    used and may not be what it was.
    """

    path: str
    problem: str | None = None
    suspicion: str | None = None
    kind: str = ""
    width: int = 0
    height: int = 0


@dataclass
class ImageReport:
    """Findings over a data set, in its order.

    Attributes:
        num_images: Files looked at.
        unreadable: (path, one-sentence problem) of every file that cannot be decoded; a training refuses them.
        suspect: (path, one sentence) of files that a training takes, and that may have lost a part.
        kinds: Number of readable files by format and Pillow mode, such as 'JPEG RGB'.
        widths: Of the readable files, upright, in pixels.
        heights: Likewise.
        packed: Whether paths are those of packed images, and not of files.
    """

    num_images: int = 0
    unreadable: list[tuple[str, str]] = field(default_factory=list)
    suspect: list[tuple[str, str]] = field(default_factory=list)
    kinds: Counter[str] = field(default_factory=Counter)
    widths: list[int] = field(default_factory=list)
    heights: list[int] = field(default_factory=list)
    packed: bool = False

    def add(self, facts: ImageFacts) -> None:
        """Count one file."""
        self.num_images += 1
        if facts.problem is not None:
            self.unreadable.append((facts.path, facts.problem))
            return
        if facts.suspicion is not None:
            self.suspect.append((facts.path, facts.suspicion))
        self.kinds[facts.kind] += 1
        self.widths.append(facts.width)
        self.heights.append(facts.height)

    def lines(self) -> list[str]:
        """The findings as lines of text, one sentence for each unreadable and each suspect file last."""
        lines = [f"images      {self.num_images}", f"unreadable  {len(self.unreadable)}"]
        lines += [f"suspect     {len(self.suspect)}"] if self.suspect else []
        lines += [f"  {count:>9} {kind}" for kind, count in self.kinds.most_common()]
        for name, values in (("width", self.widths), ("height", self.heights)):
            if values:
                lines.append(f"{name:<11} {min(values)} to {max(values)}, median {statistics.median(values):g} px")
        return lines + [sentence for _, sentence in (*self.unreadable, *self.suspect)]

    def write_unreadable(self, path: str | os.PathLike[str]) -> None:
        """Write the absolute paths of the unreadable files, one a line.

        Raises:
            DataError: the images are packed.
        """
        if self.packed:
            raise DataError("packed images are no files that could be deleted; pack the data set anew without them.")
        write_text(path, "".join(f"{Path(image).absolute()}\n" for image, _ in self.unreadable))


def inspect_image(path: str, place: Place | None = None) -> ImageFacts:
    """Decode one image completely, exactly as :class:`~mmssl_dynamic.datasets.load_image.LoadImage` does.

    Args:
        path: The file, or the name of an image that is packed.
        place: Where that is.
    """
    name = path if place is None else packed_name(path, place)
    try:
        data = read_bytes(path) if place is None else _packed_bytes(name, place)
        height, width = decoded(data, name, remedy=REMEDY if place is None else PACKED_REMEDY).shape[:2]
    except DataError as error:
        return ImageFacts(name, problem=str(error))
    doubt = suspicion(data)
    if max(height, width) > MAX_ASPECT * min(height, width):
        doubt = f"{width} x {height} pixels: of so thin an image only the middle is used"
    sentence = None if doubt is None else f"image {printable(name)} should be looked at ({doubt})."
    try:
        with Image.open(io.BytesIO(data)) as image:
            kind = f"{image.format} {image.mode}"
    except OSError:  # one of the TIFFs that only OpenCV knows
        kind = "TIFF other"
    return ImageFacts(name, None, sentence, kind, width, height)


def _packed_bytes(name: str, place: Place) -> bytes:
    try:
        with _one_reader:
            return place.read()
    except DataError as error:  # which names no more than what holds the image
        raise DataError(f"image {printable(name)} is lost: {error}") from error


def verify_images(dataset: Any, workers: int | None = None, progress: bool = True) -> ImageReport:
    """Decode all images of a data set and report the ones that cannot be used.

    Args:
        dataset: A data set of mmpretrain's kind, whose samples have ``img_path``; packed images, which are read in the
            order that they lie in on disk; or a sequence of paths.
        workers: Threads (decoders work outside Python's lock). Defaults to the number of CPUs, at most 16.
        progress: Whether to show a bar with the time left.

    Returns:
        The report; nothing is changed or deleted.

    Raises:
        ConfigError: ``workers`` is not positive.
        DataError: the data set keeps its images in memory.
    """
    workers = min(os.cpu_count() or 1, 16) if workers is None else workers
    if workers < 1:
        raise ConfigError(f"workers={workers} must be at least 1.")
    count, image, packed = _images(dataset)
    report = ImageReport(packed=packed)
    chunks = [range(start, min(start + _CHUNK, count)) for start in range(0, count, _CHUNK)]

    def inspect(chunk: Sequence[int]) -> list[ImageFacts]:
        return [inspect_image(*image(index)) for index in chunk]

    with (
        ThreadPoolExecutor(workers) as pool,
        tqdm(total=count, desc="images", unit="image", disable=not progress) as bar,
    ):
        try:
            for facts in _flat(pool.map(inspect, chunks)):
                report.add(facts)
                bar.update()
                if facts.problem is not None:
                    bar.set_postfix(unreadable=len(report.unreadable))
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)  # Ctrl-C stops now, not after the remaining images
            raise
    return report


def _flat(groups: Iterator[list[ImageFacts]]) -> Iterator[ImageFacts]:
    for group in groups:
        yield from group


def _images(dataset: Any) -> tuple[int, Callable[[int], tuple[str, Place | None]], bool]:
    """How many there are, what :func:`inspect_image` takes of each, and whether they are packed."""
    if isinstance(dataset, PackedImages):
        order = dataset.as_stored()
        return len(order), lambda index: (dataset.name(order[index]), dataset.place(order[index])), True
    if not hasattr(dataset, "get_data_info"):
        paths = [os.fspath(path) for path in dataset]
        return len(paths), lambda index: (paths[index], None), False
    found: list[tuple[str, Place | None]] = []
    for index in range(len(dataset)):
        sample = dataset.get_data_info(index)
        if sample.get("img_path") is None:
            raise DataError(f"data set {type(dataset).__name__} keeps its images in memory; there are none to check.")
        found.append((os.fspath(sample["img_path"]), sample.get("shard")))
    return len(found), found.__getitem__, any(place is not None for _, place in found)
