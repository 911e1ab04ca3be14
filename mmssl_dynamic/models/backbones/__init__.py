"""Backbones: super-networks and the plain networks they turn into."""

from mmssl_dynamic.models.backbones.sdr_resnet import SDRResNet
from mmssl_dynamic.models.backbones.sdr_slimmable_resnet import SDRSlimmableResNet
from mmssl_dynamic.models.backbones.slimmable_mobilenet_v3 import SlimmableMobileNetV3
from mmssl_dynamic.models.backbones.slimmable_resnet import SlimmableResNet
from mmssl_dynamic.models.backbones.static_mobilenet_v3 import StaticMobileNetV3
from mmssl_dynamic.models.backbones.static_network import Origin, StaticNetwork
from mmssl_dynamic.models.backbones.static_resnet import StaticResNet
from mmssl_dynamic.models.backbones.super_network import BNStatistics, SuperNetwork

__all__ = [
    "BNStatistics",
    "Origin",
    "SDRResNet",
    "SDRSlimmableResNet",
    "SlimmableMobileNetV3",
    "SlimmableResNet",
    "StaticMobileNetV3",
    "StaticNetwork",
    "StaticResNet",
    "SuperNetwork",
]
