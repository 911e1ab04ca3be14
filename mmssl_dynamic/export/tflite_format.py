"""The format ``tflite``: a graph for LiteRT (TensorFlow Lite), on phones and small devices."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from numpy.typing import NDArray

from mmssl_dynamic.export.base import Source, random_images
from mmssl_dynamic.export.graph_format import GraphFormat, Run, output_lines, output_names
from mmssl_dynamic.export.onnx_exporters import quietly
from mmssl_dynamic.export.snippets import input_lines, with_imports
from mmssl_dynamic.registry import FORMATS

_INPUT = "args_0"  # litert-torch's name of the first argument


@FORMATS.register_module("tflite")
class TFLiteFormat(GraphFormat):
    """A flat buffer of LiteRT's, whose images keep PyTorch's order (N, C, H, W). Its sizes are fixed.

    Args:
        batch_size: N of all images; 1 when left out.
        image_size: Their H and W; those of evaluation when left out.
    """

    suffixes = (".tflite",)
    packages = ("litert-torch", "ai-edge-litert")
    advice = (
        " and then `pip uninstall transformers`, which litert-torch brings and does not need here, and which keeps "
        "mmpretrain 1.2 from being imported"
    )
    runtime = "ai-edge-litert"

    def write(self, source: Source, path: Path) -> None:
        """By litert-torch, from ``torch.export``."""
        import litert_torch

        with quietly():
            litert_torch.convert(source.twin, (torch.zeros(self.example_shape(source)),)).export(str(path))

    def batches(self, source: Source) -> list[torch.Tensor]:
        """Noise of the one size that the graph takes."""
        count, _, height, width = self.example_shape(source)
        return [random_images(source, count, (height, width))]

    def run(self, path: Path, threads: int = 0) -> Run:
        """Into LiteRT's interpreter on the CPU."""
        from ai_edge_litert.interpreter import Interpreter

        runner = Interpreter(str(path), num_threads=threads or None).get_signature_runner()
        names = sorted(runner.get_output_details(), key=lambda name: int(name.rpartition("_")[2]))

        def run(images: NDArray[Any]) -> list[NDArray[Any]]:
            found = runner(**{_INPUT: images})
            return [found[name] for name in names]

        return run

    def snippet(self, source: Source, target: Path) -> str:
        """Python lines that need ai-edge-litert and numpy alone, to be run where the path leads to the file."""
        names = output_names(source.twin)
        lines, given = input_lines(source, "numpy", self.example_shape(source))
        found = [f"output_{index}" for index in range(len(names))]
        return with_imports(
            [
                f"run = ai_edge_litert.interpreter.Interpreter({str(target)!r}).get_signature_runner()",
                "",
                *lines,
                f"outputs = run({_INPUT}={given})",
                *output_lines(source, f"[outputs[name] for name in {found!r}]"),
            ]
        )

    def details(self, source: Source) -> dict[str, Any]:
        """Input and outputs of the graph."""
        batch, _, height, width = self.example_shape(source)
        sizes = {"input": _INPUT, "batch_size": batch, "image_size": [height, width]}
        return {"tflite": {**self.outputs(source), **sizes}}
