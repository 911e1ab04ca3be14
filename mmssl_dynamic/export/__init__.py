"""Export: a sub-network leaves the super-network as a plain backbone file."""

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
from mmssl_dynamic.export.formats import FORMATS
from mmssl_dynamic.export.input_images import InputImages
from mmssl_dynamic.export.load_export import read_sidecar
from mmssl_dynamic.export.pretrained_subnet import PretrainedSubnet
from mmssl_dynamic.export.static_export import ExportReport, export_subnet

__all__ = [
    "FORMATS",
    "InputImages",
    "Architecture",
    "ExportReport",
    "MobileNetV3Architecture",
    "NoStockModel",
    "PretrainedSubnet",
    "ResNetArchitecture",
    "StockModel",
    "export_subnet",
    "read_sidecar",
    "register_family",
    "torchvision_mobilenet_v3",
    "torchvision_resnet",
]
