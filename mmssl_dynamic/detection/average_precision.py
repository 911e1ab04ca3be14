"""AP, AP50 and AP75, as detection papers report them, out of what mmdet's metrics report."""

from __future__ import annotations

from collections.abc import Mapping

from mmssl_dynamic.errors import ConfigError

IOU_THRESHOLDS = (0.5, 0.55, 0.6, 0.65, 0.7, 0.75, 0.8, 0.85, 0.9, 0.95)
_NAMES = ("AP", "AP50", "AP75")
_COCO = {"boxes": ("bbox_mAP", "bbox_mAP_50", "bbox_mAP_75"), "masks": ("segm_mAP", "segm_mAP_50", "segm_mAP_75")}
_VOC = ("mAP", *(f"AP{round(100 * threshold)}" for threshold in IOU_THRESHOLDS))


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
        raise ConfigError(
            f"VOCMetric reports no {missing[0]}, so its mAP is not the mean that papers call AP; set "
            f"iou_thrs={list(IOU_THRESHOLDS)} in val_evaluator and test_evaluator."
        )
    return {"boxes": {name: 100 * values[key] for name, key in zip(_NAMES, ("mAP", "AP50", "AP75"))}}
