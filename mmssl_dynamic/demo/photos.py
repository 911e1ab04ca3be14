"""Demo data: the photographs inside the scikit-image package, cut into unlabelled images and three labelled tasks.

Letters: H W height and width of a window or image, C its channels (1 or 3).
"""

from __future__ import annotations

import csv
import importlib.util
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from mmssl_dynamic.demo.regions import PHOTOS, TASKS, Photo
from mmssl_dynamic.demo.windows import PatchPlan, plan_pretraining, plan_tasks
from mmssl_dynamic.errors import ArtifactError, ConfigError
from mmssl_dynamic.fileio import read_json
from mmssl_dynamic.writing import atomic_folder, write_json

SCHEMA_VERSION = 1
MARKER = "demo_data.json"
_INSTALL = "pip install 'scikit-image>=0.22,<0.27'"
#: Mean of every channel and standard deviation of every image, and how far contrast is raised to get there.
MEAN, CONTRAST, MAX_GAIN = 128.0, 36.0, 8.0


@dataclass(frozen=True)
class DemoData:
    """Where the demo data are.

    Attributes:
        root: The folder.
        pretrain: Unlabelled images.
        tasks: Folder of each task, with train/CLASS and test/CLASS, by its name.
        size: Side of every image in pixels.
        seed: What they were drawn with.
        counts: Number of images by folder: ``pretrain``, ``tasks/textures/train``, ...
    """

    root: Path
    pretrain: Path
    tasks: dict[str, Path]
    size: int
    seed: int
    counts: dict[str, int]


def write_demo_data(out_dir: str | Path, size: int = 32, seed: int = 0, num_pretrain: int = 2048) -> DemoData:
    """Write the demo data as PNG files, or find them already written.

    ``out_dir`` gets ``pretrain/`` (windows of 32 to 160 pixels), ``tasks/NAME/{train,test}/CLASS/`` (see
    :mod:`mmssl_dynamic.demo.regions`), ``patches.csv`` (where each image was cut) and ``demo_data.json``
    (schema version, arguments, counts and the photographs' licences). Train and test images of a photograph come from
    regions that are a window apart, and no image in ``pretrain/`` shares a pixel with one in a ``test/``.

    All images have the same mean colour and contrast: brightness says nothing about the class, and a network has to
    learn what is to be seen. Textures and medical images are also grey and turned at random.

    The folder appears at once when everything is written. Equal arguments give equal files, byte for byte, with the
    same versions of Pillow and NumPy.

    Args:
        out_dir: New or empty folder, or demo data of an earlier call. Those are kept if they are complete and have the
            same arguments, and replaced otherwise.
        size: Side of the images in pixels.
        seed: Chooses the windows.
        num_pretrain: Number of unlabelled images.

    Raises:
        ConfigError: an argument is out of range, scikit-image is missing or comes without its photographs, or
            ``out_dir`` holds other files.
    """
    if size < 8 or num_pretrain < 1 or seed < 0:
        raise ConfigError(
            f"demo data need size >= 8, num_pretrain >= 1 and seed >= 0, not {size}, {num_pretrain}, {seed}."
        )
    root = Path(out_dir)
    arguments = {"size": size, "seed": seed, "num_pretrain": num_pretrain}
    finished = _finished(root, arguments)
    if finished is not None:
        return finished
    _check_replaceable(root)
    photos = load_photos()
    grey = {name: np.asarray(Image.fromarray(pixels).convert("L")) for name, pixels in photos.items()}
    plans = plan_pretraining(grey, num_pretrain, seed) + plan_tasks(grey, seed)
    with atomic_folder(root) as temporary:
        _write(temporary, plans, photos, arguments)
    return _demo_data(root, read_json(root / MARKER, "demo data"))


def load_photos() -> dict[str, np.ndarray]:
    """Read the photographs from scikit-image's package folder; its own functions might download.

    Returns:
        uint8 pixels by name, (H, W) for grey photographs and (H, W, 3) in RGB for the others.

    Raises:
        ConfigError: scikit-image is not installed, or this release has other photographs.
    """
    spec = importlib.util.find_spec("skimage")
    if spec is None or not spec.submodule_search_locations:
        raise ConfigError("the demo data need scikit-image; install it with: pip install 'mmssl-dynamic[demo]'")
    folder = Path(spec.submodule_search_locations[0]) / "data"
    return {photo.name: _load_photo(folder, photo) for photo in PHOTOS}


