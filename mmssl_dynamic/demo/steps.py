"""What the demos of SDR and DSPNet share beside the steps of the pipeline: their images, and the last section."""

from __future__ import annotations

import platform
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from mmengine.config import Config
from torch import nn

from mmssl_dynamic.datasets.fingerprint import folder_record
from mmssl_dynamic.datasets.packed_folders import count_images
from mmssl_dynamic.demo.images import shrink_images, too_few
from mmssl_dynamic.demo.photos import write_demo_data
from mmssl_dynamic.downstream.folders import is_labelled, labelled_folders
from mmssl_dynamic.errors import ConfigError
from mmssl_dynamic.export.base import quiet_openmmlab
from mmssl_dynamic.loading import build_backbone
from mmssl_dynamic.locks import empty_folders
from mmssl_dynamic.pipeline.steps import check_tasks
from mmssl_dynamic.result_cache import KeptFiles, Key
from mmssl_dynamic.version import __version__
from mmssl_dynamic.visualization.report import HtmlReport

_JUDGED = 10  # steps of a network, before which the collapse monitor does not warn about it either


def demo_settings(data: str | Path | None, epochs: int, seed: int, max_images: int) -> dict[str, Any]:
    """What a folder must agree on before a demo goes on in it."""
    path = None if data is None else str(Path(data).resolve())
    return {"data": path, "epochs": epochs, "seed": seed, "max_images": max_images}


def check_images(data: str | Path | None, max_images: int, minimum: int, tasks: Sequence[str | Path] | None) -> None:
    """Refuse what a demo could not train on or evaluate, before it writes anything; arguments of :func:`demo_images`.

    Raises:
        ConfigError: ``max_images`` is below the minimum, or two tasks have the same name.
        DataError: a task is no labelled folder, or there are too few images.
    """
    if data is not None and max_images < minimum:
        raise ConfigError(
            f"--max-images {max_images} is too few for the demo, which needs at least {minimum} images so that every "
            "network fills its batches; give more."
        )
    if data is not None and (count := count_images(data)) < minimum:
        raise too_few(data, count, minimum)
    if tasks:
        check_tasks(tasks)
    elif data is not None and is_labelled(data):
        labelled_folders(data)


def demo_images(
    steps: KeptFiles,
    folder: Path,
    data: str | Path | None,
    seed: int,
    max_images: int,
    minimum: int,
    own_tasks: Sequence[str | Path] | None = None,
) -> tuple[Path, dict[str, Path]]:
    """The images to pre-train on, and the labelled tasks.

    Args:
        steps: Does what has not been done.
        folder: Of the demo.
        data: Folder of images to pre-train on instead of the photographs; a task of its own, too, if it has
            ``train/`` and ``test/``.
        seed: Of the photographs' windows.
        max_images: Images of ``data`` at most.
        minimum: Images of ``data`` at least.
        own_tasks: Labelled folders in place of the photographs' tasks.

    Returns:
        The folder of the images, and the folders of the tasks by name.

    Raises:
        UserError: the images cannot be used.
    """
    photos = write_demo_data(folder / "data", seed=seed)
    own = {Path(task).resolve().name: Path(task) for task in own_tasks or ()}
    tasks = own or dict(photos.tasks)
    if data is None:
        return photos.pretrain, tasks
    if not own and is_labelled(data):
        tasks[f"your {Path(data).resolve().name}"] = Path(data)
    target, settings = folder / "images", {"limit": max_images, "minimum": minimum}
    key = Key("shrunk images", {"images": folder_record(data).state, "settings": settings})

    def shrink() -> None:
        shrink_images(data, target, max_images, minimum)

    steps("shrinking images", key, [target], shrink, clear=lambda: empty_folders([target]))
    return target, tasks


def random_backbone(config: Config, seed: int) -> nn.Module:
    """The backbone of a config as it is before the first step."""
    torch.manual_seed(seed)
    backbone = build_backbone(config)
    with quiet_openmmlab():
        backbone.init_weights()  # type: ignore[operator]
    return backbone


def collapse_check(health: Mapping[str, float], steps: Mapping[str, int] | None = None) -> str:
    """About the lowest of the values that ``collapse.json`` holds; networks with too few steps are not judged."""
    few = [name for name in health if (steps or {}).get(name, _JUDGED) < _JUDGED]
    judged = [name for name in health if name not in few]
    text = "Collapse check: the std of the normalised projections is 1 when healthy and 0 when collapsed"
    if judged:
        worst = min(judged, key=lambda name: health[name])
        text += f"; the lowest of {len(judged)} networks is {health[worst]:.2f} ({worst})"
    if few:
        text += f"; with fewer than {_JUDGED} steps it says nothing of {', '.join(few)}"
    return f"{text}."


def how_it_was_made(
    page: HtmlReport,
    health: Mapping[str, float],
    seconds: Mapping[str, float],
    settings: Mapping[str, Any],
    more: str,
    steps: Mapping[str, int] | None = None,
) -> None:
    """The last section of a report.

    Args:
        page: The report.
        health: Collapse measure of every network.
        seconds: Of every step.
        settings: Of the demo.
        more: Sentences that end the note on versions.
        steps: Training steps of every network, where they are known.
    """
    page.section("How it was made")
    page.text(collapse_check(health, steps))
    page.table(["step", "seconds"], [[name, value] for name, value in seconds.items()])
    page.text(
        f"mmssl_dynamic {__version__}, python {platform.python_version()}, torch {torch.__version__}. {more}", note=True
    )
    page.facts(settings, summary="Settings")
