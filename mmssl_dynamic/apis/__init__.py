"""The functions a notebook user calls; the command lines in ``tools/`` are thin over these."""

from mmssl_dynamic.apis.loading import build_backbone, load_backbone, load_config, need, select_device
from mmssl_dynamic.apis.training import build_runner, prepare_config, train

__all__ = [
    "build_backbone",
    "build_runner",
    "load_backbone",
    "load_config",
    "need",
    "prepare_config",
    "select_device",
    "train",
]
