"""Checks, splits and lists of image folders, made before a training."""

from mmssl_dynamic.datasets.preparation.verify_images import ImageReport, verify_images

__all__ = [
    "ImageReport",
    "verify_images",
]
