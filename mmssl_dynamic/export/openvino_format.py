"""The format ``openvino``: a graph for Intel's processors, ``FILE.xml`` with its weights in ``FILE.bin``."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from mmssl_dynamic.export.base import Source
from mmssl_dynamic.export.graph_format import INPUT, GraphFormat, Run, output_lines, output_names
from mmssl_dynamic.export.onnx_format import OnnxFormat
from mmssl_dynamic.export.snippets import input_lines, with_imports
from mmssl_dynamic.registry import FORMATS

# OpenVINO computes in bfloat16 where the processor can, unless it is told not to.
_EXACT = {"INFERENCE_PRECISION_HINT": "f32"}


@FORMATS.register_module("openvino")
class OpenVINOFormat(GraphFormat):
    """OpenVINO's own graphs, converted from ONNX.

    Args:
        batch_size: N of all images that the graph takes; any when left out.
        image_size: Their H and W; any when left out.
    """

    suffixes = (".xml",)
    packages = ("openvino", "onnx")
    runtime = "openvino"

    def files(self, target: Path) -> list[Path]:
        """The graph, and its weights beside it."""
        return [target, target.with_suffix(".bin")]

    def write(self, source: Source, path: Path, weights: Path | None = None) -> None:
        """By way of ONNX, in float32."""
        openvino = imported()
        with tempfile.TemporaryDirectory(prefix="mmssl_openvino_") as folder:
            onnx = Path(folder) / "graph.onnx"
            OnnxFormat(batch_size=self.batch_size, image_size=self.image_size).write(source, onnx)
            graph = Path(folder) / "graph.xml"
            openvino.save_model(openvino.Core().read_model(str(onnx)), str(graph), compress_to_fp16=False)
            path.write_bytes(graph.read_bytes())
            (weights or path.with_suffix(".bin")).write_bytes(graph.with_suffix(".bin").read_bytes())

    def run(self, path: Path, threads: int = 0, weights: Path | None = None) -> Run:
        """Into OpenVINO on the CPU."""
        openvino = imported()
        core = openvino.Core()
        model = core.read_model(str(path), str(weights or path.with_suffix(".bin")))
        options = {**_EXACT, **({"INFERENCE_NUM_THREADS": threads} if threads else {})}
        compiled = core.compile_model(model, "CPU", options)

        def run(images: NDArray[Any]) -> list[NDArray[Any]]:
            found = compiled({INPUT: images})
            return [found[port] for port in compiled.outputs]

        return run

    def snippet(self, source: Source, target: Path) -> str:
        """Python lines that need openvino and numpy alone, to be run where the path leads to the file."""
        names = output_names(source.twin)
        lines, given = input_lines(source, "numpy", self.example_shape(source))
        return with_imports(
            [
                f"model = openvino.Core().compile_model({str(target)!r}, 'CPU', {_EXACT!r})  # exact, not bfloat16",
                "",
                *lines,
                f"outputs = model({{{INPUT!r}: {given}}})",
                *output_lines(source, f"[outputs[name] for name in {names!r}]"),
            ]
        )

    def details(self, source: Source) -> dict[str, Any]:
        """Input and outputs of the graph."""
        return {"openvino": self.outputs(source)}


def imported() -> Any:
    """The package, imported without openvino_telemetry, by which it tells its makers that it was imported."""
    reporter = "openvino_telemetry"
    if reporter not in sys.modules:
        sys.modules[reporter] = None  # type: ignore[assignment]  # which is how Python notes that there is none
    try:
        import openvino
    finally:
        if sys.modules[reporter] is None:
            del sys.modules[reporter]
    return openvino
