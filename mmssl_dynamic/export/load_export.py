"""An exported file becomes a backbone again, by the sidecar beside it."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from mmssl_dynamic.errors import ArtifactError, ConfigError, SubnetError, first_line
from mmssl_dynamic.export.base import Format
from mmssl_dynamic.export.families import Architecture, architecture_from_sidecar
from mmssl_dynamic.export.input_images import InputImages
from mmssl_dynamic.export.static_export import SCHEMA_VERSION
from mmssl_dynamic.fileio import load_state_dict, local_file, read_json, sidecar_path, weights_fingerprint
from mmssl_dynamic.own_classes import named_class
from mmssl_dynamic.records import RecordError, read_record
from mmssl_dynamic.registry import FORMATS

PREFIX = "backbone."  # of the keys in the format mmpretrain


def load_export(checkpoint: str | os.PathLike[str], subnet: str | None = None, **options: Any) -> nn.Module:
    """The backbone of an exported file, in any of the formats that PyTorch loads.

    Args:
        checkpoint: What ``tools/export.py`` wrote, with ``FILE.json`` beside it.
        subnet: Refuse a file that holds another sub-network than this one.
        options: ``out_indices``, ``frozen_stages``, ``norm_eval`` and ``norm_cfg`` of the backbone.

    Returns:
        A :class:`~mmssl_dynamic.models.StaticNetwork` with the file's weights, in evaluation mode.

    Raises:
        ConfigError: the file is a graph, or an option does not exist.
        ArtifactError: the file or its sidecar is missing or broken, or they do not belong together.
        SubnetError: it holds another sub-network.
    """
    file = weights_file(checkpoint)
    sidecar = read_sidecar(file)
    architecture = sidecar.architecture
    if subnet is not None and subnet != sidecar.subnet:
        raise SubnetError(f"{file} holds the sub-network '{sidecar.subnet}' alone, not '{subnet}'.")
    weights = exported_weights(file, sidecar)
    try:
        backbone = architecture.build(**options)
    except TypeError as error:
        raise ConfigError(f"the backbone in {file} does not take these options: {first_line(error)}.") from error
    backbone.load_state_dict(weights, strict=True)
    return backbone.eval()


def exported_weights(file: Path, sidecar: Sidecar) -> dict[str, Tensor]:
    """The weights of an export under the backbone's own names.

    Args:
        file: The export.
        sidecar: What describes it.

    Raises:
        ArtifactError: they do not belong together.
    """
    written = sidecar.check(load_state_dict(file), file)
    weights = known_format(sidecar.format, file).restored(written, sidecar.architecture)
    with torch.device("meta"):  # before the memory is taken that the sidecar asks for
        shapes = {key: tensor.shape for key, tensor in sidecar.architecture.build().state_dict().items()}
    if {key: tensor.shape for key, tensor in weights.items()} != shapes:
        raise ArtifactError(f"{file} does not fit the architecture in {sidecar_path(file)}; export it anew.")
    return weights


@dataclass(frozen=True)
class Sidecar:
    """What ``FILE.json`` beside an export says.

    Attributes:
        subnet: Name of the sub-network.
        format: One of :data:`~mmssl_dynamic.registry.FORMATS`, or ``module.Class`` of a user's own.
        weights_fingerprint: Of the file's tensors.
        architecture: Of the network.
        images: What it takes.
    """

    subnet: str
    format: str
    weights_fingerprint: str
    architecture: Architecture
    images: InputImages

    def check(self, state: Mapping[str, Tensor], file: str | os.PathLike[str]) -> dict[str, Tensor]:
        """The weights of an export under the keys of its format, without prefix.

        Args:
            state: What the file holds.
            file: The file, for the message.

        Raises:
            ArtifactError: the sidecar is of other weights.
        """
        tensors = {key.removeprefix(PREFIX): tensor for key, tensor in state.items()}
        if weights_fingerprint(tensors) != self.weights_fingerprint:
            raise ArtifactError(f"{file} holds other weights than {sidecar_path(file)} describes; export both anew.")
        return tensors


@dataclass(frozen=True)
class _Header:
    """What of it is read first."""

    schema_version: int
    subnet: str
    format: str
    weights_fingerprint: str


def weights_file(checkpoint: str | os.PathLike[str]) -> Path:
    """The file of an export that PyTorch loads.

    Raises:
        ConfigError: it is a graph.
        ArtifactError: it is missing.
    """
    file = local_file(checkpoint)
    if file.suffix not in Format.suffixes:
        raise ConfigError(
            f"{file} is no file of PyTorch weights; give an export of weights, such as --format mmpretrain."
        )
    return file


def read_sidecar(file: Path) -> Sidecar:
    """The sidecar of an export.

    Args:
        file: The export itself.

    Raises:
        ArtifactError: it is missing, broken, or of another version of the package.
    """
    path = sidecar_path(file)
    if not path.is_file():
        raise ArtifactError(
            f"{file} has no {path.name} beside it, which tells its architecture: keep the two files that "
            "tools/export.py writes together, or name the model."
        )
    data = read_json(path, "sidecar")
    try:
        header = read_record(_Header, data)
    except RecordError as error:
        raise ArtifactError(
            f"{path} is not the sidecar of an export ({error}); write it with tools/export.py."
        ) from error
    if header.schema_version != SCHEMA_VERSION:
        raise ArtifactError(
            f"{path} was written by another version of the package (schema {header.schema_version}, this one has "
            f"{SCHEMA_VERSION}); export the sub-network anew."
        )
    try:
        architecture, images = architecture_from_sidecar(data), InputImages.from_sidecar(data)
    except ArtifactError as error:
        raise ArtifactError(f"{path}: {error}") from error
    known_format(header.format, path)
    return Sidecar(header.subnet, header.format, header.weights_fingerprint, architecture, images)


def known_format(name: str, file: Path) -> Format:
    """The format that a sidecar names; nothing is imported for it.

    Args:
        name: Its name.
        file: The sidecar, or the export, for the message.

    Raises:
        ArtifactError: it is not there.
    """
    try:
        return named_class(FORMATS, name, Format, imports=False)()
    except ConfigError as error:
        raise ArtifactError(
            f"{file} names the export format '{name}', which is not there; update the package, or import the module "
            "with the format first."
        ) from error
