"""Export: a sub-network leaves the super-network as a plain backbone file."""

from mmssl_dynamic.export.architecture import SubnetArchitecture
from mmssl_dynamic.export.static_export import ExportReport, export_subnet
from mmssl_dynamic.export.stock_models import torchvision_resnet

__all__ = ["ExportReport", "SubnetArchitecture", "export_subnet", "torchvision_resnet"]
