"""Writing a sub-network as a plain backbone file, verified before it gets its name.

Nobody can tell from "weights do not match exactly" whether a checkpoint was loaded. So an export is read back into
models built without the super-network, its tensors and its outputs are compared with the active sub-network, and only
then the file appears under its name.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from mmssl_dynamic.errors import ArtifactError
from mmssl_dynamic.export.base import Format, Source
from mmssl_dynamic.export.families import Outputs, architecture_of
from mmssl_dynamic.export.formats import FormatSpec, check_holds, find_format, format_name
from mmssl_dynamic.export.input_images import KEY, InputImages
from mmssl_dynamic.fileio import sidecar_path, weights_fingerprint
from mmssl_dynamic.fingerprints import statistics_fingerprint
from mmssl_dynamic.models.backbones import SuperNetwork
from mmssl_dynamic.models.eval_mode import eval_mode
from mmssl_dynamic.records import plain
from mmssl_dynamic.version import __version__
from mmssl_dynamic.writing import atomic_path, write_json

SCHEMA_VERSION = 3


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
        notes: What else there is to say, a sentence each.
        agreement: How the outputs compare, in words.
    """

    path: Path
    sidecar: Path
    models: tuple[str, ...]
    max_difference: float
    weights_compared: bool = True
    snippet: str = ""
    notes: tuple[str, ...] = ()
    agreement: str = "agree with"

    def __str__(self) -> str:
        weights = "all weights are equal, " if self.weights_compared else ""
        checked = (
            f"wrote {self.path} and read it back into {', '.join(self.models)}: {weights}outputs "
            f"{self.agreement} the active sub-network (largest difference {self.max_difference:.1e})."
        )
        return "\n".join([checked, *self.notes])


def export_subnet(
    net: SuperNetwork,
    name: str,
    out: str | os.PathLike[str],
    format: FormatSpec = "mmpretrain",
    *,
    images: InputImages,
    bn: str = "path",
    provenance: dict[str, Any] | None = None,
) -> ExportReport:
    """Write one sub-network of ``net`` and a sidecar, and verify what was written.

    Args:
        net: The super-network, with BatchNorm statistics of the sub-network set. It is not changed.
        name: Name of the sub-network.
        out: File to write: ``.pth`` or ``.safetensors``, or as the format has it. ``FILE.json`` is written beside it.
        format: One of :data:`~mmssl_dynamic.registry.FORMATS`: ``'torchvision'``, ``'timm'``, ``'mmpretrain'``,
            ``'mmdet'``, ``'onnx'``, ...; or ``'module.Class'`` of a user's own. With options:
            ``dict(type='onnx', opset=17)``.
        images: What the network takes, of its pre-training config: for the sidecar and what there is to paste.
        bn: Where the statistics came from, for the sidecar.
        provenance: More for the sidecar, such as config, checkpoint and bank.

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
    with ExitStack() as stack:
        files = [stack.enter_context(atomic_path(file, size)) for file in writer.files(target)]
        writer.write(source, *files)
        tensors = writer.tensors(source)
        models, difference, compared = _verify(source, writer, tensors, files)
        sidecar = {
            "schema_version": SCHEMA_VERSION,
            "subnet": name,
            "format": format_name(format),
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
    snippet, notes = writer.snippet(source, target), tuple(writer.notes())
    how = models, difference, compared
    return ExportReport(target, sidecar_path(target), *how, snippet, notes, writer.agreement)


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


def check_subnets(net: SuperNetwork, names: Iterable[str], format: FormatSpec) -> None:
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
    source: Source, format: Format, tensors: dict[str, Tensor], files: Sequence[Path]
) -> tuple[tuple[str, ...], float, bool]:
    """Compare every tensor, and every feature map on some batches, of independent models."""
    device = next(source.net.parameters()).device
    with eval_mode(source.net), torch.backends.cudnn.flags(enabled=True, allow_tf32=False):
        batches = [images.to(device) for images in format.batches(source)]
        with source.net.subnet(source.name):
            expected = [source.net.all_outputs(images) for images in batches]
        checked, largest, compared = [], 0.0, True
        for reading in format.read(source, *files):
            if reading.tensors is None:
                compared = False
            else:
                _compare_weights(source.name, reading.model, reading.tensors, tensors)
            for images, maps in zip(batches, expected):
                found = reading.outputs(images)
                largest = max(largest, _compare_outputs(source.name, reading.model, found, maps, format))
            checked.append(reading.model)
    return tuple(checked), largest, compared


def _compare_weights(name: str, model: str, found: dict[str, Tensor], expected: dict[str, Tensor]) -> None:
    for key, tensor in expected.items():
        if key not in found or not torch.equal(found[key].cpu(), tensor):
            raise ArtifactError(
                f"export of '{name}' failed its check: '{key}' read back into {model} differs; nothing was written. "
                "Please report this with the config."
            )


def _compare_outputs(name: str, model: str, found: Outputs, expected: Outputs, format: Format) -> float:
    largest = 0.0
    for index, outputs in found.items():
        difference, scale = float((outputs - expected[index]).abs().max()), float(expected[index].abs().max())
        if not format.deviation(outputs, expected[index]) <= format.tolerance:  # also refuses NaN
            raise ArtifactError(
                f"export of '{name}' failed its check: outputs of {model} differ from the active sub-network by "
                f"{difference:.1e} (largest value {scale:.1e}); nothing was written. {format.remedy}"
            )
        largest = max(largest, difference)
    return largest


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
