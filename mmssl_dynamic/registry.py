"""Registries of scope ``mmssl_dynamic``, children of mmengine's root registries.

Children of the root (and not of mmpretrain's registries) resolve from every OpenMMLab config:
``type='mmssl_dynamic.SDRResNet'`` works under mmpretrain's and under mmdet's default scope, without
``custom_imports``.
"""

from mmengine import registry as root
from mmengine.registry import Registry

_SCOPE = "mmssl_dynamic"


def _child(name: str, parent: Registry, location: str) -> Registry:
    return Registry(name, parent=parent, scope=_SCOPE, locations=[f"{_SCOPE}.{location}"])


MODELS = _child("model", root.MODELS, "models")
DATASETS = _child("dataset", root.DATASETS, "datasets")
DATA_SAMPLERS = _child("data sampler", root.DATA_SAMPLERS, "datasets")
TRANSFORMS = _child("transform", root.TRANSFORMS, "datasets")
HOOKS = _child("hook", root.HOOKS, "engine")
LOOPS = _child("loop", root.LOOPS, "engine")
RUNNERS = _child("runner", root.RUNNERS, "engine")
OPTIM_WRAPPERS = _child("optimizer wrapper", root.OPTIM_WRAPPERS, "engine")
METRICS = _child("metric", root.METRICS, "evaluation")
TASK_UTILS = _child("task util", root.TASK_UTILS, "routing")

__all__ = [
    "DATASETS",
    "DATA_SAMPLERS",
    "HOOKS",
    "LOOPS",
    "METRICS",
    "MODELS",
    "OPTIM_WRAPPERS",
    "RUNNERS",
    "TASK_UTILS",
    "TRANSFORMS",
]
