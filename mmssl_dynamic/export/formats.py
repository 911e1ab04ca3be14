"""Export formats by their names."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from mmssl_dynamic.errors import ConfigError, first_line
from mmssl_dynamic.export.base import Format
from mmssl_dynamic.export.families import Architecture, NoStockModel
from mmssl_dynamic.own_classes import named_class
from mmssl_dynamic.registry import FORMATS

# These register their formats.
from mmssl_dynamic.export import (  # noqa: F401  isort: skip
    stock_format,
    openmmlab_format,
    onnx_format,
    int8_format,
    openvino_format,
    tflite_format,
)

FormatSpec = str | Mapping[str, Any]
"""A format: its name, or a config of it with options, such as ``dict(type='onnx', opset=17)``."""


def installed(package: str) -> bool:
    """Whether a distribution can be imported, by its own name."""
    return find_spec(package.replace("-", "_")) is not None


def format_name(format: FormatSpec) -> str:
    """The name in a format's specification.

    Raises:
        ConfigError: there is none.
    """
    name = format if isinstance(format, str) else format.get("type")
    if not isinstance(name, str):
        raise ConfigError(f"an export format is a name, or dict(type=NAME, ...), and not {format!r}.")
    return name


def find_format(format: FormatSpec, out: Path | None = None) -> Format:
    """The format that a specification means, ready to write.

    Args:
        format: One of :data:`~mmssl_dynamic.registry.FORMATS`, or ``module.Class`` of a user's own; with options
            ``dict(type=NAME, ...)``.
        out: A file to be written, whose suffix is to fit.

    Raises:
        ConfigError: there is none, its packages are missing, its options cannot work, or the suffix is another one.
    """
    name = format_name(format)
    kind = named_class(FORMATS, name, Format)
    options = {} if isinstance(format, str) else {key: value for key, value in format.items() if key != "type"}
    try:
        found = kind(**options)
    except TypeError as error:
        raise ConfigError(f"the export format '{name}' does not take these options: {first_line(error)}.") from error
    if out is not None and out.suffix not in found.suffixes:
        raise ConfigError(f"{out} must end in {' or '.join(found.suffixes)}, as the format '{name}' has it.")
    missing = [package for package in found.packages if not installed(package)]
    if missing:
        raise ConfigError(
            f"the export format '{name}' needs {' and '.join(missing)}; run `pip install {' '.join(missing)}`"
            f"{found.advice}."
        )
    found.ready()
    return found


def check_holds(format: FormatSpec, subnet: str, architecture: Architecture) -> None:
    """Refuse a sub-network that a format cannot hold, before anything is written.

    Args:
        format: The format.
        subnet: Name of the sub-network, for the message.
        architecture: Its shape.

    Raises:
        ConfigError: with the formats that can.
    """
    name = format_name(format)
    try:
        named_class(FORMATS, name, Format)().check(architecture)
    except NoStockModel as reason:
        *others, last = [other for other, kind in FORMATS.module_dict.items() if _holds(kind(), architecture)]
        raise ConfigError(
            f"the format '{name}' cannot hold sub-network '{subnet}': {reason}; use {', '.join(others)} or {last}."
        ) from reason


def _holds(format: Format, architecture: Architecture) -> bool:
    try:
        format.check(architecture)
    except NoStockModel:
        return False
    return True


def default_file_name(subnet: str, format: FormatSpec) -> str:
    """``('w0.75', 'onnx') -> 'backbone_w0.75_onnx.onnx'``."""
    name = format_name(format)
    kind = named_class(FORMATS, name, Format)
    return f"backbone_{subnet}_{name.rpartition('.')[2]}{kind.suffixes[0]}"
