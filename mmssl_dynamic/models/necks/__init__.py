"""Necks: the elastic projector."""

from mmssl_dynamic.models.necks.elastic_projector import ElasticProjector

__all__ = ["ElasticProjector"]
