"""A network as an ONNX graph, by torch's exporter on ``torch.export``, or by its older one on TorchScript.

The older one is going away; it stands in where the other cannot be used, and says so.
"""

from __future__ import annotations

import contextlib
import copy
import importlib.util
import io
import logging
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from mmssl_dynamic.errors import ConfigError, UserNotice, first_line

NEW, OLD = "torch.export", "TorchScript"


@dataclass(frozen=True)
class GraphSpec:
    """What a graph is to be.

    Attributes:
        images: An example of its input, (N, C, H, W).
        input: Name of the input.
        outputs: Names of the outputs.
        free: Names of the input's axes that may have any length, by their numbers.
        opset: Version of the operators; the exporter's own when left out.
    """

    images: Tensor
    input: str
    outputs: Sequence[str]
    free: Mapping[int, str]
    opset: int | None = None


def write_graph(network: nn.Module, spec: GraphSpec, path: Path) -> str:
    """Write the graph of a network in evaluation mode.

    Returns:
        :data:`NEW` or :data:`OLD`, the exporter that wrote it.

    Raises:
        ConfigError: neither can express the network in the operators of ``spec.opset``.
    """
    try:
        model = _by_torch_export(network, spec)
    except _Unusable as reason:
        warnings.warn(UserNotice(f"the graph is written by torch's older exporter to ONNX: {reason}"), stacklevel=2)
    else:
        path.write_bytes(model.SerializeToString())
        return NEW
    try:
        _by_torchscript(network, spec, path)
    except Exception as error:  # of torch's own types, and those of Python
        asked = "" if spec.opset is None else f" in opset {spec.opset}; give a newer --opset"
        raise ConfigError(f"torch cannot write this network as a graph{asked} ({first_line(error)}).") from error
    return OLD


class _Unusable(Exception):
    """Why the newer exporter does not do."""


def _by_torch_export(network: nn.Module, spec: GraphSpec) -> Any:
    """The graph, as onnx's ``ModelProto``.

    Raises:
        _Unusable: with the reason.
    """
    if importlib.util.find_spec("onnxscript") is None:
        raise _Unusable("the newer one needs onnxscript; run `pip install onnxscript`.")
    try:
        with quietly():
            program = torch.onnx.export(
                _without_inplace(network),
                (spec.images,),
                input_names=[spec.input],
                output_names=list(spec.outputs),
                opset_version=spec.opset,
                dynamo=True,
                dynamic_shapes=(dict(spec.free),) if spec.free else None,
                verbose=False,
            )
            assert program is not None
            model = program.model_proto
    except Exception as error:  # torch.export, onnxscript and onnx raise anything
        raise _Unusable(f"the newer one fails ({first_line(error)}).") from error
    (opset,) = [entry.version for entry in model.opset_import if entry.domain in ("", "ai.onnx")]
    if spec.opset is not None and opset != spec.opset:
        raise _Unusable(f"the newer one cannot go below opset {opset}.")
    (given,) = model.graph.input
    fixed = [name for axis, name in spec.free.items() if not given.type.tensor_type.shape.dim[axis].dim_param]
    if fixed:
        raise _Unusable(f"the newer one fixes the images' {' and '.join(fixed)}.")
    _forget_this_machine(model)
    return model


def _without_inplace(network: nn.Module) -> nn.Module:
    """A copy whose activations write into new memory: a graph knows nothing else, and tracing them takes less time."""
    copied = copy.deepcopy(network)
    part: Any
    for part in copied.modules():
        if hasattr(part, "inplace"):
            part.inplace = False
    return copied


def _by_torchscript(network: nn.Module, spec: GraphSpec, path: Path) -> None:
    axes: dict[str, dict[int, str]] = {spec.input: dict(spec.free)} if spec.free else {}
    for name in spec.outputs:
        axes[name] = {axis: free if axis == 0 else f"{free}_{name}" for axis, free in spec.free.items()}
    with quietly():
        torch.onnx.export(
            network,
            (spec.images,),
            str(path),
            input_names=[spec.input],
            output_names=list(spec.outputs),
            dynamic_axes=axes or None,
            opset_version=spec.opset,
            dynamo=False,
        )


def _forget_this_machine(model: Any) -> None:
    """Take out what the exporter notes of every node: lines of source code, and where they lie on this machine."""
    graph = model.graph
    for entry in (graph, *graph.node, *graph.input, *graph.output, *graph.value_info, *graph.initializer):
        entry.ClearField("metadata_props")
        entry.ClearField("doc_string")


@contextlib.contextmanager
def quietly() -> Iterator[None]:
    """Keep the exporters from telling what they do; what they leave in torch's log is taken back."""
    trace, onnx = logging.getLogger("torch.__trace"), logging.getLogger("torch.onnx")
    handlers, level = list(trace.handlers), onnx.level
    onnx.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()), torch.no_grad():
            warnings.simplefilter("ignore")
            yield
    finally:
        trace.handlers[:] = handlers
        onnx.setLevel(level)
