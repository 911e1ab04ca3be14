"""Heads that mmpretrain does not have."""

from mmssl_dynamic.models.heads.elastic_linear_head import ElasticLinearHead
from mmssl_dynamic.models.heads.linear_bn_head import LinearBNHead

__all__ = ["ElasticLinearHead", "LinearBNHead"]
