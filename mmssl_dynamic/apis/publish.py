"""Networks for others: what ``publish`` does."""

from __future__ import annotations

import io
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save as to_safetensors

from mmssl_dynamic.budget import Cost
from mmssl_dynamic.errors import ArtifactError, ConfigError
from mmssl_dynamic.evaluation.complexity import complexity
from mmssl_dynamic.evaluation.knn import protocol_text
from mmssl_dynamic.export.formats import installed
from mmssl_dynamic.export.load_export import Sidecar, load_export, read_sidecar, weights_file
from mmssl_dynamic.fileio import load_state_dict, read_json, sidecar_path
from mmssl_dynamic.fingerprints import hash_in_name
from mmssl_dynamic.locks import locks_folder
from mmssl_dynamic.outputs import check_output_folder
from mmssl_dynamic.records import RecordError, read_record
from mmssl_dynamic.selection import TaskCandidates, read_results
from mmssl_dynamic.writing import atomic_folder, write_bytes

PathLike = str | os.PathLike[str]


@dataclass(frozen=True)
class Published:
    """What was written.

    Attributes:
        path: A folder for hubs, or a file of weights.
        model: Name of timm's model; ``None`` of a file.
        max_difference: Of the features that timm's model computes.
    """

    path: Path
    model: str | None = None
    max_difference: float | None = None

    def __str__(self) -> str:
        if self.model is None:
            return f"wrote {self.path}: the weights alone, without the state of the optimiser."
        return (
            f"wrote {self.path} and loaded it with timm.create_model('local-dir:{self.path}', pretrained=True), a "
            f"{self.model}: features agree with the export (largest difference {self.max_difference:.1e})."
        )


@locks_folder()
def publish(
    source: PathLike,
    out: PathLike,
    *,
    license: str | None = None,
    results: Sequence[PathLike] = (),
    name: str | None = None,
) -> Published:
    """Write a network as others load it, under a name that ends in a hash of its weights.

    An export becomes a folder that timm and Hugging Face's hub read: ``model.safetensors``, ``config.json``, and a
    model card ``README.md``. A checkpoint of a run, which has no ``FILE.json`` beside it, becomes a file of its weights
    without the state of the optimiser, which every verb takes in place of the checkpoint.

    Args:
        source: Export in a format of PyTorch, or checkpoint of a run.
        out: Folder for ``NAME-HASH/`` or ``NAME-HASH.pth``.
        license: Of the weights, such as ``'apache-2.0'`` or ``'cc-by-4.0'``: needed for an export.
        results: ``routing.json`` or ``results.json`` of the network's super-network, or their folders, whose figures go
            into the card.
        name: What the hash is appended to; config and sub-network, or the checkpoint's own name, when left out.

    Raises:
        UserError: anything that does not fit; nothing is written then.
    """
    check_output_folder(out)
    file = weights_file(source)
    if name is not None and not re.fullmatch(r"[\w.-]+", name, re.ASCII):
        raise ConfigError(f"--name {name} may have letters, digits, '-', '_' and '.' alone, as names on hubs have.")
    if not sidecar_path(file).is_file():
        if license is not None or results:
            raise ConfigError(
                f"{file} has no {sidecar_path(file).name} beside it, and so is no export but a checkpoint, which gets "
                "no model card: leave --license and --results out, or give an export."
            )
        return _stripped(file, Path(out), name)
    if not license:
        raise ConfigError("a model card needs the weights' licence: give --license, such as apache-2.0 or cc-by-4.0.")
    if not re.fullmatch(r"[a-z0-9][a-z0-9.-]*", license):
        raise ConfigError(
            f"--license {license} is no identifier of a licence as hubs know them: small letters, digits, '-' and '.', "
            "such as apache-2.0 or cc-by-4.0; any other licence is 'other'."
        )
    if not installed("timm"):
        raise ConfigError("publishing an export needs timm; run `pip install timm`.")
    return _as_folder(file, Path(out), license, results, name)


def _stripped(file: Path, out: Path, name: str | None) -> Published:
    state = load_state_dict(file)
    if file.suffix == ".safetensors":
        data = to_safetensors({key: tensor.contiguous() for key, tensor in state.items()})
    else:
        stream = io.BytesIO()
        torch.save({"state_dict": state, "meta": {}}, stream)
        data = stream.getvalue()
    target = out / f"{name or file.stem}-{hash_in_name(data)}{file.suffix}"
    write_bytes(target, data)
    return Published(target)


@dataclass(frozen=True)
class _Origin:
    """What of a sidecar tells where weights come from."""

    source_weights_fingerprint: str
    statistics_fingerprint: str
    source: dict[str, Any] = field(default_factory=dict)


def _as_folder(file: Path, out: Path, license: str, results: Sequence[PathLike], name: str | None) -> Published:
    from mmssl_dynamic.export.hub_folder import CARD, HubModel
    from mmssl_dynamic.export.model_card import Card, Figure

    sidecar = read_sidecar(file)
    try:
        origin = read_record(_Origin, read_json(sidecar_path(file), "sidecar"))
    except RecordError as error:
        raise ArtifactError(f"{sidecar_path(file)} is incomplete ({error}); export the sub-network anew.") from error
    figures = [Figure(*entry) for path in results for entry in _figures(path, file, sidecar, origin)]
    cost = complexity(load_export(file), None, sidecar.images.size or 224)
    model = HubModel.of(file, sidecar, license)
    target = out / f"{name or _name(origin.source, sidecar)}-{model.hash}"
    card = Card(target.name, license, sidecar, origin.source, figures, Cost(cost.macs, cost.params))
    with atomic_folder(target) as folder:
        difference = model.write(folder, file)
        (folder / CARD).write_text(card.text(model), encoding="utf-8")
    return Published(target, model.name, difference)


def _name(source: Mapping[str, Any], sidecar: Sidecar) -> str:
    config = source.get("config")
    stem = Path(config).stem if isinstance(config, str) else sidecar.architecture.family.lower()
    # Hubs take nothing else in names: neither the @ of 0-3-1-2@w0.5 nor what a config of yours is called by.
    return re.sub(r"[^\w.-]+", "-", f"{stem}_{sidecar.subnet}", flags=re.ASCII)


def _figures(path: PathLike, file: Path, sidecar: Sidecar, origin: _Origin) -> Iterator[tuple[str, str, float, str]]:
    """Task, images, accuracy and protocol of the network in a result.

    Raises:
        ArtifactError: the result is of another super-network, does not have the network, or measured it with other
            BatchNorm statistics.
    """
    for task in read_results(path):
        if task.weights_fingerprint != origin.source_weights_fingerprint:
            raise ArtifactError(f"{task.source} is of another super-network than the export; leave it out.")
        found = [candidate for candidate in task.candidates if candidate.name == sidecar.subnet]
        if not found:
            raise ArtifactError(f"{task.source} holds no figure of {sidecar.subnet}; leave it out.")
        (candidate,) = found
        remedy = "leave it out, or compute it anew with the statistics of the export"
        task.check_statistics(candidate.name, origin.statistics_fingerprint, str(file), remedy)
        images, percent = (task.measure, candidate.choice) if candidate.test is None else ("test", candidate.test)
        yield task.task, images, percent, _words(task)


def _words(task: TaskCandidates) -> str:
    protocol = task.protocol
    if {"name", "k", "vote", "temperature"} <= set(protocol):
        return protocol_text(protocol)
    return str(protocol.get("kind", task.measure))
