"""Export: a sub-network leaves the super-network as a plain backbone file."""

from mmssl_dynamic.export.architecture import Architecture, MobileNetV3Architecture, ResNetArchitecture
from mmssl_dynamic.export.formats import FORMATS
from mmssl_dynamic.export.input_images import InputImages
from mmssl_dynamic.export.load_export import read_sidecar
from mmssl_dynamic.export.pretrained_subnet import PretrainedSubnet
from mmssl_dynamic.export.static_export import ExportReport, export_subnet
from mmssl_dynamic.export.torchvision_format import torchvision_mobilenet_v3, torchvision_resnet

__all__ = [
    "FORMATS",
    "InputImages",
    "Architecture",
    "ExportReport",
    "MobileNetV3Architecture",
    "PretrainedSubnet",
    "ResNetArchitecture",
    "export_subnet",
    "read_sidecar",
    "torchvision_mobilenet_v3",
    "torchvision_resnet",
]
