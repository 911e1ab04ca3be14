"""Backbones: super-networks and the plain networks they turn into."""

from mmssl_dynamic.models.backbones.neck_check import watch_necks
from mmssl_dynamic.models.backbones.sdr_resnet import SDRResNet
from mmssl_dynamic.models.backbones.slimmable_mobilenet_v3 import SlimmableMobileNetV3
from mmssl_dynamic.models.backbones.slimmable_resnet import SlimmableResNet
from mmssl_dynamic.models.backbones.static_resnet import StaticResNet
from mmssl_dynamic.models.backbones.super_network import BNStatistics, SuperNetwork, is_super_network

__all__ = [
    "BNStatistics",
    "SDRResNet",
    "SlimmableMobileNetV3",
    "SlimmableResNet",
    "StaticResNet",
    "SuperNetwork",
    "is_super_network",
]

watch_necks()
