"""AP, AP50 and AP75, as detection papers report them, out of what mmdet's metrics report."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from mmssl_dynamic.errors import ConfigError

IOU_THRESHOLDS = (0.5, 0.55, 0.6, 0.65, 0.7, 0.75, 0.8, 0.85, 0.9, 0.95)
_NAMES = ("AP", "AP50", "AP75")
_COCO = {"boxes": ("bbox_mAP", "bbox_mAP_50", "bbox_mAP_75"), "masks": ("segm_mAP", "segm_mAP_50", "segm_mAP_75")}
_VOC = ("mAP", *(f"AP{round(100 * threshold)}" for threshold in IOU_THRESHOLDS))


def check_evaluators(entries: Iterable[Mapping[str, Any]], split: str, masks: bool = False) -> None:
    """Refuse evaluators of which no AP will come out, before a test that takes hours.

    Metrics of other types than mmdet's two are let through: what they report is seen when they have reported it.

    Args:
        entries: Configs of the metrics.
        split: ``'val'`` or ``'test'``, for the message.
        masks: Whether AP of masks is needed, too.

    Raises:
        ConfigError: no AP will come out.
    """
    entries = list(entries)
    kinds = [str(entry.get("type")).rpartition(".")[2] for entry in entries]
    if not {"VOCMetric", "CocoMetric"} >= set(kinds):
        return
    asked: set[str] = set()
    for kind, entry in zip(kinds, entries):
        metric = entry.get("metric", "bbox" if kind == "CocoMetric" else "mAP")
        asked |= {metric} if isinstance(metric, str) else set(metric)
        if kind == "VOCMetric" and "mAP" in asked:
            given = entry.get("iou_thrs", 0.5)
            given = [given] if isinstance(given, int | float) else list(given)
            if missing := [iou for iou in IOU_THRESHOLDS if not any(abs(iou - own) < 1e-6 for own in given)]:
                raise ConfigError(_no_mean(f"AP{round(100 * missing[0])}"))
        if kind == "CocoMetric":
            items = entry.get("metric_items")
            lacking = [name for name in ("mAP", "mAP_50", "mAP_75") if items is not None and name not in items]
            if lacking or entry.get("format_only"):
                what = f"leaves {lacking[0]} out of metric_items" if lacking else "has format_only=True"
                raise ConfigError(f"{split}_evaluator {what}, so it reports no AP; leave that option out.")
    if not asked & {"mAP", "bbox", "segm"}:
        raise ConfigError(
            f"{split}_evaluator is asked for {sorted(asked)}, of which there is no AP; evaluate with VOCMetric "
            "(metric='mAP') or CocoMetric (metric='bbox')."
        )
    if masks and "segm" not in asked:
        raise ConfigError(
            f"{split}_evaluator is asked for {sorted(asked)}, which gives no AP of masks; add 'segm' to its metric."
        )


def _no_mean(missing: str) -> str:
    return (
        f"VOCMetric reports no {missing}, so its mAP is not the mean that papers call AP; set "
        f"iou_thrs={list(IOU_THRESHOLDS)} in val_evaluator and test_evaluator."
    )


def average_precision(metrics: Mapping[str, float], masks: bool = False) -> dict[str, dict[str, float]]:
    """AP, AP50 and AP75 in percent of boxes and, where a detector has them, of masks.

    AP is the mean over the ten thresholds :data:`IOU_THRESHOLDS` of the overlap. At each of them it is COCO's measure
    under ``CocoMetric``: precision at 101 levels of recall, at most 100 predictions per image, crowds neither found nor
    missed. Under ``VOCMetric`` it is VOC2007's: precision at 11 levels of recall (``eval_mode='11points'``), boxes that
    include their last pixel, and objects marked difficult neither found nor missed.

    Args:
        metrics: What mmengine's evaluator returned, of ``VOCMetric`` or ``CocoMetric``, with or without their prefix.
            ``CocoMetric`` returns nothing where a detector found nothing in any image, which is an AP of 0.
        masks: Whether the evaluator was asked for masks, which such an empty result does not tell.

    Returns:
        ``{'boxes': {'AP': ..., 'AP50': ..., 'AP75': ...}}``, and the same for ``'masks'``.

    Raises:
        ConfigError: the metrics are others, or ``VOCMetric`` was not given the ten thresholds.
    """
    if not metrics:
        return {what: dict.fromkeys(_NAMES, 0.0) for what in (("boxes", "masks") if masks else ("boxes",))}
    values = {name.rpartition("/")[2]: float(value) for name, value in metrics.items()}
    found = {
        what: {name: 100 * values[key] for name, key in zip(_NAMES, keys)}
        for what, keys in _COCO.items()
        if all(key in values for key in keys)
    }
    if found:
        return found
    if "mAP" not in values:
        raise ConfigError(
            f"there is no AP among the metrics {sorted(metrics)}; evaluate with VOCMetric (metric='mAP') or CocoMetric."
        )
    if missing := [key for key in _VOC if key not in values]:
        raise ConfigError(_no_mean(missing[0]))
    return {"boxes": {name: 100 * values[key] for name, key in zip(_NAMES, ("mAP", "AP50", "AP75"))}}
