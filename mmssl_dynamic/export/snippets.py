"""Blocks of Python to paste: imports, a model with the weights of an export, and what makes its images ready."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from mmssl_dynamic.export.base import Source

_MODULES = (
    "ai_edge_litert.interpreter",
    "numpy",
    "onnxruntime",
    "openvino",
    "safetensors.torch",
    "timm",
    "torch",
    "torchvision",
)
_WIDTH = 100  # of a line of a config
_SIDE = 224  # of the example's images, where the pre-training config fixes none


def torch_snippet(source: Source, file: str, build: Sequence[str]) -> str:
    """Lines that build a model, load it, and compute features.

    Args:
        source: The sub-network.
        file: Path of its weights, as the lines name it.
        build: Lines that define the model, ``net``.
    """
    lines, given = input_lines(source, "torch")
    load = [f"net.load_state_dict({_load_line(file)}, strict=True)", "net.eval()", ""]
    return with_imports([*build, *load, *lines, f"features = net({given})  # (N, {source.twin.out_channels[-1]})"])


def input_lines(source: Source, library: str, shape: tuple[int, int, int, int] | None = None) -> tuple[list[str], str]:
    """Lines that define ``normalise`` and an example's ``images``, and the expression for what a network takes.

    Args:
        source: The sub-network.
        library: ``'torch'`` or ``'numpy'``, of the arrays.
        shape: (N, C, H, W) of the images; one of the usual size when left out.
    """
    channels = source.architecture.in_channels
    shape = shape or (1, channels, *example_size(source))
    kind = "uint8" if channels == 3 else "float32"
    zeros = f"torch.zeros({shape}, dtype=torch.{kind})" if library == "torch" else f"numpy.zeros({shape}, {kind!r})"
    lines = [*source.images.lines(library, channels), "", f"images = {zeros}  # your images"]
    return lines, "normalise(images)" if channels == 3 else "images"


def example_size(source: Source) -> tuple[int, int]:
    """Height and width of an example's images."""
    return source.images.size or (_SIDE, _SIDE)


def with_imports(lines: Sequence[str]) -> str:
    """The lines behind imports of the modules that they name; imports among them go to the top as well."""
    own = [line for line in lines if line.startswith(("import ", "from "))]
    rest = [line for line in lines if line not in own]
    text = "\n".join(rest)
    named = [module for module in _MODULES if re.search(rf"(?<![\w.]){re.escape(module)}\.", text)]
    return "\n".join([*(f"import {module}" for module in named), *own, "", text, ""])


def config_text(name: str, value: Mapping[str, Any]) -> str:
    """A dictionary as it stands in a config file: ``model = dict(backbone=dict(type='ResNet', ...), ...)``.

    Args:
        name: What it is called there.
        value: Its keys are names; ``type`` comes first where there is one.
    """
    return f"{name} = {_literal(value, len(name) + 3, 0)}"


def _literal(value: Any, used: int, indent: int) -> str:
    """A value in Python, dictionaries as calls of ``dict``: on one line if that fits behind ``used`` characters."""
    if not isinstance(value, Mapping) or not all(str(key).isidentifier() for key in value):
        return repr(value)
    keys = sorted(value, key=lambda key: (key != "_delete_", key != "type"))
    flat = f"dict({', '.join(f'{key}={_literal(value[key], -_WIDTH, 0)}' for key in keys)})"
    if used + len(flat) <= _WIDTH:
        return flat
    deeper = indent + 4
    lines = [f"{' ' * deeper}{key}={_literal(value[key], deeper + len(key) + 1, deeper)}," for key in keys]
    return "\n".join(["dict(", *lines, f"{' ' * indent})"])


def _load_line(file: str) -> str:
    """Python expression that reads a file of weights."""
    if file.endswith(".safetensors"):
        return f"safetensors.torch.load_file({file!r})"
    return f"torch.load({file!r}, weights_only=True)"
