"""Registries of scope ``mmssl_dynamic``, children of mmengine's root registries.

Children of the root (and not of mmpretrain's registries) resolve from every OpenMMLab config:
``type='mmssl_dynamic.SDRResNet'`` works under mmpretrain's and under mmdet's default scope, without
``custom_imports``.
"""

try:
    from mmengine import registry as root
    from mmengine.registry import Registry
except ModuleNotFoundError as error:
    # Not among the package's own requirements: several distributions bring the module, and the user has to choose.
    raise ModuleNotFoundError(
        "mmssl_dynamic needs mmengine, mmcv and mmpretrain; install them with: pip install 'mmssl-dynamic[openmmlab]'"
    ) from error

_SCOPE = "mmssl_dynamic"


def _child(name: str, parent: Registry, *locations: str) -> Registry:
    return Registry(name, parent=parent, scope=_SCOPE, locations=[f"{_SCOPE}.{location}" for location in locations])


MODELS = _child("model", root.MODELS, "models")
DATASETS = _child("dataset", root.DATASETS, "datasets")
DATA_SAMPLERS = _child("data sampler", root.DATA_SAMPLERS, "datasets")
TRANSFORMS = _child("transform", root.TRANSFORMS, "datasets")
HOOKS = _child("hook", root.HOOKS, "engine", "detection.prediction_pictures_hook")
LOOPS = _child("loop", root.LOOPS, "engine")
RUNNERS = _child("runner", root.RUNNERS, "engine")
OPTIM_WRAPPERS = _child("optimizer wrapper", root.OPTIM_WRAPPERS, "engine")
MODEL_WRAPPERS = _child("model wrapper", root.MODEL_WRAPPERS, "engine")
METRICS = _child("metric", root.METRICS, "evaluation")
TASK_UTILS = _child("task util", root.TASK_UTILS, "routing")
WEIGHT_INITIALIZERS = _child("weight initializer", root.WEIGHT_INITIALIZERS, "models", "export")

__all__ = [
    "DATASETS",
    "DATA_SAMPLERS",
    "HOOKS",
    "LOOPS",
    "METRICS",
    "MODELS",
    "MODEL_WRAPPERS",
    "OPTIM_WRAPPERS",
    "RUNNERS",
    "TASK_UTILS",
    "TRANSFORMS",
    "WEIGHT_INITIALIZERS",
]
