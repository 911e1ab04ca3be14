"""AP, AP50 and AP75: the right figures are picked out, and they are what pycocotools finds in the same boxes.

VOC2007's measure and COCO's differ in the levels of recall (11 and 101), in whether a box includes its last pixel, and
in what the objects are called that are neither found nor missed (difficult, crowd). With these three made equal the
two implementations must agree.
"""

import io
from contextlib import redirect_stdout
from multiprocessing.pool import ThreadPool

import numpy as np
import pytest
import torch
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from mmssl_dynamic.detection.average_precision import IOU_THRESHOLDS, average_precision, check_evaluators
from mmssl_dynamic.errors import ConfigError

CLASSES = ("cat", "dog", "horse")  # nothing is a horse: a class without objects takes no part in the mean
IMAGES = 7
SIZE = 100


@pytest.fixture(autouse=True)
def _threads(monkeypatch):
    """VOCMetric forks four processes for each of ten thresholds, which takes longer than all it computes here."""
    monkeypatch.setattr("mmdet.evaluation.functional.mean_ap.Pool", ThreadPool)


def scene(seed=0):
    """Objects (image, class, box, difficult) and predictions (image, class, box, score) of all qualities.

    Of the 14 objects of a class 13 are clear: no share of 13 is a level of recall, which rounding could put on either
    side of a comparison.
    """
    rng = np.random.default_rng(seed)
    ranks = [iter(rng.permutation(2 * IMAGES)) for _ in range(2)]
    objects, found = [], []
    for image in range(IMAGES):
        for i in range(4):
            label = i % 2
            difficult = bool(next(ranks[label]) >= 13)
            x, y = (50 * (i % 2), 50 * (i // 2)) + rng.integers(0, 5, 2)
            w, h = rng.integers(20, 40, 2)
            objects.append((image, label, (x, y, x + w, y + h), difficult))
            if rng.random() < 0.85:
                # Hardly moved where it is difficult: COCO measures overlap with a crowd in another way.
                box = np.array([x, y, x + w, y + h]) + rng.integers(-4, 5, 4) * (not difficult)
                found.append((image, label, tuple(box), float(rng.random())))
        if rng.random() < 0.6:
            found.append((image, int(rng.integers(2)), (45, 45, 55, 55), float(rng.random())))
    return objects, found


def by_mmdet(objects, found, eval_mode="11points"):
    from mmdet.evaluation import VOCMetric

    metric = VOCMetric(iou_thrs=list(IOU_THRESHOLDS), eval_mode=eval_mode)
    metric.dataset_meta = dict(classes=CLASSES)

    def boxes(rows):
        return torch.tensor(np.array([row[2] for row in rows]).reshape(-1, 4), dtype=torch.float32)

    def labels(rows):
        return torch.tensor([row[1] for row in rows], dtype=torch.long)

    for image in range(IMAGES):
        clear = [row for row in objects if row[0] == image and not row[3]]
        difficult = [row for row in objects if row[0] == image and row[3]]
        here = [row for row in found if row[0] == image]
        sample = dict(
            gt_instances=dict(bboxes=boxes(clear), labels=labels(clear)),
            ignored_instances=dict(bboxes=boxes(difficult), labels=labels(difficult)),
            pred_instances=dict(bboxes=boxes(here), labels=labels(here), scores=torch.tensor([row[3] for row in here])),
        )
        metric.process({}, [sample])
    return metric.evaluate(IMAGES)


def by_pycocotools(objects, found, last_pixel):
    """Precision (T thresholds, 101 recalls, K classes)."""

    def box(corners):
        left, top, right, bottom = map(float, corners)
        return [left, top, right - left + last_pixel, bottom - top + last_pixel]

    truth, predictions = COCO(), COCO()
    with redirect_stdout(io.StringIO()):
        images = [dict(id=i, width=SIZE, height=SIZE) for i in range(IMAGES)]
        categories = [dict(id=i, name=name) for i, name in enumerate(CLASSES)]
        truth.dataset = dict(
            images=images,
            categories=categories,
            annotations=[
                dict(id=i + 1, image_id=image, category_id=label, bbox=box(b), area=1000, iscrowd=int(difficult))
                for i, (image, label, b, difficult) in enumerate(objects)
            ],
        )
        truth.createIndex()
        predictions = truth.loadRes(
            [dict(image_id=i, category_id=label, bbox=box(b), score=score) for i, label, b, score in found]
        )
        evaluation = COCOeval(truth, predictions, "bbox")
        evaluation.evaluate()
        evaluation.accumulate()
    return evaluation.eval["precision"][:, :, :, 0, -1]


def mean(precision):
    """Over classes that have objects, per threshold."""
    return precision[:, :, (precision > -1).all(axis=(0, 1))].mean(axis=(1, 2))


@pytest.mark.parametrize("seed", [0, 1])
def test_vocs_figures_are_those_of_pycocotools_at_11_levels_of_recall(seed):
    objects, found = scene(seed)
    metrics = by_mmdet(objects, found)
    levels = mean(by_pycocotools(objects, found, last_pixel=1)[:, ::10])
    for threshold, value in zip(IOU_THRESHOLDS, levels):
        assert metrics[f"pascal_voc/AP{round(100 * threshold)}"] == pytest.approx(value, abs=6e-4)  # mmdet rounds to 3
    ap = average_precision(metrics)["boxes"]
    assert 10 < ap["AP"] < ap["AP50"] < 100
    assert ap["AP"] == pytest.approx(100 * levels.mean(), abs=1e-3)
    assert (ap["AP50"], ap["AP75"]) == pytest.approx((100 * levels[0], 100 * levels[5]), abs=0.06)


def test_the_two_measures_differ_by_little_and_not_by_nothing():
    objects, found = scene(1)
    voc = average_precision(by_mmdet(objects, found))["boxes"]["AP"]
    area = average_precision(by_mmdet(objects, found, "area"))["boxes"]["AP"]
    coco = 100 * mean(by_pycocotools(objects, found, last_pixel=0)).mean()
    print(f"AP of the same boxes: VOC at 11 levels {voc:.2f}, VOC by area {area:.2f}, COCO {coco:.2f}")
    assert len({round(value, 2) for value in (voc, area, coco)}) == 3
    assert voc == pytest.approx(coco, abs=5)
    assert area == pytest.approx(coco, abs=3)


def test_difficult_objects_are_neither_found_nor_missed():
    objects, found = scene()
    clear = [row for row in objects if not row[3]]
    hard = {row[:3] for row in objects if row[3]}
    rest = [row for row in found if row[:3] not in hard]
    assert len(rest) < len(found)
    assert by_mmdet(objects, found) == pytest.approx(by_mmdet(clear, rest))


def test_cocos_names_are_read_for_boxes_and_masks():
    metrics = {
        f"coco/{kind}_mAP{end}": 0.1 * i for kind in ("bbox", "segm") for i, end in enumerate(("", "_50", "_75"))
    }
    ap = average_precision({**metrics, "coco/bbox_mAP_s": -1.0})
    assert list(ap) == ["boxes", "masks"]
    assert ap["masks"] == pytest.approx(dict(AP=0, AP50=10, AP75=20))
    assert list(average_precision({k: v for k, v in metrics.items() if "bbox" in k})) == ["boxes"]


def test_a_detector_that_finds_nothing_has_an_ap_of_0():
    assert average_precision({}) == {"boxes": dict(AP=0, AP50=0, AP75=0)}
    assert list(average_precision({}, masks=True)) == ["boxes", "masks"]


def test_a_mean_over_other_thresholds_is_not_called_ap():
    with pytest.raises(ConfigError, match=r"no AP55, .* set iou_thrs=\[0.5, 0.55"):
        average_precision({"pascal_voc/mAP": 0.5, "pascal_voc/AP50": 0.5})
    with pytest.raises(ConfigError, match="no AP among the metrics"):
        average_precision({"accuracy/top1": 50.0})


VOC = dict(type="VOCMetric", metric="mAP", iou_thrs=list(IOU_THRESHOLDS))


@pytest.mark.parametrize(
    "entries",
    [
        [VOC],
        [dict(VOC, type="mmdet.VOCMetric")],
        [dict(type="CocoMetric")],
        [dict(type="CocoMetric", metric=["bbox", "segm"])],
        [dict(type="CocoMetric", metric="proposal"), dict(type="CocoMetric", metric="bbox")],
        [dict(type="SomeMetricOfTheUser")],
    ],
)
def test_evaluators_that_report_ap_are_let_through(entries):
    check_evaluators(entries, "test")


@pytest.mark.parametrize(
    ("entries", "masks", "message"),
    [
        ([dict(type="VOCMetric", metric="mAP")], False, r"no AP55, .* set iou_thrs=\[0.5, 0.55"),
        ([dict(type="VOCMetric", metric="recall")], False, r"asked for \['recall'\], of which there is no AP"),
        ([dict(type="CocoMetric", metric="proposal")], False, "of which there is no AP"),
        (
            [dict(type="CocoMetric", format_only=True)],
            False,
            "has format_only=True, so it reports no AP",
        ),
        ([dict(type="CocoMetric", metric_items=["mAP"])], False, "leaves mAP_50 out of metric_items"),
        ([dict(type="CocoMetric", metric="bbox")], True, "no AP of masks; add 'segm'"),
        ([VOC], True, "no AP of masks"),
    ],
)
def test_evaluators_that_report_none_are_refused_before_the_test(entries, masks, message):
    with pytest.raises(ConfigError, match=message):
        check_evaluators(entries, "test", masks)
