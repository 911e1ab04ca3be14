"""Families of networks that can be exported, one a file; importing this registers them."""

from mmssl_dynamic.export.families.architecture import (
    FAMILIES,
    Architecture,
    NoStockModel,
    Outputs,
    StockModel,
    architecture_from_sidecar,
    architecture_of,
    register_family,
)
from mmssl_dynamic.export.families.mobilenet_v3 import MobileNetV3Architecture, torchvision_mobilenet_v3
from mmssl_dynamic.export.families.resnet import ResNetArchitecture, torchvision_resnet

__all__ = [
    "FAMILIES",
    "Architecture",
    "MobileNetV3Architecture",
    "NoStockModel",
    "Outputs",
    "ResNetArchitecture",
    "StockModel",
    "architecture_from_sidecar",
    "architecture_of",
    "register_family",
    "torchvision_mobilenet_v3",
    "torchvision_resnet",
]
