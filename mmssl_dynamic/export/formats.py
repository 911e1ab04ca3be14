"""The table of export formats."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

from mmssl_dynamic.errors import ConfigError
from mmssl_dynamic.export.base import Format
from mmssl_dynamic.export.families import Architecture, NoStockModel
from mmssl_dynamic.export.onnx_format import OnnxFormat
from mmssl_dynamic.export.openmmlab_format import OpenMMLabFormat
from mmssl_dynamic.export.stock_format import StockFormat

FORMATS: dict[str, Format] = {
    "torchvision": StockFormat("torchvision"),
    "timm": StockFormat("timm", packages=("timm",)),
    "mmpretrain": OpenMMLabFormat("backbone.", all_stages=False),
    "mmdet": OpenMMLabFormat("", all_stages=True),
    "onnx": OnnxFormat(),
}


def installed(package: str) -> bool:
    """Whether a package can be imported."""
    return find_spec(package) is not None


def find_format(name: str, out: Path | None = None) -> Format:
    """The format of a name.

    Args:
        name: One of :data:`FORMATS`.
        out: A file to be written, whose suffix is to fit.

    Raises:
        ConfigError: there is none, its packages are missing, or the suffix is another one.
    """
    if name not in FORMATS:
        raise ConfigError(f"unknown export format '{name}'; choose one of {', '.join(FORMATS)}.")
    format = FORMATS[name]
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
    reasons: dict[str, NoStockModel] = {}
    for name, entry in FORMATS.items():
        try:
            entry.check(architecture)
        except NoStockModel as reason:
            reasons[name] = reason
    if format in reasons:
        *others, last = [name for name in FORMATS if name not in reasons]
        raise ConfigError(
            f"the format '{format}' cannot hold sub-network '{subnet}': {reasons[format]}; use "
            f"{', '.join(others)} or {last}."
        )


def default_file_name(subnet: str, format: str) -> str:
    """``('w0.75', 'onnx') -> 'backbone_w0.75_onnx.onnx'``."""
    return f"backbone_{subnet}_{format}{FORMATS[format].suffixes[0]}"
