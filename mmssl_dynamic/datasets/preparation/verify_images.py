"""Decode every image once, before hours of training find the broken one."""

from __future__ import annotations

import io
import os
import statistics
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from PIL import Image
from tqdm import tqdm

from mmssl_dynamic.datasets.load_image import MAX_ASPECT, decoded, printable, read_bytes
from mmssl_dynamic.datasets.lost_data import suspicion
from mmssl_dynamic.errors import ConfigError, DataError
from mmssl_dynamic.writing import write_text

_CHUNK = 32  # images per job: few enough that the bar moves, enough that a million images are no million jobs


@dataclass(frozen=True)
class ImageFacts:
    """What decoding one file showed: the one-sentence problem, or else its kind ('JPEG RGB') and size in pixels.

    A suspicion is a sentence about a file that can be used and may not be what it was.
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
    """

    num_images: int = 0
    unreadable: list[tuple[str, str]] = field(default_factory=list)
    suspect: list[tuple[str, str]] = field(default_factory=list)
    kinds: Counter[str] = field(default_factory=Counter)
    widths: list[int] = field(default_factory=list)
    heights: list[int] = field(default_factory=list)

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
        """Write the absolute paths of the unreadable files, one a line."""
        write_text(path, "".join(f"{Path(image).absolute()}\n" for image, _ in self.unreadable))


def inspect_image(path: str) -> ImageFacts:
    """Decode one file completely, exactly as :class:`~mmssl_dynamic.datasets.load_image.LoadImage` does."""
    try:
        data = read_bytes(path)
        height, width = decoded(data, path).shape[:2]
    except DataError as error:
        return ImageFacts(path, problem=str(error))
    doubt = suspicion(data)
    if max(height, width) > MAX_ASPECT * min(height, width):
        doubt = f"{width} x {height} pixels: of so thin an image only the middle is used"
    sentence = None if doubt is None else f"image {printable(path)} should be looked at ({doubt})."
    try:
        with Image.open(io.BytesIO(data)) as image:
            kind = f"{image.format} {image.mode}"
    except OSError:  # one of the TIFFs that only OpenCV knows
        kind = "TIFF other"
    return ImageFacts(path, None, sentence, kind, width, height)


def verify_images(dataset: Any, workers: int | None = None, progress: bool = True) -> ImageReport:
    """Decode all images of a data set and report the ones that cannot be used.

    Args:
        dataset: A data set of mmpretrain's kind, whose samples have ``img_path``, or a sequence of paths.
        workers: Threads (decoders work outside Python's lock). Defaults to the number of CPUs, at most 16.
        progress: Whether to show a bar with the time left.

    Returns:
        The report; nothing is changed or deleted.

    Raises:
        ConfigError: ``workers`` is not positive.
        DataError: the data set keeps its images in memory, or packed.
    """
    workers = min(os.cpu_count() or 1, 16) if workers is None else workers
    if workers < 1:
        raise ConfigError(f"workers={workers} must be at least 1.")
    paths = _paths(dataset)
    report = ImageReport()
    chunks = [paths[start : start + _CHUNK] for start in range(0, len(paths), _CHUNK)]
    with (
        ThreadPoolExecutor(workers) as pool,
        tqdm(total=len(paths), desc="images", unit="image", disable=not progress) as bar,
    ):
        try:
            for facts in _flat(pool.map(_inspect_all, chunks)):
                report.add(facts)
                bar.update()
                if facts.problem is not None:
                    bar.set_postfix(unreadable=len(report.unreadable))
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)  # Ctrl-C stops now, not after the remaining images
            raise
    return report


def _inspect_all(paths: Sequence[str]) -> list[ImageFacts]:
    return [inspect_image(path) for path in paths]


def _flat(groups: Iterator[list[ImageFacts]]) -> Iterator[ImageFacts]:
    for group in groups:
        yield from group


def _paths(dataset: Any) -> list[str]:
    if not hasattr(dataset, "get_data_info"):
        return [os.fspath(path) for path in dataset]
    paths = []
    for index in range(len(dataset)):
        sample = dataset.get_data_info(index)
        if sample.get("img_path") is None or "shard" in sample:
            where = "packed" if "shard" in sample else "in memory"
            raise DataError(f"data set {type(dataset).__name__} keeps its images {where}; there are no files to check.")
        paths.append(os.fspath(sample["img_path"]))
    return paths
