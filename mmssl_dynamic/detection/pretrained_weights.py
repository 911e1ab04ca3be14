"""Weights that a detector's config names: whether they are there, can be read, and saw images of the same kind."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mmengine.config import Config

from mmssl_dynamic.datasets.normalisation import Normalisation
from mmssl_dynamic.errors import ArtifactError, ConfigError
from mmssl_dynamic.export.load_export import read_sidecar
from mmssl_dynamic.export.static_export import sidecar_path
from mmssl_dynamic.fileio import load_state_dict
from mmssl_dynamic.loading import data_preprocessor

PathLike = str | os.PathLike[str]


def check_weights(config: Config, path: PathLike) -> None:
    """Refuse weights that are not there or cannot be read, of the backbone and of whatever else names some.

    Args:
        config: Of the detector.
        path: Its file, for messages.

    Raises:
        ArtifactError: a file is missing, damaged, or holds more than tensors and plain data.
        ConfigError: the detector normalises images in another way than an export was trained with.
    """
    read: set[str] = set()
    for key, file in _named_weights(config.model, "model"):
        if "://" in file or file in read:
            continue
        if not Path(file).expanduser().is_file():
            remedy = "write them with tools/export.py --format mmdet, or " if key.startswith("model.backbone.") else ""
            raise ArtifactError(
                f"the weights {key}={file} do not exist; {remedy}name others with --cfg-options {key}=FILE."
            )
        if not key.endswith(".bank"):
            load_state_dict(Path(file).expanduser())
        read.add(file)
    for entry in _entries((config.model.get("backbone") or {}).get("init_cfg")):
        export = entry.get("checkpoint")
        if export and sidecar_path(export).is_file():
            check_normalisation(config, path, read_sidecar(Path(export)).images.normalisation, export)


def _named_weights(node: Any, key: str) -> Iterator[tuple[str, str]]:
    """The files of weights that a part of a model names, with the places in the config: init_cfg, pretrained, ..."""
    if isinstance(node, list | tuple):
        for index, child in enumerate(node):
            yield from _named_weights(child, f"{key}.{index}")
    elif isinstance(node, dict):
        for name, child in node.items():
            names_file = name in ("checkpoint", "pretrained", "bank") or name.endswith("_ckpt")
            if isinstance(child, str) and child and names_file:
                yield f"{key}.{name}", child
            else:
                yield from _named_weights(child, f"{key}.{name}")


def _entries(node: Any) -> list[dict[str, Any]]:
    """One or several dicts as a list."""
    return [entry for entry in (node if isinstance(node, list | tuple) else [node]) if isinstance(entry, dict)]


def check_normalisation(config: Config, path: PathLike, expected: Normalisation, source: str) -> None:
    """Refuse a detector that would show its backbone images of another kind than those it was trained with.

    Args:
        config: Of the detector.
        path: Its file, for the message.
        expected: How the pre-training normalised images.
        source: What was pre-trained, for the message.

    Raises:
        ConfigError: the detector normalises them in another way.
    """
    options = data_preprocessor(config)
    while isinstance(options.get("data_preprocessor"), dict):  # of several branches, as in semi-supervised detectors
        options = dict(options["data_preprocessor"])
    # Its type pads images, which a backbone is used to: only what happens to pixels counts.
    found = Normalisation.of({key: value for key, value in options.items() if key != "type"})
    if not found.agrees(expected):
        mean, std, to_rgb = expected.record().values()
        raise ConfigError(
            f"config {path} normalises images with {found.record()}, but {source} was pre-trained with "
            f"{expected.record()}; set model.data_preprocessor to dict(mean={mean}, std={std}, bgr_to_rgb={to_rgb})."
        )
