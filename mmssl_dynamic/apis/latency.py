"""How long exported networks take on this machine: what ``latency`` does."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import numpy as np
import torch
from tqdm import tqdm

from mmssl_dynamic.errors import ArtifactError, ConfigError, first_line
from mmssl_dynamic.evaluation import latency as timing
from mmssl_dynamic.execution import Execution
from mmssl_dynamic.export.base import Format
from mmssl_dynamic.export.formats import installed
from mmssl_dynamic.export.graph_format import GraphFormat
from mmssl_dynamic.export.load_export import Sidecar, known_format, load_export, read_sidecar
from mmssl_dynamic.fileio import read_json, sidecar_path
from mmssl_dynamic.locks import locks_file
from mmssl_dynamic.outputs import check_output_file
from mmssl_dynamic.records import RecordError, read_record
from mmssl_dynamic.selection.device_table import Conditions, DeviceTable, Measurement

PathLike = str | os.PathLike[str]


@dataclass(frozen=True)
class Passes:
    """How a latency is measured.

    Attributes:
        batch_size: Images per pass.
        repeats: Passes that count.
        warm_up: Passes before them.
        threads: Of the CPU.
        image_size: Side of the images in pixels; what the export says when left out.
    """

    batch_size: int = 1
    repeats: int = 50
    warm_up: int = 10
    threads: int = 1
    image_size: int | None = None

    def __post_init__(self) -> None:
        if min(self.batch_size, self.repeats, self.threads, self.image_size or 1) < 1 or self.warm_up < 0:
            raise ConfigError(f"a latency needs positive numbers, not {self}.")


@dataclass(frozen=True)
class _Source:
    """What of a sidecar says which network it is."""

    source_weights_fingerprint: str


@locks_file()
def latency(
    exports: Sequence[PathLike],
    out: PathLike,
    *,
    passes: Passes = Passes(),
    execution: Execution | None = None,
) -> DeviceTable:
    """Measure exports, and write a table of the device. What is in the table already is kept.

    Graphs run in their runtime on the CPU, such as onnxruntime, and files of weights in PyTorch.

    Args:
        exports: Files that ``export`` wrote, with their sidecars, or folders of them; all for one runtime.
        out: The table, a ``.json`` file.
        passes: How.
        execution: Device of PyTorch, the CPU when left out, whether to measure anew what is in the table, and to show a
            bar.

    Returns:
        The table.

    Raises:
        UserError: anything that does not fit; the table stays as it was then.
    """
    execution = Execution.of(execution)
    device, again, progress = execution.device, execution.again, execution.progress
    check_output_file(out, endings=(".json",))
    files = list(dict.fromkeys(file for path in exports for file in _files(Path(path))))
    sidecars = {file: read_sidecar(file) for file in files}
    formats = {file: known_format(sidecar.format, file) for file, sidecar in sidecars.items()}
    runtime = _runtime(formats.values())
    target = torch.device(device or "cpu")
    if target.type != "cpu" and any(isinstance(format, GraphFormat) for format in formats.values()):
        raise ConfigError(f"--device {device}: graphs are timed on the CPU; leave it out.")
    kept: list[Measurement] = []
    conditions = _conditions(sidecars, runtime, target, passes)
    if Path(out).is_file() and not again:
        table = DeviceTable.load(out)
        if table.conditions != conditions:
            raise ConfigError(
                f"{out} was measured otherwise ({table.conditions}), and now it would be {conditions}; give another "
                "--out, or --again to measure all of it anew."
            )
        kept = table.entries
    known = {entry.weights_fingerprint for entry in kept}
    new = [file for file in files if sidecars[file].weights_fingerprint not in known]
    for file in tqdm(new, desc="latency", unit="network", disable=not progress):
        kept = [*kept, _measure(file, sidecars[file], formats[file], conditions, target, passes)]
        DeviceTable(conditions, kept).save(out)  # a run that is stopped goes on behind the last network
    return DeviceTable(conditions, kept)


def _files(path: Path) -> list[Path]:
    if not path.is_dir():
        if not path.is_file():
            raise ArtifactError(f"export {path} does not exist; check the path.")
        return [path]
    found = [file for file in sorted(path.iterdir()) if sidecar_path(file).is_file()]
    if not found:
        raise ArtifactError(f"{path} holds no export with its sidecar; write them with tools/export.py --all.")
    return found


def _runtime(formats: Iterable[Format]) -> str:
    """What runs files of these formats, in words.

    Raises:
        ConfigError: several runtimes do, or it is not installed.
    """
    kinds = {(format.runtime, format.precision) for format in formats}
    if len(kinds) != 1:
        raise ConfigError(
            "files for several runtimes (weights, graphs, INT8) run differently; measure them into a table each."
        )
    ((runtime, precision),) = kinds
    if not installed(runtime):
        raise ConfigError(f"timing these graphs needs {runtime}; run `pip install {runtime}`.")
    return " ".join(part for part in (runtime, version(runtime), precision) if part)


def _conditions(sidecars: dict[Path, Sidecar], runtime: str, device: torch.device, passes: Passes) -> Conditions:
    """Of all exports together.

    Raises:
        ConfigError: they take images of several sizes, or do not say.
    """
    if passes.image_size is not None:
        sizes = {(passes.image_size, passes.image_size)}
    else:
        sizes = {sidecar.images.size for sidecar in sidecars.values()}  # type: ignore[misc]
    if len(sizes) != 1 or None in sizes:
        raise ConfigError("the exports do not take images of one size that they tell; give --image-size.")
    threads = passes.threads if device.type == "cpu" else None
    return Conditions(timing.device_name(device), runtime, threads, passes.batch_size, next(iter(sizes)))


def _measure(
    file: Path, sidecar: Sidecar, format: Format, conditions: Conditions, device: torch.device, passes: Passes
) -> Measurement:
    assert conditions.image_size is not None
    if isinstance(format, GraphFormat):
        median, low, high = _of_graph(file, sidecar, format, conditions.image_size, passes)
    else:
        with _threads(passes.threads):
            net = load_export(file).to(device)
            found = timing.latency(net, conditions.image_size, passes.batch_size, passes.repeats, passes.warm_up)
        median, low, high = found.median_ms, found.low_ms, found.high_ms
    try:
        source = read_record(_Source, read_json(sidecar_path(file), "sidecar")).source_weights_fingerprint
    except RecordError as error:
        raise ArtifactError(f"{sidecar_path(file)} is incomplete ({error}); export the sub-network anew.") from error
    return Measurement(sidecar.subnet, median, low, high, source, sidecar.weights_fingerprint, file.name)


def _of_graph(
    file: Path, sidecar: Sidecar, format: GraphFormat, size: tuple[int, int], passes: Passes
) -> tuple[float, float, float]:
    run = format.run(file, passes.threads)
    shape = (passes.batch_size, sidecar.architecture.in_channels, *size)
    images = np.random.default_rng(0).standard_normal(shape).astype(np.float32)
    try:
        return timing.timed(lambda: run(images), passes.repeats, passes.warm_up)
    except Exception as error:  # of any runtime
        raise ConfigError(
            f"{file} does not run on images {' x '.join(map(str, shape))} ({first_line(error)}); give the --batch-size "
            "and --image-size that it was exported with."
        ) from error


@contextmanager
def _threads(count: int) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)
