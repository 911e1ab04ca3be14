"""The format ``onnx``: a graph that any ONNX runtime executes, from images to feature maps."""

from __future__ import annotations

import contextlib
import io
import warnings
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from mmssl_dynamic.export.base import Format, Outputs, Reading, Source
from mmssl_dynamic.export.snippets import input_lines, with_imports
from mmssl_dynamic.registry import FORMATS

_INPUT = "images"
_EXAMPLE = 64  # side of the images that the graph is traced with; the graph takes any
# torch's older exporter: the other one needs the package onnxscript.
_EXPORTER: dict[str, Any] = {"dynamo": False}


@FORMATS.register_module("onnx")
class OnnxFormat(Format):
    """A graph with the input ``images`` (N, C, H, W) of any N, H and W.

    Its outputs are ``features_i`` for every i of the backbone's ``out_indices``, and nothing else. BatchNorm is folded
    into the convolutions, so there are no weights to compare.
    """

    suffixes = (".onnx",)
    packages = ("onnx", "onnxruntime")

    def write(self, source: Source, path: Path) -> None:
        """Trace the static twin, with torch's default opset."""
        images, names = torch.zeros(2, source.architecture.in_channels, _EXAMPLE, _EXAMPLE), _output_names(source.twin)
        free = {0: "batch", 2: "height", 3: "width"}
        outputs = {name: {0: "batch", 2: f"height_{name}", 3: f"width_{name}"} for name in names}
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()), torch.no_grad():
            warnings.simplefilter("ignore")  # announces that this exporter is the older one
            torch.onnx.export(
                source.twin,
                (images,),
                str(path),
                input_names=[_INPUT],
                output_names=names,
                dynamic_axes={_INPUT: free, **outputs},
                **_EXPORTER,
            )

    def read(self, source: Source, path: Path) -> Iterable[Reading]:
        """Into onnxruntime on the CPU."""
        import onnx
        import onnxruntime

        onnx.checker.check_model(str(path), full_check=True)
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3
        session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        indices = source.twin.out_indices

        def outputs(images: Tensor) -> Outputs:
            found = session.run(_output_names(source.twin), {_INPUT: images.cpu().numpy()})
            return {index: torch.from_numpy(array).to(images.device) for index, array in zip(indices, found)}

        yield Reading("onnxruntime", None, outputs)

    def usage(self, source: Source, target: Path) -> str:
        """Python lines that need onnxruntime and numpy alone, to be run beside the file."""
        return self.snippet(source, Path(target.name))

    def snippet(self, source: Source, target: Path) -> str:
        """The same, to be run where the path leads to the file."""
        names = ", ".join([*_output_names(source.twin), ""]).rstrip()  # with a comma behind a single one
        lines, given = input_lines(source, "numpy")
        run = f"{names} = session.run(None, {{{_INPUT!r}: {given}}})  # (N, C, H', W') each"
        return with_imports([f"session = onnxruntime.InferenceSession({str(target)!r})", "", *lines, run])

    def details(self, source: Source) -> dict[str, Any]:
        """The outputs of the graph."""
        names, channels = _output_names(source.twin), source.twin.out_channels
        outputs = [{"name": name, "channels": count} for name, count in zip(names, channels)]
        return {"onnx": {"input": _INPUT, "outputs": outputs}}


def _output_names(twin: Any) -> list[str]:
    return [f"features_{index}" for index in twin.out_indices]
