"""Writing a sub-network as a plain backbone file, verified before it gets its name.

Nobody can tell from "weights do not match exactly" whether a checkpoint was loaded. So an export is read back into
models built without the super-network, its tensors and its outputs are compared with the active sub-network, and only
then the file appears under its name.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from mmssl_dynamic.errors import ArtifactError
from mmssl_dynamic.export.base import Reading, Source
from mmssl_dynamic.export.families import Outputs, architecture_of
from mmssl_dynamic.export.formats import check_holds, find_format
from mmssl_dynamic.export.input_images import KEY, InputImages
from mmssl_dynamic.fileio import sidecar_path, weights_fingerprint
from mmssl_dynamic.fingerprints import statistics_fingerprint
from mmssl_dynamic.models.backbones import SuperNetwork
from mmssl_dynamic.models.eval_mode import eval_mode
from mmssl_dynamic.records import plain
from mmssl_dynamic.version import __version__
from mmssl_dynamic.writing import atomic_path, write_json

SCHEMA_VERSION = 3
_TOLERANCE = 1e-4  # of a feature map's largest value; the same operations on equal weights differ by rounding at most


@dataclass(frozen=True)
class ExportReport:
    """What was written and how it was checked.

    Attributes:
        path: The file.
        sidecar: The JSON file beside it.
        models: The models that the file was loaded into and compared in.
        max_difference: Largest absolute difference between their outputs and the active sub-network's.
        weights_compared: Whether the models showed their weights, to be compared one by one.
        snippet: Lines of Python to paste that load the file, imports and normalisation of images included.
    """

    path: Path
    sidecar: Path
    models: tuple[str, ...]
    max_difference: float
    weights_compared: bool = True
    snippet: str = ""

    def __str__(self) -> str:
        weights = "all weights are equal, " if self.weights_compared else ""
        return (
            f"wrote {self.path} and read it back into {', '.join(self.models)}: {weights}outputs agree "
            f"with the active sub-network (largest difference {self.max_difference:.1e})."
        )


def export_subnet(
    net: SuperNetwork,
    name: str,
    out: str | os.PathLike[str],
    format: str = "mmpretrain",
    *,
    images: InputImages,
    bn: str = "path",
    provenance: dict[str, Any] | None = None,
    image_size: int = 64,
) -> ExportReport:
    """Write one sub-network of ``net`` and a sidecar, and verify what was written.

    Args:
        net: The super-network, with BatchNorm statistics of the sub-network set. It is not changed.
        name: Name of the sub-network.
        out: File to write: ``.pth`` or ``.safetensors``, ``.onnx`` for that format. ``FILE.json`` is written beside it.
        format: One of :data:`~mmssl_dynamic.registry.FORMATS`: ``'torchvision'``, ``'timm'``, ``'mmpretrain'``,
            ``'mmdet'`` or ``'onnx'``; or ``'module.Class'`` of a user's own.
        images: What the network takes, of its pre-training config: for the sidecar and what there is to paste.
        bn: Where the statistics came from, for the sidecar.
        provenance: More for the sidecar, such as config, checkpoint and bank.
        image_size: Side of the random images that outputs are compared on, in pixels.

    Raises:
        ConfigError: unknown format or suffix, a missing package, or a shape that the format cannot hold.
        SubnetError: there is no such sub-network.
        MissingStatisticsError: it has no BatchNorm statistics.
        ArtifactError: what was read back differs; the file is gone then.
    """
    target = Path(out)
    writer = find_format(format, target)
    source = source_of(net, name, images)
    name, architecture = source.name, source.architecture
    check_holds(format, name, architecture)
    size = sum(tensor.nbytes for tensor in source.state.values())
    with atomic_path(target, size) as temporary:
        writer.write(source, temporary)
        tensors = writer.tensors(source)
        models, difference, compared = _verify(source, tensors, writer.read(source, temporary), image_size)
        sidecar = {
            "schema_version": SCHEMA_VERSION,
            "subnet": name,
            "format": format,
            "architecture": architecture.record(),
            "out_indices": architecture.out_indices,
            "out_channels": architecture.out_channels,
            KEY: images.record(),
            "bn": bn,
            "source_weights_fingerprint": weights_fingerprint(net.state_dict()),
            "weights_fingerprint": weights_fingerprint(tensors),
            "statistics_fingerprint": statistics_fingerprint(net.bn_statistics(name)),
            "verified": {"models": list(models), "weights_compared": compared, "max_difference": difference},
            "usage": writer.usage(source, target),
            **writer.details(source),
            "mmssl_dynamic": __version__,
            **(provenance or {}),
        }
        write_json(sidecar_path(target), sidecar)
    snippet = writer.snippet(source, target)
    return ExportReport(target, sidecar_path(target), models, difference, compared, snippet)


def source_of(net: SuperNetwork, name: str, images: InputImages) -> Source:
    """A sub-network of ``net`` as the formats take it.

    Raises:
        SubnetError: there is no such sub-network.
        MissingStatisticsError: it has no BatchNorm statistics.
    """
    name = net.space.canonical(name)
    net.bn_statistics(name)  # refuses a sub-network without them
    twin = net.static(name).cpu().eval()
    state = {key: tensor.detach().contiguous().clone() for key, tensor in twin.state_dict().items()}
    return Source(net, name, twin, architecture_of(twin), state, images)


def check_subnets(net: SuperNetwork, names: Iterable[str], format: str) -> None:
    """Refuse sub-networks that a format cannot hold, before any of them is written.

    Raises:
        ConfigError: unknown format, a missing package, or a shape that the format cannot hold.
    """
    find_format(format)
    for name in names:
        with torch.device("meta"):
            architecture = architecture_of(net.plain_twin(name))
        check_holds(format, name, architecture)


def _verify(
    source: Source, tensors: dict[str, Tensor], readings: Iterable[Reading], image_size: int
) -> tuple[tuple[str, ...], float, bool]:
    """Compare every tensor, and every feature map on two batches of other sizes, of independent models."""
    with eval_mode(source.net), torch.backends.cudnn.flags(enabled=True, allow_tf32=False):
        batches = [_images(source, 2, image_size), _images(source, 1, image_size + 32)]
        with source.net.subnet(source.name):
            expected = [source.net.all_outputs(images) for images in batches]
        checked, largest, compared = [], 0.0, True
        for reading in readings:
            if reading.tensors is None:
                compared = False
            else:
                _compare_weights(source.name, reading.model, reading.tensors, tensors)
            for images, maps in zip(batches, expected):
                difference = _compare_outputs(source.name, reading.model, reading.outputs(images), maps)
                largest = max(largest, difference)
            checked.append(reading.model)
    return tuple(checked), largest, compared


def _compare_weights(name: str, model: str, found: dict[str, Tensor], expected: dict[str, Tensor]) -> None:
    for key, tensor in expected.items():
        if key not in found or not torch.equal(found[key].cpu(), tensor):
            raise ArtifactError(
                f"export of '{name}' failed its check: '{key}' read back into {model} differs; nothing was written. "
                "Please report this with the config."
            )


def _compare_outputs(name: str, model: str, found: Outputs, expected: Outputs) -> float:
    largest = 0.0
    for index, outputs in found.items():
        scale = max(float(expected[index].abs().max()), 1e-6)  # of one feature map: others may be far larger
        difference = float((outputs - expected[index]).abs().max())
        if not difference <= _TOLERANCE * scale:  # also refuses NaN
            raise ArtifactError(
                f"export of '{name}' failed its check: outputs of {model} differ from the active sub-network by "
                f"{difference:.1e} (largest value {scale:.1e}); nothing was written. Check that the weights hold no "
                "NaN and report this with the config."
            )
        largest = max(largest, difference)
    return largest


def _images(source: Source, count: int, size: int) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    images = torch.randn(count, source.architecture.in_channels, size, size, generator=generator)
    return images.to(next(source.net.parameters()).device)


def provenance(
    config: str | os.PathLike[str],
    checkpoint: str | os.PathLike[str],
    bank: str | os.PathLike[str] | None,
    task: str | None,
    cfg_options: Mapping[str, Any] | None,
    ranking: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """What an exported file says of where it comes from.

    Args:
        config: Pre-training config.
        checkpoint: Of the run.
        bank: Its BN bank.
        task: What the sub-network was routed for.
        cfg_options: Overrides of the config.
        ranking: Fingerprints of what it was chosen by, such as images and clusters.
    """
    files = {"config": str(config), "checkpoint": str(checkpoint), "bank": None if bank is None else str(bank)}
    source = {**files, "cfg_options": plain(dict(cfg_options or {})), "routed_for": task}
    return {"source": source, **({} if ranking is None else {"ranking": dict(ranking)})}
