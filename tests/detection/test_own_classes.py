"""Data of one's own with other classes: one option names them, and heads, data sets and reports follow."""

import json
from pathlib import Path

import pytest
import torch

from mmssl_dynamic.detection.class_metrics import split_classes
from mmssl_dynamic.detection.class_names import check_class_option
from mmssl_dynamic.detection.detector import evaluate_detector, prepare_detection
from mmssl_dynamic.engine.launch import build_runner
from mmssl_dynamic.errors import ConfigError, DataError
from mmssl_dynamic.options.config_file import typed_options
from tests.detection_data import small_heads

pytestmark = pytest.mark.usefixtures("mmdet_scope", "quick_mmengine")
CONFIGS = Path(__file__).parents[2] / "configs" / "detection"
CLASSES = {"voc": "('car','dog','person')", "coco": "('person','car','dog')"}  # COCO: in the order of the file


def config_of(form):
    detector = {"voc": "faster-rcnn", "coco": "mask-rcnn"}[form]
    return CONFIGS / f"{detector}_sdr-r50-16path_fpn_custom-{form}.py"


def options_of(form, network, shapes, classes=None, **more):
    """The options of a command line, and what makes the config small."""
    places = {
        "voc": {
            "data_root": f"{shapes}/VOCdevkit/VOC2007",
            "train_list": "ImageSets/Main/trainval.txt",
            "val_list": "ImageSets/Main/test.txt",
        },
        "coco": {
            "data_root": f"{shapes}/coco",
            "train_annotations": "annotations/instances_train2017.json",
            "train_images": "train2017/",
            "val_annotations": "annotations/instances_val2017.json",
            "val_images": "val2017/",
        },
    }[form]
    typed = {**places, "classes": classes or CLASSES[form], "max_iters": "2", **more}
    small = {
        "model.neck.in_channels": network.channels,
        "model.backbone": {
            **network.options,
            "_delete_": True,
            "type": "mmssl_dynamic.SDRResNet",
            "norm_cfg": dict(type="BN", requires_grad=False),
            "norm_eval": True,
            "init_cfg": dict(type="Pretrained", checkpoint=str(network.weights)),
        },
        "train_dataloader.dataset.pipeline.2.scales": [(96, 96)],
        "log_level": "WARNING",
    }
    for split in ("train", "val", "test"):
        small |= {f"{split}_dataloader.num_workers": 0, f"{split}_dataloader.persistent_workers": False}
    small |= {f"{split}_dataloader.dataset.pipeline.1.scale": (96, 96) for split in ("val", "test")}
    return {**typed_options(config_of(form), typed), **small, **small_heads(form == "coco")}


@pytest.mark.parametrize("form", ["voc", "coco"])
def test_one_option_reaches_heads_data_sets_and_the_report(networks, shapes, tmp_path, form):
    options = options_of(form, networks["sdr"], shapes)
    config = prepare_detection(config_of(form), work_dir=str(tmp_path / "run"), cfg_options=options)
    classes = ("car", "dog", "person") if form == "voc" else ("person", "car", "dog")
    heads = config.model.roi_head
    assert heads.bbox_head.num_classes == 3
    assert form == "voc" or heads.mask_head.num_classes == 3
    for split in ("train", "val", "test"):
        assert tuple(config[f"{split}_dataloader"].dataset.metainfo.classes) == classes
    assert config.train_cfg.max_iters == config.param_scheduler[1].end == 2
    runner = build_runner(config)
    runner.train()
    assert runner.model.roi_head.bbox_head.fc_cls.out_features == 4  # and the background
    assert runner.train_dataloader.dataset.metainfo["classes"] == classes

    out, last = tmp_path / "out", tmp_path / "run/iter_2.pth"
    found = evaluate_detector(config_of(form), last, out, pictures=0, cfg_options=options)
    record = json.loads((out / "results.json").read_text())
    assert list(record["classes"]) in (list(found), [])  # nothing where nothing is found in any image
    for values in record["classes"].values():
        assert list(values) == list(classes)
    if record["classes"]:
        page = (out / "report.html").read_text()
        assert all(f"<td>{name}</td>" in page.replace(" ", "") for name in classes)


