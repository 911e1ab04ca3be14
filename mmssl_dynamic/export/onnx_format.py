"""The format ``onnx``: a graph that any ONNX runtime executes, from images to feature maps."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch
from numpy.typing import NDArray

from mmssl_dynamic.errors import ConfigError
from mmssl_dynamic.export.base import Reading, Source
from mmssl_dynamic.export.graph_format import INPUT, GraphFormat, Run, output_lines, output_names
from mmssl_dynamic.export.onnx_exporters import GraphSpec, write_graph
from mmssl_dynamic.export.snippets import input_lines, with_imports
from mmssl_dynamic.registry import FORMATS

_EXAMPLE = 64  # side of the images that a graph of any size is traced with
_AXES = {0: "batch", 2: "height", 3: "width"}
_OLDEST = 9  # opset without which there is neither BatchNorm nor pooling as here


@FORMATS.register_module("onnx")
class OnnxFormat(GraphFormat):
    """A graph of the operators of ONNX.

    Args:
        opset: Version of the operators; what torch recommends when left out.
        batch_size: N of all images that the graph takes; any when left out.
        image_size: Their H and W; any when left out.
    """

    suffixes = (".onnx",)
    packages = ("onnx", "onnxruntime")
    runtime = "onnxruntime"

    def __init__(self, opset: int | None = None, batch_size: int | None = None, image_size: int | None = None) -> None:
        super().__init__(batch_size, image_size)
        self.opset = opset
        self._written: dict[str, Any] = {}

    def ready(self) -> None:
        """Refuse versions that this onnx does not know."""
        super().ready()
        import onnx

        newest = onnx.defs.onnx_opset_version()
        if self.opset is not None and not (type(self.opset) is int and _OLDEST <= self.opset <= newest):
            raise ConfigError(f"opset {self.opset} is none of {_OLDEST} to {newest}, those of onnx {onnx.__version__}.")

    def write(self, source: Source, path: Path) -> None:
        """By torch's newer exporter, or else by the older one."""
        spec = GraphSpec(
            torch.zeros(self.batch_size or 2, source.architecture.in_channels, *(self.image_size or _EXAMPLE,) * 2),
            INPUT,
            output_names(source.twin),
            {axis: name for axis, name in _AXES.items() if (self.image_size if axis else self.batch_size) is None},
            self.opset,
        )
        exporter = write_graph(source.twin, spec, path)
        self._written = {"opset": _opset(path), "exporter": exporter}

    def read(self, source: Source, path: Path, *more: Path) -> Iterable[Reading]:
        """Into onnxruntime, once onnx has found nothing wrong with it."""
        import onnx

        onnx.checker.check_model(str(path), full_check=True)
        return super().read(source, path, *more)

    def run(self, path: Path, threads: int = 0) -> Run:
        """Into onnxruntime on the CPU."""
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3
        options.intra_op_num_threads, options.inter_op_num_threads = threads, min(threads, 1)
        session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])

        def run(images: NDArray[Any]) -> list[NDArray[Any]]:
            return list(session.run(None, {INPUT: images}))

        return run

    def snippet(self, source: Source, target: Path) -> str:
        """Python lines that need onnxruntime and numpy alone, to be run where the path leads to the file."""
        lines, given = input_lines(source, "numpy", self.example_shape(source))
        found = output_lines(source, f"session.run(None, {{{INPUT!r}: {given}}})")
        return with_imports([f"session = onnxruntime.InferenceSession({str(target)!r})", "", *lines, *found])

    def details(self, source: Source) -> dict[str, Any]:
        """Input and outputs of the graph, and what wrote it."""
        return {"onnx": {**self.outputs(source), **self._written}}


def _opset(path: Path) -> int:
    import onnx

    imported = onnx.load(str(path), load_external_data=False).opset_import
    return next(entry.version for entry in imported if entry.domain in ("", "ai.onnx"))
