"""Blocks of Python to paste: imports, a model with the weights of an export, and what makes its images ready."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from mmengine.config import Config

from mmssl_dynamic.export.base import Source

_MODULES = ("numpy", "onnxruntime", "safetensors.torch", "timm", "torch", "torchvision")
_SIDE = 224  # of the example's images, where the pre-training config fixes none


def torch_snippet(source: Source, file: str, build: Sequence[str]) -> str:
    """Lines that build a model, load it, and compute features.

    Args:
        source: The sub-network.
        file: Path of its weights, as the lines name it.
        build: Lines that define the model, ``net``.
    """
    channels, (height, width) = source.architecture.in_channels, example_size(source)
    kind, given = (", dtype=torch.uint8", "normalise(images)") if channels == 3 else ("", "images")
    return with_imports(
        [
            *build,
            f"net.load_state_dict({_load_line(file)}, strict=True)",
            "net.eval()",
            "",
            *source.images.lines("torch", channels),
            "",
            f"images = torch.zeros(1, {channels}, {height}, {width}{kind})  # your images",
            f"features = net({given})  # (N, {source.twin.out_channels[-1]})",
        ]
    )


def example_size(source: Source) -> tuple[int, int]:
    """Height and width of an example's images."""
    return source.images.size or (_SIDE, _SIDE)


def with_imports(lines: Sequence[str]) -> str:
    """The lines behind imports of the modules that they name; imports among them go to the top as well."""
    own = [line for line in lines if line.startswith(("import ", "from "))]
    rest = [line for line in lines if line not in own]
    text = "\n".join(rest)
    named = [module for module in _MODULES if re.search(rf"(?<![\w.]){re.escape(module)}\.", text)]
    return "\n".join([*own, *(f"import {module}" for module in named), "", text, ""])


def config_text(values: Mapping[str, Any]) -> str:
    """Top-level names and values as they stand in a config file."""
    return Config(dict(values)).pretty_text.strip()


def _load_line(file: str) -> str:
    """Python expression that reads a file of weights."""
    if file.endswith(".safetensors"):
        return f"safetensors.torch.load_file({file!r})"
    return f"torch.load({file!r}, weights_only=True)"