@pytest.mark.parametrize("form", ["voc", "coco"])
@pytest.mark.parametrize("classes", ["('car','dgo')", "('car','person','cat','dgo')"])
def test_names_that_the_annotations_lack_are_refused_with_those_that_are_there(
    networks, shapes, tmp_path, form, classes
):
    options = options_of(form, networks["sdr"], shapes, classes)
    with pytest.raises(DataError, match=r"has the classes (car, dog, person|person, .*), and .*dgo of the c") as error:
        prepare_detection(config_of(form), work_dir=str(tmp_path / "run"), cfg_options=options)
    if form == "voc":
        assert "--cfg-options \"classes=('car', 'dog', 'person')\"" in str(error.value)
    assert not (tmp_path / "run").exists()


def test_classes_in_another_order_than_the_file_are_refused_with_the_option(networks, shapes, tmp_path):
    options = options_of("coco", networks["sdr"], shapes, "('dog','car')")
    with pytest.raises(DataError, match=r"in another order than the config \(car, dog\).*; give --cfg-options"):
        prepare_detection(config_of("coco"), work_dir=str(tmp_path / "run"), cfg_options=options)


@pytest.mark.parametrize("classes", ["cat", (), ("cat", "cat"), ("cat", 3), {"cat": 1}])
def test_what_are_no_names_is_refused(classes):
    with pytest.raises(ConfigError, match="no names of classes, each once; give them in brackets"):
        check_class_option(classes)


def test_metrics_of_classes_are_told_from_those_of_all():
    metrics = {"coco/bbox_mAP": 0.4, "coco/boxes of a/b": 0.25, "coco/masks of a/b": float("nan"), "x": 1.0}
    rest, classes = split_classes(metrics, ["a/b", "c"])
    assert rest == {"coco/bbox_mAP": 0.4, "x": 1.0}
    assert classes == {"boxes": {"a/b": 25.0}, "masks": {"a/b": None}}


def test_every_class_has_the_ap_that_mmdet_computes_for_it_alone():
    """One class found wholly, one half, one never; the fourth has no object."""
    from mmdet.evaluation.metrics import VOCMetric

    from mmssl_dynamic.detection.class_metrics import ClassVOCMetric

    def boxes(*rows):
        return torch.tensor(rows, dtype=torch.float32).reshape(-1, 4).numpy()

    import numpy as np

    names = ("all", "half", "none", "absent")
    far = boxes([0, 0, 9, 9], [30, 0, 39, 9], [0, 30, 9, 39], [30, 30, 39, 39])
    truth = dict(bboxes=far, labels=np.array([0, 1, 1, 2]), bboxes_ignore=boxes(), labels_ignore=np.array([], int))
    scored = np.hstack([far, np.full((4, 1), 0.9, np.float32)])
    empty = np.zeros((0, 5), np.float32)
    predictions = [scored[:1], scored[1:2], empty, empty]
    metric = ClassVOCMetric(iou_thrs=[0.5, 0.75], metric="mAP", eval_mode="area")
    metric.dataset_meta = dict(classes=names)
    metric.results = [(truth, predictions)]
    found = metric.compute_metrics(metric.results)
    assert (found["boxes of all"], found["boxes of half"], found["boxes of none"]) == pytest.approx((1.0, 0.5, 0.0))
    assert np.isnan(found["boxes of absent"])
    plain = VOCMetric(iou_thrs=[0.5, 0.75], metric="mAP", eval_mode="area")
    plain.dataset_meta = dict(classes=names)
    assert {key: value for key, value in found.items() if " of " not in key} == plain.compute_metrics(metric.results)
    assert found["mAP"] == pytest.approx(0.5)