def _load_photo(folder: Path, photo: Photo) -> np.ndarray:
    try:
        with Image.open(folder / photo.file) as image:
            pixels = np.asarray(image)
    except OSError as error:
        raise ConfigError(
            f"this scikit-image has no photograph {folder / photo.file}; use another: {_INSTALL}"
        ) from error
    if pixels.shape[1::-1] != photo.size:
        raise ConfigError(
            f"photograph {folder / photo.file} has {pixels.shape[1]} x {pixels.shape[0]} pixels, not the expected "
            f"{photo.size[0]} x {photo.size[1]}; install a scikit-image that the demo is made for: {_INSTALL}"
        )
    return pixels


def render(plan: PatchPlan, photo: np.ndarray, size: int) -> Image.Image:
    """Cut one window and bring it to ``size``; no pixel outside the window has an influence."""
    left, top, right, bottom = plan.box
    window = Image.fromarray(np.ascontiguousarray(photo[top:bottom, left:right]))
    if plan.grey:
        window = window.convert("L")
    window = window.resize((size, size), Image.Resampling.LANCZOS)
    pixels = np.asarray(window)
    if plan.flip:
        pixels = pixels[:, ::-1]
    return Image.fromarray(np.ascontiguousarray(_normalised(np.rot90(pixels, plan.turns))))


def _normalised(pixels: np.ndarray) -> np.ndarray:
    """Bring every channel to the same mean, and all channels together to the same standard deviation.

    Args:
        pixels: (H, W) or (H, W, C) uint8.
    """
    values = pixels.astype(np.float64)
    values -= values.mean(axis=(0, 1))
    values *= min(CONTRAST / max(float(values.std()), 1e-6), MAX_GAIN)
    offset = np.full(values.shape[2:], MEAN)
    for _ in range(8):  # cutting off what is brighter than 255 moves the mean, so move it back
        offset += MEAN - np.clip(values + offset, 0, 255).mean(axis=(0, 1))
    return np.clip(np.round(values + offset), 0, 255).astype(np.uint8)


def _write(folder: Path, plans: Sequence[PatchPlan], photos: dict[str, np.ndarray], arguments: dict[str, int]) -> None:
    for parent in sorted({plan.path.rsplit("/", 1)[0] for plan in plans}):
        (folder / parent).mkdir(parents=True)
    for plan in plans:
        render(plan, photos[plan.photo], arguments["size"]).save(folder / plan.path)
    with open(folder / "patches.csv", "w", encoding="utf-8", newline="") as file:
        columns = [column.name for column in fields(PatchPlan)]
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(columns)
        writer.writerows([getattr(plan, column) for column in columns] for plan in plans)
    counts = Counter("/".join(plan.path.split("/")[:3]) if "tasks/" in plan.path else "pretrain" for plan in plans)
    licences = {photo.file: photo.licence for photo in PHOTOS}
    marker = {"schema_version": SCHEMA_VERSION, **arguments, "counts": dict(counts), "licences": licences}
    write_json(folder / MARKER, marker)


def _finished(root: Path, arguments: dict[str, int]) -> DemoData | None:
    """Complete demo data with these arguments, None if there are none."""
    try:
        marker = read_json(root / MARKER, "demo data")
    except ArtifactError:
        return None
    if not isinstance(marker, dict):
        return None
    wanted = {"schema_version": SCHEMA_VERSION, **arguments}
    if any(marker.get(key) != value for key, value in wanted.items()):
        return None
    if not isinstance(marker.get("counts"), dict):
        return None
    found = {name: sum(1 for _ in (root / name).rglob("*.png")) for name in marker["counts"]}
    return _demo_data(root, marker) if found == marker["counts"] else None


def _demo_data(root: Path, marker: dict[str, Any]) -> DemoData:
    return DemoData(
        root=root,
        pretrain=root / "pretrain",
        tasks={task.name: root / "tasks" / task.name for task in TASKS},
        size=marker["size"],
        seed=marker["seed"],
        counts=marker["counts"],
    )


def _check_replaceable(root: Path) -> None:
    """Refuse to touch a folder with anything but demo data in it."""
    if root.exists() and not root.is_dir():
        raise ConfigError(f"{root} is a file; give a folder for the demo data.")
    if root.is_dir() and not (root / MARKER).is_file() and any(root.iterdir()):
        raise ConfigError(f"{root} holds files that are not demo data; give a new or empty folder.")
