"""Models: elastic layers, backbones, necks, losses and self-supervised algorithms."""

from mmssl_dynamic.models.backbones import (
    SDRResNet,
    SlimmableMobileNetV3,
    SlimmableResNet,
    StaticMobileNetV3,
    StaticNetwork,
    StaticResNet,
    SuperNetwork,
)
from mmssl_dynamic.models.classifiers import SlimmableImageClassifier
from mmssl_dynamic.models.from_plain import FromPlain
from mmssl_dynamic.models.heads import ElasticLinearHead, LinearBNHead
from mmssl_dynamic.models.losses import L2Distillation, SiamKD
from mmssl_dynamic.models.necks import ElasticProjector
from mmssl_dynamic.models.selfsup import SDR, SDRBYOL, DSPNet, SDRMoCo, SlimmableSimSiam

__all__ = [
    "SDR",
    "SDRBYOL",
    "SDRMoCo",
    "DSPNet",
    "ElasticLinearHead",
    "ElasticProjector",
    "FromPlain",
    "L2Distillation",
    "LinearBNHead",
    "SDRResNet",
    "SiamKD",
    "SlimmableImageClassifier",
    "SlimmableMobileNetV3",
    "SlimmableResNet",
    "SlimmableSimSiam",
    "StaticMobileNetV3",
    "StaticNetwork",
    "StaticResNet",
    "SuperNetwork",
]
