"""Export: a sub-network leaves the super-network as a plain backbone file."""

from mmssl_dynamic.export.base import Format, Reading, Source, reading, write_weights
from mmssl_dynamic.export.families import (
    Architecture,
    MobileNetV3Architecture,
    NoStockModel,
    ResNetArchitecture,
    StockModel,
    register_family,
    torchvision_mobilenet_v3,
    torchvision_resnet,
)
from mmssl_dynamic.export.formats import find_format
from mmssl_dynamic.export.input_images import InputImages
from mmssl_dynamic.export.load_export import read_sidecar
from mmssl_dynamic.export.pretrained_subnet import PretrainedSubnet
from mmssl_dynamic.export.static_export import ExportReport, export_subnet

__all__ = [
    "Architecture",
    "ExportReport",
    "Format",
    "InputImages",
    "MobileNetV3Architecture",
    "NoStockModel",
    "PretrainedSubnet",
    "Reading",
    "ResNetArchitecture",
    "Source",
    "StockModel",
    "export_subnet",
    "find_format",
    "read_sidecar",
    "reading",
    "register_family",
    "torchvision_mobilenet_v3",
    "torchvision_resnet",
    "write_weights",
]
