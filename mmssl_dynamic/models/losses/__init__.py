"""Losses that mmpretrain does not have."""

from mmssl_dynamic.models.losses.distillation import L2Distillation, SiamKD

__all__ = ["L2Distillation", "SiamKD"]
