"""The checkpoints of a training that are there: which of them are whole, and which is the newest."""

from __future__ import annotations

import os
import re
import zipfile
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mmengine.config import Config

from mmssl_dynamic.errors import UserError
from mmssl_dynamic.fileio import load_run_checkpoint

# What mmengine's CheckpointHook calls its files by itself.
_NAMES = ("epoch_{}.pth", "iter_{}.pth")


@dataclass(frozen=True)
class Checkpoints:
    """What is in the folder of a training.

    Attributes:
        folder: The folder.
        newest: The whole checkpoint with the most steps; ``None`` if there is none.
        damaged: Files that cannot be read to their end, by name.
    """

    folder: Path
    newest: Path | None
    damaged: tuple[Path, ...]

    def damaged_names(self) -> str:
        """Names of the damaged ones, for messages."""
        return ", ".join(file.name for file in self.damaged)


def checkpoint_files(config: Config) -> list[Path]:
    """Files of a training's folder that its checkpoints are called; nothing is read."""
    folder, names = _where(config)
    return _named(folder, names)


def find_checkpoints(config: Config) -> Checkpoints:
    """The checkpoints in the folder of a training, wherever that was copied or moved to.

    mmengine's ``last_checkpoint`` is not asked: it holds a path that is another folder's after a copy, and a file it
    names need not be whole.
    """
    folder, names = _where(config)
    return look_through(folder, names)


def go_on_if_begun(config: Config) -> None:
    """Let a training that a folder belongs to go on from its newest whole checkpoint, or else begin."""
    config.resume = find_checkpoints(config).newest is not None
    if config.resume:
        config.load_from = None


def look_through(folder: Path, names: tuple[str, ...] = _NAMES) -> Checkpoints:
    """The checkpoints of a folder.

    Args:
        folder: The folder.
        names: What they are called, with ``{}`` for a number.
    """
    found: list[tuple[int, Path]] = []
    damaged = []
    for file in _named(folder, names):
        steps = _steps(file)
        if steps is None:
            damaged.append(file)
        else:
            found.append((steps, file))
    newest = None
    for _, file in sorted(found, reverse=True):
        if is_whole(file):
            newest = file
            break
        damaged.append(file)
    return Checkpoints(folder, newest, tuple(sorted(damaged)))


def is_whole(file: str | os.PathLike[str]) -> bool:
    """Whether all of a PyTorch file is there, as it was written: ``torch.load`` does not notice lost data."""
    try:
        with zipfile.ZipFile(file) as archive:
            return archive.testzip() is None
    except (zipfile.BadZipFile, zlib.error, OSError, EOFError, ValueError, NotImplementedError):
        return False


def checkpoint_place(work_dir: str | os.PathLike[str], options: Mapping[str, Any]) -> tuple[Path, tuple[str, ...]]:
    """Folder and names of a training's checkpoints, as mmengine's CheckpointHook makes them of its options.

    Args:
        work_dir: Of the training.
        options: Of the hook; ``out_dir`` and ``filename_tmpl`` count.
    """
    folder = Path(work_dir)
    if options.get("out_dir") is not None:
        folder = Path(options["out_dir"]) / folder.absolute().name
    template = options.get("filename_tmpl")
    return folder, _NAMES if template is None else (*_NAMES, template)


def _where(config: Config) -> tuple[Path, tuple[str, ...]]:
    return checkpoint_place(config.work_dir, (config.get("default_hooks") or {}).get("checkpoint") or {})


def _named(folder: Path, names: tuple[str, ...]) -> list[Path]:
    pattern = re.compile("|".join(r"\d+".join(map(re.escape, name.split("{}"))) for name in names))
    if not folder.is_dir():
        return []
    return [file for file in sorted(folder.iterdir()) if pattern.fullmatch(file.name) and file.is_file()]


def _steps(file: Path) -> int | None:
    """Steps of the training that wrote a checkpoint; ``None`` if it cannot be told."""
    try:
        return int(load_run_checkpoint(file, mmap=True)["meta"]["iter"])
    except (UserError, KeyError, TypeError, ValueError):
        return None
