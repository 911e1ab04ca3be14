"""Pooled features of frozen networks, and the files they are kept in."""

from mmssl_dynamic.features.feature_file import Features
from mmssl_dynamic.features.pooling import pooled_features

__all__ = [
    "Features",
    "pooled_features",
]
