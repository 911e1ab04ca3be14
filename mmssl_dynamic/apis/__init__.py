"""What the command lines do, one verb a module."""

from mmssl_dynamic.apis.train import train
from mmssl_dynamic.engine.launch import build_runner, prepare_config
from mmssl_dynamic.loading import build_backbone, load_backbone, load_config, need, select_device

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
