"""Necks between backbone and heads."""

from mmssl_dynamic.models.necks.elastic_projector import ElasticProjector
from mmssl_dynamic.models.necks.several_heads import CosineOfHeads, SeveralPredictors, SeveralProjectors

__all__ = ["CosineOfHeads", "ElasticProjector", "SeveralPredictors", "SeveralProjectors"]
