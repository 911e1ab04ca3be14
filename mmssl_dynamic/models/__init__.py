"""Models: elastic layers, backbones, necks, losses and self-supervised algorithms."""

from mmssl_dynamic.models.backbones import SDRResNet, StaticResNet
from mmssl_dynamic.models.losses import L2Distillation, SiamKD
from mmssl_dynamic.models.necks import ElasticProjector
from mmssl_dynamic.models.selfsup import SDR

__all__ = ["SDR", "ElasticProjector", "L2Distillation", "SDRResNet", "SiamKD", "StaticResNet"]
