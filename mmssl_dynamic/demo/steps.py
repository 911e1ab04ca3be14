"""What the demos of SDR and DSPNet share: their folder, their images, trainings that go on, and the last section."""

from __future__ import annotations

import os
import platform
import shutil
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from mmengine.config import Config
from torch import nn

from mmssl_dynamic.clusters import Clusters
from mmssl_dynamic.datasets.fingerprint import folder_record
from mmssl_dynamic.demo.images import shrink_images
from mmssl_dynamic.demo.photos import write_demo_data
from mmssl_dynamic.downstream.folders import is_labelled, labelled_folders
from mmssl_dynamic.engine.launch import prepare_config, run_training
from mmssl_dynamic.errors import ConfigError
from mmssl_dynamic.export.base import quiet_openmmlab
from mmssl_dynamic.fileio import read_json
from mmssl_dynamic.fingerprints import content_fingerprint, fingerprint, precision
from mmssl_dynamic.loading import build_backbone, load_config, select_device
from mmssl_dynamic.locks import LEFT
from mmssl_dynamic.outputs import check_output_folder
from mmssl_dynamic.result_cache import NOT_USED, KeptFiles, Key
from mmssl_dynamic.version import __version__
from mmssl_dynamic.visualization.report import HtmlReport
from mmssl_dynamic.writing import write_json

# Options that name a file with weights to start from.
_STARTS = ("init_from", "load_from")


_JUDGED = 10  # steps of a network, before which the collapse monitor does not warn about it either


@dataclass
class Clock:
    """Announces the steps and keeps how long each took.

    Args:
        total: Number of steps.
    """

    total: int
    seconds: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def step(self, name: str) -> Iterator[None]:
        """Announce a step and time it."""
        print(f"\n[{len(self.seconds) + 1}/{self.total}] {name}", flush=True)
        start = time.perf_counter()
        yield
        self.seconds[name] = time.perf_counter() - start

    def announce_end(self, report: Path) -> None:
        """Say how long it took and where the report is."""
        minutes = sum(self.seconds.values()) / 60
        print(f"\nDone in {minutes:.1f} minutes. Open {report} in a browser.")


def demo_settings(data: str | Path | None, epochs: int, seed: int, max_images: int) -> dict[str, Any]:
    """What a folder must agree on before a demo goes on in it."""
    path = None if data is None else str(Path(data).resolve())
    return {"data": path, "epochs": epochs, "seed": seed, "max_images": max_images}


def claim(folder: Path, settings: dict[str, Any]) -> None:
    """Note the settings in the folder, or refuse a folder with others.

    Raises:
        ConfigError: the folder holds another demo, or other files.
    """
    check_output_folder(folder)
    note = folder / "demo.json"
    if note.is_file():
        found = read_json(note, "demo settings")
        if found != settings:
            raise ConfigError(
                f"{folder} holds a demo with other settings ({found}); choose another --out or delete the folder."
            )
    elif folder.is_dir() and any(path.name not in LEFT for path in folder.iterdir()):
        raise ConfigError(f"{folder} holds other files; choose an empty or new folder with --out.")
    else:
        write_json(note, settings)


def demo_images(
    steps: KeptFiles, folder: Path, data: str | Path | None, seed: int, max_images: int, minimum: int
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

    Returns:
        The folder of the images, and the folders of the tasks by name.

    Raises:
        UserError: the images cannot be used.
    """
    photos = write_demo_data(folder / "data", seed=seed)
    if data is None:
        return photos.pretrain, dict(photos.tasks)
    tasks = dict(photos.tasks)
    if is_labelled(data):
        labelled_folders(data)  # better refused now than after the training
        tasks[f"your {Path(data).resolve().name}"] = Path(data)
    target, settings = folder / "images", {"limit": max_images, "minimum": minimum}
    key = Key("shrunk images", {"images": folder_record(data).state, "settings": settings})

    def shrink(going_on: bool) -> None:
        if not going_on:
            shutil.rmtree(target, ignore_errors=True)
        shrink_images(data, target, max_images, minimum)

    steps("shrinking images", key, [target], shrink)
    return target, tasks


@contextmanager
def a_core_for_the_loader() -> Iterator[None]:
    """Train with one thread less than there are cores.

    Threads that wait for one that the loader has displaced lose more than they gain: on two cores small networks train
    faster with one thread.
    """
    threads = torch.get_num_threads()
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    torch.set_num_threads(max(1, min(threads, cores - 1)))
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def train_to_end(steps: KeptFiles, config: Path, work_dir: Path, seed: int, options: dict[str, Any]) -> Path:
    """Train to the end, going on from what is there of the same training; returns the last checkpoint.

    Args:
        steps: Does what has not been done.
        config: Pre-training config.
        work_dir: Where logs and checkpoints go.
        seed: Of everything random.
        options: Overrides of the config, ``max_epochs`` among them.
    """
    final = work_dir / f"epoch_{options['max_epochs']}.pth"

    def fit(going_on: bool) -> None:
        if not going_on:
            shutil.rmtree(work_dir, ignore_errors=True)
        overrides = {**options, "randomness.seed": seed, "log_level": "WARNING"}
        with a_core_for_the_loader():
            run_training(prepare_config(config, work_dir=str(work_dir), resume="auto", cfg_options=overrides))

    files = [final, work_dir / "collapse.json", work_dir / "bn_bank.safetensors"]
    steps(f"training {work_dir.name}", Key("training", training_inputs(config, seed, options)), files, fit)
    return final


def training_inputs(config: Path, seed: int, options: Mapping[str, Any]) -> dict[str, Any]:
    """What weights depend on; images, clusters and weights by what they hold, wherever the folder of the demo lies."""
    clusters = options.get("clusters_file")
    start = next((options[key] for key in _STARTS if key in options), None)
    others = {key: value for key, value in options.items() if key not in ("data_root", "clusters_file", *_STARTS)}
    return {
        "config": {"file": fingerprint(load_config(config).to_dict(), f"config {config}"), "options": others},
        "images": content_fingerprint(options["data_root"]),
        "clusters": NOT_USED if clusters is None else Clusters.load(clusters).fingerprint,
        "start": NOT_USED if start is None else content_fingerprint(start),
        "seed": seed,
        "precision": precision(select_device()),
    }


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
