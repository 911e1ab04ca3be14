"""Registries of scope ``mmssl_dynamic``, children of mmengine's root registries.

Children of the root (and not of mmpretrain's registries) resolve from every OpenMMLab config:
``type='mmssl_dynamic.SDRResNet'`` works under mmpretrain's and under mmdet's default scope, without
``custom_imports``.
"""

from collections.abc import Iterator
from contextlib import contextmanager

try:
    from mmengine import registry as root
    from mmengine.registry import DefaultScope, Registry
except ModuleNotFoundError as error:
    # Not among the package's own requirements: several distributions bring the module, and the user has to choose.
    raise ModuleNotFoundError(
        "mmssl_dynamic needs mmengine, mmcv and mmpretrain; install them with: pip install 'mmssl-dynamic[openmmlab]'"
    ) from error

_SCOPE = "mmssl_dynamic"


def _child(name: str, parent: Registry, *locations: str) -> Registry:
    return Registry(name, parent=parent, scope=_SCOPE, locations=[f"{_SCOPE}.{location}" for location in locations])


@contextmanager
def mmpretrain_scope() -> Iterator[None]:
    """Let names without a scope be mmpretrain's, whatever the default scope is; a context and a decorator.

    mmengine's registries look such a name up in the *default scope*, which the last Runner or detector of the process
    has set: after a detector in the same notebook, ``type='CrossEntropyLoss'`` is mmdet's loss and
    ``'SelfSupDataPreprocessor'`` is unknown. What extends mmpretrain builds its parts under this instead:

        >>> @mmpretrain_scope()
        ... def __init__(self, head: dict) -> None:
        ...     super().__init__(head=head)
    """
    with DefaultScope.overwrite_default_scope("mmpretrain"):
        yield


@contextmanager
def default_scope_kept() -> Iterator[None]:
    """Leave the default scope as it was, whatever Runners inside the block make it; a context and a decorator.

    A Runner leaves its scope behind for what is built later. A function that needs one on the way must not: the
    detector that its caller has in the same process would look for its transforms in mmpretrain from then on.
    """
    before = DefaultScope._instance_dict.copy()
    try:
        yield
    finally:
        DefaultScope._instance_dict = before


MODELS = _child("model", root.MODELS, "models", "teachers")
DATASETS = _child("dataset", root.DATASETS, "datasets")
DATA_SAMPLERS = _child("data sampler", root.DATA_SAMPLERS, "datasets")
TRANSFORMS = _child("transform", root.TRANSFORMS, "datasets")
HOOKS = _child(
    "hook",
    root.HOOKS,
    "engine",
    "evaluation.knn_monitor_hook",
    "visualization.training_curves_hook",
    "detection.prediction_pictures_hook",
)
LOOPS = _child("loop", root.LOOPS, "engine")
RUNNERS = _child("runner", root.RUNNERS, "engine")
OPTIM_WRAPPERS = _child("optimizer wrapper", root.OPTIM_WRAPPERS, "engine")
MODEL_WRAPPERS = _child("model wrapper", root.MODEL_WRAPPERS, "engine")
METRICS = _child("metric", root.METRICS, "evaluation")
TASK_UTILS = _child("task util", root.TASK_UTILS, "routing")
VISBACKENDS = _child("vis backend", root.VISBACKENDS, "engine")
WEIGHT_INITIALIZERS = _child("weight initializer", root.WEIGHT_INITIALIZERS, "models", "export")
# Nothing of OpenMMLab's is like these, so they have no parent.
FORMATS = Registry("export format", scope=_SCOPE, locations=[f"{_SCOPE}.export.formats"])
SCORES = Registry("routing score", scope=_SCOPE, locations=[f"{_SCOPE}.routing.scores"])

__all__ = [
    "DATASETS",
    "DATA_SAMPLERS",
    "FORMATS",
    "HOOKS",
    "LOOPS",
    "METRICS",
    "MODELS",
    "MODEL_WRAPPERS",
    "OPTIM_WRAPPERS",
    "RUNNERS",
    "SCORES",
    "TASK_UTILS",
    "TRANSFORMS",
    "VISBACKENDS",
    "WEIGHT_INITIALIZERS",
    "default_scope_kept",
    "mmpretrain_scope",
]
