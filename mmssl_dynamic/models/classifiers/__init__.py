"""Supervised training of slimmable networks."""

from mmssl_dynamic.models.classifiers.slimmable_classifier import SlimmableImageClassifier

__all__ = ["SlimmableImageClassifier"]
