"""AP of every class, which mmdet's metrics compute for the mean and then print at the most."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from mmdet.evaluation.metrics import CocoMetric, VOCMetric, voc_metric
from mmengine.config import Config

from mmssl_dynamic.registry import METRICS

_KINDS = {"bbox": "boxes", "segm": "masks"}
_SUFFIX = "_precision"  # of CocoMetric's keys for classes


def _key(kind: str, name: str) -> str:
    return f"{kind} of {name}"


@METRICS.register_module()
class ClassCocoMetric(CocoMetric):
    """``CocoMetric`` that reports AP of every class as ``'boxes of NAME'`` and ``'masks of NAME'`` beside the rest.

    NaN for a class that no object of the data set has.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **{**kwargs, "classwise": True})

    def compute_metrics(self, results: list) -> dict[str, float]:
        """One metric after the other: mmdet's keys for classes do not say whether they are of boxes or of masks."""
        found: dict[str, float] = {}
        metrics: list[str] = self.metrics  # type: ignore[has-type]  # of mmdet, which has no types
        try:
            for metric in metrics:
                self.metrics = [metric]
                for key, value in super().compute_metrics(results).items():
                    name = key.removesuffix(_SUFFIX)
                    of_class = key != name and metric in _KINDS
                    found[_key(_KINDS[metric], name) if of_class else key] = value
        finally:
            self.metrics = metrics
        return found


@METRICS.register_module()
class ClassVOCMetric(VOCMetric):
    """``VOCMetric`` that reports AP of every class as ``'boxes of NAME'``, the mean over all overlaps, beside the rest.

    NaN for a class that no object of the data set has.
    """

    def compute_metrics(self, results: list) -> dict[str, float]:
        """As mmdet computes them; what its function for one overlap says of each class is kept on the way."""
        with _kept_classes() as found:
            metrics = super().compute_metrics(results)
        for index, name in enumerate(self.dataset_meta["classes"] if found else ()):
            parts = [classes[index] for classes in found]
            there = parts[0]["num_gts"] > 0
            mean = sum(float(part["ap"]) for part in parts) / len(parts)
            metrics[_key("boxes", name)] = mean if there else math.nan
        return metrics


@contextmanager
def _kept_classes() -> Iterator[list[Sequence[Mapping[str, Any]]]]:
    """The second value of each call of mmdet's ``eval_map``, which ``VOCMetric`` throws away."""
    found: list[Sequence[Mapping[str, Any]]] = []
    original = voc_metric.eval_map

    def eval_map(*args: Any, **kwargs: Any) -> Any:
        mean, classes = original(*args, **kwargs)
        found.append(classes)
        return mean, classes

    voc_metric.eval_map = eval_map
    try:
        yield found
    finally:
        voc_metric.eval_map = original


def evaluate_classes(config: Config, split: str) -> None:
    """Let the metrics of a split report every class, where they are mmdet's."""
    own = {"CocoMetric": "mmssl_dynamic.ClassCocoMetric", "VOCMetric": "mmssl_dynamic.ClassVOCMetric"}
    key = f"{split}_evaluator"
    entries: Any = config.get(key) or []
    several = isinstance(entries, list | tuple)
    replaced = [
        {**entry, "type": own.get(str(entry["type"]).removeprefix("mmdet."), entry["type"])}
        for entry in (entries if several else [entries])
    ]
    config[key] = replaced if several else replaced[0]


def split_classes(
    metrics: Mapping[str, float], classes: Sequence[str]
) -> tuple[dict[str, float], dict[str, dict[str, float | None]]]:
    """Metrics of the whole data set, and AP of the classes.

    Args:
        metrics: What an evaluator with the metrics of this module returned.
        classes: Of the data set.

    Returns:
        The other metrics; and ``{'boxes': {'cat': 31.2, ...}, 'masks': ...}`` in percent, ``None`` for a class that no
        object has.
    """
    rest, found = {}, dict[str, dict[str, float | None]]()
    known = {_key(kind, name): (kind, name) for kind in _KINDS.values() for name in classes}
    for key, value in metrics.items():
        place = known.get(key.partition("/")[2] or key)
        if place is None:
            rest[key] = float(value)
        else:
            kind, name = place
            found.setdefault(kind, {})[name] = None if math.isnan(value) else 100 * float(value)
    return rest, found
