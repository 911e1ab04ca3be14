"""Which windows of which photographs become demo images: a plan, drawn from a seed before any pixel is written.

A window is a square of a photograph, (left, top, side) in its pixels. H W height and width of a photograph.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from mmssl_dynamic.demo.regions import PHOTOS, TASKS, Box, DemoClass, DemoTask, Photo

TRAIN_PER_CLASS = 64
TEST_PER_CLASS = 40
#: Standard deviation of the grey values below which a window shows nothing worth an image.
_FLAT = 3.0
#: Sides of windows for pre-training; the upper end shows whole coins, eyes and wheels.
_PRETRAIN_SIDES = (32, 160)
_ATTEMPTS = 10_000


@dataclass(frozen=True)
class PatchPlan:
    """One image to write.

    Attributes:
        path: Relative path of the file, such as ``tasks/textures/train/brick/0003.png``.
        photo: Name of the photograph.
        left: First column of the window.
        top: First row of the window.
        side: Side of the window.
        turns: Quarter turns counter-clockwise, after the flip.
        flip: Whether left and right change places.
        grey: Whether it is turned grey.
    """

    path: str
    photo: str
    left: int
    top: int
    side: int
    turns: int = 0
    flip: bool = False
    grey: bool = False

    @property
    def box(self) -> Box:
        """(left, top, right, bottom), right and bottom exclusive."""
        return self.left, self.top, self.left + self.side, self.top + self.side


def gap_between(first: Box, second: Box) -> int:
    """Columns or rows between two boxes, whichever are more; 0 if they touch, negative if they share pixels."""
    columns = max(first[0], second[0]) - min(first[2], second[2])
    rows = max(first[1], second[1]) - min(first[3], second[3])
    return max(columns, rows)


def held_out_boxes(photo: str) -> list[Box]:
    """The boxes of a photograph that test images of any task come from."""
    return [box for task in TASKS for kind in task.classes if kind.photo == photo for box in kind.test]


def plan_tasks(photos: Mapping[str, np.ndarray], seed: int) -> list[PatchPlan]:
    """Plan the images of all downstream tasks.

    Args:
        photos: Grey values of each photograph, (H, W).
        seed: Any non-negative number.
    """
    plans = []
    for task in TASKS:
        for kind in task.classes:
            for split, boxes, number in (("train", kind.train, TRAIN_PER_CLASS), ("test", kind.test, TEST_PER_CLASS)):
                folder = f"tasks/{task.name}/{split}/{kind.name}"
                plans += _plan_class(folder, task, kind, boxes, number, photos[kind.photo], seed)
    return plans


def plan_pretraining(photos: Mapping[str, np.ndarray], number: int, seed: int) -> list[PatchPlan]:
    """Plan the unlabelled images: windows of all sizes from all photographs that share no pixel with a test box.

    Args:
        photos: Grey values of each photograph, (H, W).
        number: How many images.
        seed: Any non-negative number.
    """
    plans = []
    for photo, share in zip(PHOTOS, _shares(number), strict=True):
        rng, values, kept_out = _rng(seed, f"pretrain/{photo.name}"), photos[photo.name], held_out_boxes(photo.name)
        low = min(_PRETRAIN_SIDES[0], min(photo.size) // 3)
        high = min(_PRETRAIN_SIDES[1], min(photo.size) // 2)
        for index in range(share):
            left, top, side = _draw_free(rng, photo, values, (low, high), kept_out)
            plans.append(PatchPlan(f"pretrain/{photo.name}_{index:04d}.png", photo.name, left, top, side))
    return plans


def _plan_class(
    folder: str, task: DemoTask, kind: DemoClass, boxes: Sequence[Box], number: int, values: np.ndarray, seed: int
) -> list[PatchPlan]:
    rng = _rng(seed, folder)
    plans = []
    for index in range(number):
        left, top, side = _draw_inside(rng, boxes, kind.windows, values)
        turns, flip = (int(rng.integers(4)), bool(rng.integers(2))) if task.turn else (0, False)
        plans.append(PatchPlan(f"{folder}/{index:04d}.png", kind.photo, left, top, side, turns, flip, task.grey))
    return plans


def _rng(seed: int, name: str) -> np.random.Generator:
    """A stream of its own for every class, so that a change to one leaves the others' images as they are."""
    return np.random.default_rng([seed, zlib.crc32(name.encode())])


def _shares(number: int) -> list[int]:
    """Images per photograph, in proportion to the root of its area: large ones show more, but not in proportion."""
    weights = np.sqrt([photo.size[0] * photo.size[1] for photo in PHOTOS])
    ends = np.round(np.cumsum(weights) / weights.sum() * number).astype(int)
    return [int(share) for share in np.diff(ends, prepend=0)]


def _draw_inside(
    rng: np.random.Generator, boxes: Sequence[Box], sides: tuple[int, int], values: np.ndarray
) -> tuple[int, int, int]:
    """A window that lies in one of ``boxes`` and is not flat; every position is equally likely for its side."""
    for _ in range(_ATTEMPTS):
        side = int(rng.integers(sides[0], sides[1] + 1))
        room = np.array([max(box[2] - box[0] - side + 1, 0) * max(box[3] - box[1] - side + 1, 0) for box in boxes])
        box = boxes[int(rng.choice(len(boxes), p=room / room.sum()))]
        left = int(rng.integers(box[0], box[2] - side + 1))
        top = int(rng.integers(box[1], box[3] - side + 1))
        if _shows_something(values, left, top, side):
            return left, top, side
    raise AssertionError(f"no window of {sides} pixels that is not flat in {boxes}")


def _draw_free(
    rng: np.random.Generator, photo: Photo, values: np.ndarray, sides: tuple[int, int], kept_out: Sequence[Box]
) -> tuple[int, int, int]:
    """A window that touches none of ``kept_out`` and is not flat; small and large sides are equally likely."""
    low, high = np.log(sides)
    for _ in range(_ATTEMPTS):
        side = round(float(np.exp(rng.uniform(low, high))))
        left = int(rng.integers(photo.size[0] - side + 1))
        top = int(rng.integers(photo.size[1] - side + 1))
        window = (left, top, left + side, top + side)
        if all(gap_between(window, box) >= 0 for box in kept_out) and _shows_something(values, left, top, side):
            return left, top, side
    raise AssertionError(f"no free window of {sides} pixels in {photo.file}")


def _shows_something(values: np.ndarray, left: int, top: int, side: int) -> bool:
    return float(values[top : top + side, left : left + side].std()) >= _FLAT
