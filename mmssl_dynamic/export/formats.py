"""Export formats by their names."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

from mmssl_dynamic.errors import ConfigError
from mmssl_dynamic.export.base import Format
from mmssl_dynamic.export.families import Architecture, NoStockModel
from mmssl_dynamic.own_classes import named_class
from mmssl_dynamic.registry import FORMATS

# These register their formats.
from mmssl_dynamic.export import stock_format, openmmlab_format, onnx_format  # noqa: F401  isort: skip


def installed(package: str) -> bool:
    """Whether a package can be imported."""
    return find_spec(package) is not None


def find_format(name: str, out: Path | None = None) -> Format:
    """The format of a name.

    Args:
        name: One of :data:`~mmssl_dynamic.registry.FORMATS`, or ``module.Class`` of a user's own.
        out: A file to be written, whose suffix is to fit.

    Raises:
        ConfigError: there is none, its packages are missing, or the suffix is another one.
    """
    format = named_class(FORMATS, name, Format)()
    if out is not None and out.suffix not in format.suffixes:
        raise ConfigError(f"{out} must end in {' or '.join(format.suffixes)}, as the format '{name}' has it.")
    missing = [package for package in format.packages if not installed(package)]
    if missing:
        raise ConfigError(
            f"the export format '{name}' needs {' and '.join(missing)}; run `pip install {' '.join(missing)}`."
        )
    return format


def check_holds(format: str, subnet: str, architecture: Architecture) -> None:
    """Refuse a sub-network that a format cannot hold, before anything is written.

    Args:
        format: Name of the format.
        subnet: Name of the sub-network, for the message.
        architecture: Its shape.

    Raises:
        ConfigError: with the formats that can.
    """
    try:
        named_class(FORMATS, format, Format)().check(architecture)
    except NoStockModel as reason:
        *others, last = [name for name, kind in FORMATS.module_dict.items() if _holds(kind(), architecture)]
        raise ConfigError(
            f"the format '{format}' cannot hold sub-network '{subnet}': {reason}; use {', '.join(others)} or {last}."
        ) from reason


def _holds(format: Format, architecture: Architecture) -> bool:
    try:
        format.check(architecture)
    except NoStockModel:
        return False
    return True


def default_file_name(subnet: str, format: str) -> str:
    """``('w0.75', 'onnx') -> 'backbone_w0.75_onnx.onnx'``."""
    kind = named_class(FORMATS, format, Format)
    return f"backbone_{subnet}_{format.rpartition('.')[2]}{kind.suffixes[0]}"
