"""Models: elastic layers, backbones, necks, losses and self-supervised algorithms."""

from mmssl_dynamic.models.augmentation import AugmentingPreprocessor
from mmssl_dynamic.models.backbones import (
    SDRResNet,
    SDRSlimmableResNet,
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
from mmssl_dynamic.models.losses import FeatureDistillation, L2Distillation, SiamKD
from mmssl_dynamic.models.necks import CosineOfHeads, ElasticProjector, SeveralPredictors, SeveralProjectors
from mmssl_dynamic.models.selfsup import (
    SDR,
    SDRBYOL,
    DSPNet,
    SDRMoCo,
    SDRSlimmable,
    SDRSlimmableBYOL,
    SlimmableDistillation,
    SlimmableSimSiam,
)

__all__ = [
    "AugmentingPreprocessor",
    "CosineOfHeads",
    "SDR",
    "SDRBYOL",
    "SDRMoCo",
    "DSPNet",
    "ElasticLinearHead",
    "ElasticProjector",
    "FeatureDistillation",
    "FromPlain",
    "L2Distillation",
    "LinearBNHead",
    "SDRResNet",
    "SDRSlimmable",
    "SDRSlimmableBYOL",
    "SDRSlimmableResNet",
    "SeveralPredictors",
    "SeveralProjectors",
    "SiamKD",
    "SlimmableDistillation",
    "SlimmableImageClassifier",
    "SlimmableMobileNetV3",
    "SlimmableResNet",
    "SlimmableSimSiam",
    "StaticMobileNetV3",
    "StaticNetwork",
    "StaticResNet",
    "SuperNetwork",
]
