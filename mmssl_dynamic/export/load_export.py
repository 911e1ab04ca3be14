"""An exported file becomes a backbone again, by the sidecar beside it."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from mmssl_dynamic.errors import ArtifactError, ConfigError, SubnetError, first_line
from mmssl_dynamic.export.architecture import Architecture, architecture_from_sidecar, build_backbone
from mmssl_dynamic.export.base import Format
from mmssl_dynamic.export.formats import FORMATS
from mmssl_dynamic.export.static_export import SCHEMA_VERSION, sidecar_path
from mmssl_dynamic.fileio import load_state_dict, local_file, read_json, weights_fingerprint
from mmssl_dynamic.records import RecordError, read_record

PREFIX = "backbone."  # of the keys in the format mmpretrain


def load_export(checkpoint: str | os.PathLike[str], subnet: str | None = None, **options: Any) -> nn.Module:
    """The backbone of an exported file, in any of the formats that PyTorch loads.

    Args:
        checkpoint: What ``tools/export.py`` wrote, with ``FILE.json`` beside it.
        subnet: Refuse a file that holds another sub-network than this one.
        options: ``out_indices``, ``frozen_stages``, ``norm_eval`` and ``norm_cfg`` of the backbone.

    Returns:
        A :class:`~mmssl_dynamic.models.StaticResNet`, or a ``SlimmableMobileNetV3`` of one width, with the file's
        weights, in evaluation mode.

    Raises:
        ConfigError: the file is an ONNX graph, or an option does not exist.
        ArtifactError: the file or its sidecar is missing or broken, or they do not belong together.
        SubnetError: it holds another sub-network.
    """
    file = local_file(checkpoint)
    if file.suffix not in Format.suffixes:
        raise ConfigError(f"{file} is no file of PyTorch weights; give an export in another format than onnx.")
    sidecar, architecture = _read_sidecar(file)
    if subnet is not None and subnet != sidecar.subnet:
        raise SubnetError(f"{file} holds the sub-network '{sidecar.subnet}' alone, not '{subnet}'.")
    tensors = {key.removeprefix(PREFIX): tensor for key, tensor in load_state_dict(file).items()}
    if weights_fingerprint(tensors) != sidecar.weights_fingerprint:
        raise ArtifactError(f"{file} holds other weights than {sidecar_path(file)} describes; export both anew.")
    weights = FORMATS[sidecar.format].restored(tensors, architecture)
    with torch.device("meta"):  # before the memory is taken that the sidecar asks for
        shapes = {key: tensor.shape for key, tensor in build_backbone(architecture).state_dict().items()}
    if {key: tensor.shape for key, tensor in weights.items()} != shapes:
        raise ArtifactError(f"{file} does not fit the architecture in {sidecar_path(file)}; export it anew.")
    try:
        backbone = build_backbone(architecture, **options)
    except TypeError as error:
        raise ConfigError(f"the backbone in {file} does not take these options: {first_line(error)}.") from error
    backbone.load_state_dict(weights, strict=True)
    return backbone.eval()


@dataclass(frozen=True)
class _Sidecar:
    """What is read of ``FILE.json`` beside the architecture."""

    schema_version: int
    subnet: str
    format: str
    weights_fingerprint: str


def _read_sidecar(file: Path) -> tuple[_Sidecar, Architecture]:
    path = sidecar_path(file)
    if not path.is_file():
        raise ArtifactError(
            f"{file} has no {path.name} beside it, which tells its architecture: keep the two files that "
            "tools/export.py writes together, or name the model."
        )
    data = read_json(path, "sidecar")
    try:
        sidecar = read_record(_Sidecar, data)
    except RecordError as error:
        raise ArtifactError(
            f"{path} is not the sidecar of an export ({error}); write it with tools/export.py."
        ) from error
    if sidecar.schema_version != SCHEMA_VERSION or sidecar.format not in FORMATS:
        raise ArtifactError(
            f"{path} was written by another version of the package (schema {sidecar.schema_version}, this one has "
            f"{SCHEMA_VERSION}); export the sub-network anew."
        )
    try:
        return sidecar, architecture_from_sidecar(data)
    except ArtifactError as error:
        raise ArtifactError(f"{path}: {error}") from error
