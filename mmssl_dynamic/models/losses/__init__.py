"""Losses that mmpretrain does not have."""

from mmssl_dynamic.models.losses.distillation import L2Distillation, SiamKD
from mmssl_dynamic.models.losses.feature_distillation import FeatureDistillation

__all__ = ["FeatureDistillation", "L2Distillation", "SiamKD"]
