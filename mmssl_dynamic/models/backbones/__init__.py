"""Backbones: super-networks and the plain networks they turn into."""

from mmssl_dynamic.models.backbones.sdr_resnet import BNStatistics, SDRResNet
from mmssl_dynamic.models.backbones.static_resnet import StaticResNet

__all__ = ["BNStatistics", "SDRResNet", "StaticResNet"]
