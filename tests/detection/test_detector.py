"""Detectors learn through every kind of backbone: real runs of the real configs, made small."""

import json
import math
import tarfile
from pathlib import Path

import pytest
import torch
from mmengine.hooks import Hook
from PIL import Image
from torch import nn

from mmssl_dynamic.calibration import BNBank
from mmssl_dynamic.detection.average_precision import average_precision
from mmssl_dynamic.detection.detector import evaluate_detector, prepare_detection
from mmssl_dynamic.detection.prediction_pictures_hook import PredictionPicturesHook
from mmssl_dynamic.engine.launch import build_runner
from mmssl_dynamic.errors import ArtifactError, ConfigError, DataError
from mmssl_dynamic.fileio import load_state_dict, weights_fingerprint
from tests.detection_data import SIDE, small_options

pytestmark = pytest.mark.usefixtures("mmdet_scope", "quick_mmengine")
CONFIGS = Path(__file__).parents[2] / "configs" / "detection"
KINDS = ("sdr", "mobilenet", "resnet")
SAVED, END = 36, 72  # iterations


class Watch(Hook):
    """Keeps the model before the first step, and all losses."""

    def __init__(self):
        self.before, self.losses = {}, []

    def before_train(self, runner):
        self.before = {key: value.clone() for key, value in runner.model.state_dict().items()}

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
        self.losses.append(float(outputs["loss"]))


def short(iterations, lr=0.03):
    """A schedule of some iterations."""
    return {
        "train_cfg.max_iters": iterations,
        "train_cfg.val_interval": iterations,
        "optim_wrapper.optimizer.lr": lr,
        "param_scheduler.0.start_factor": 0.1,
        "param_scheduler.0.end": 10,
        "param_scheduler.1.milestones": [int(0.8 * iterations)],
        "default_hooks.checkpoint.interval": SAVED,
    }


def prepared(network, folder, options, **others):
    return prepare_detection(CONFIGS / f"{network.config}.py", work_dir=str(folder), cfg_options=options, **others)


def trained(config):
    """Runner and watch of a finished training."""
    runner, watch = build_runner(config), Watch()
    runner.register_hook(watch)
    runner.train()
    return runner, watch


def without_validation(options):
    return {**options, "val_dataloader": None, "val_cfg": None, "val_evaluator": None}


@pytest.mark.parametrize("kind", KINDS)
def test_a_detector_starts_with_the_weights_learns_resumes_and_finds_the_objects(networks, shapes, tmp_path, kind):
    network = networks[kind]
    options = {**small_options(network, shapes), **short(END)}
    runner, first = trained(
        prepared(network, tmp_path / "run", without_validation({**options, "train_cfg.max_iters": SAVED}))
    )
    # The pre-trained weights are in the detector before the first step: all of them, and nothing else.
    weights = load_state_dict(network.weights)
    found = {key.removeprefix("backbone."): value for key, value in first.before.items() if key.startswith("backbone.")}
    assert set(found) == set(weights)
    assert all(torch.equal(found[key], value) for key, value in weights.items())
    print(f"{kind}: {len(weights)} tensors of the pre-training compared, all equal")
    # On one device SyncBN turns into ordinary BatchNorm, in training mode as the config wants it.
    norms = [m for m in runner.model.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm)]
    assert len(norms) > 8
    assert not any(isinstance(m, nn.SyncBatchNorm) for m in norms)
    eps = {m.eps for m in runner.model.backbone.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm)}
    assert eps == {1e-3 if kind == "mobilenet" else 1e-5}

    saved = tmp_path / "run" / f"iter_{SAVED}.pth"
    runner, rest = trained(prepared(network, tmp_path / "run", without_validation(options), resume="auto"))
    assert len(rest.losses) == END - SAVED
    assert all(torch.equal(rest.before[key], value) for key, value in load_state_dict(saved).items())
    losses = [*first.losses, *rest.losses]
    assert sum(losses[-5:]) < 0.5 * sum(losses[:5])

    out, last = tmp_path / "results", tmp_path / "run" / f"iter_{END}.pth"
    ap = evaluate_detector(CONFIGS / f"{network.config}.py", last, out, pictures=2, cfg_options=options)
    print(f"{kind}: loss {losses[0]:.2f} to {losses[-1]:.2f}, {ap}")
    assert list(ap) == (["boxes"] if kind == "sdr" else ["boxes", "masks"])
    assert all(values["AP50"] > 20 for values in ap.values())
    record = json.loads((out / "results.json").read_text())
    assert record["AP"] == ap == average_precision(record["metrics"])
    assert record["weights_fingerprint"] == weights_fingerprint(load_state_dict(last))
    for what, values in record["classes"].items():
        assert len(values) == (20 if kind == "sdr" else 80)
        there = [value for value in values.values() if value is not None]
        assert len(there) <= 3  # classes that are drawn
        assert sum(there) / len(there) == pytest.approx(ap[what]["AP"], abs=0.1)  # mmdet rounds to 0.001 of 1
    assert list(record["classes"]) == list(ap)
    assert record["images"] == 4
    assert record["evaluator"]["type"] == ("VOCMetric" if kind == "sdr" else "CocoMetric")
    pictures = sorted((out / "pictures").iterdir())
    assert len(pictures) == 2
    with Image.open(pictures[0]) as picture:
        assert picture.size == (2 * SIDE, SIDE)  # annotations beside predictions
    page = (out / "report.html").read_text()
    assert page.count("data:image/jpeg;base64,") == 2
    assert f"{ap['boxes']['AP50']:.1f}" in page


@pytest.mark.parametrize("kind", KINDS)
def test_frozen_layers_and_statistics_stay_and_all_else_moves(networks, shapes, tmp_path, kind):
    network = networks[kind]
    frozen = {"model.backbone.frozen_stages": 3 if kind == "mobilenet" else 1, "model.backbone.norm_eval": True}
    options = without_validation({**small_options(network, shapes), **short(3), **frozen})
    runner, watch = trained(prepared(network, tmp_path, options))
    stem = ("layer0.", "layer1.", "layer2.", "layer3.") if kind == "mobilenet" else ("conv1.", "bn1.", "layer1.")
    after = runner.model.backbone.state_dict()
    stays = {key for key, value in after.items() if torch.equal(value, watch.before[f"backbone.{key}"])}
    assert {key for key in after if key.startswith(stem)} <= stays
    buffers = {key for key, _ in runner.model.backbone.named_buffers()}
    assert buffers <= stays
    moved = set(after) - stays
    assert {key for key in after if key.endswith("conv.weight") and not key.startswith(stem)} <= moved
    assert not any(key.startswith(stem) for key in moved)
    assert len(moved) > 0.9 * len(set(after) - buffers - {key for key in after if key.startswith(stem)})


def test_frozen_batch_norm_keeps_scales_and_statistics_while_convolutions_move(networks, shapes, tmp_path):
    network = networks["sdr"]
    options = without_validation({**small_options(network, shapes), **short(3)})
    path = CONFIGS / "faster-rcnn_sdr-r50-256path_fpn_18k_voc0712.py"
    runner, watch = trained(prepare_detection(path, work_dir=str(tmp_path), cfg_options=options))
    backbone = runner.model.backbone
    after = backbone.state_dict()
    convolutions = {f"{name}.weight" for name, m in backbone.named_modules() if isinstance(m, nn.Conv2d)}
    assert {key for key in after if not torch.equal(after[key], watch.before[f"backbone.{key}"])} == convolutions


def test_a_sub_network_straight_from_the_super_network_trains_as_its_export_does(networks, shapes, tmp_path):
    network = networks["sdr"]
    torch.save(network.net.state_dict(), tmp_path / "super.pth")
    bank = BNBank.of(network.net)
    bank.path = {network.name: network.net.bn_statistics(network.name)}
    bank.save(tmp_path / "bank.safetensors")
    options = without_validation({**small_options(network, shapes), **short(2)})
    _, exported = trained(prepared(network, tmp_path / "exported", options))
    initial = dict(
        type="mmssl_dynamic.PretrainedSubnet",
        checkpoint=str(tmp_path / "super.pth"),
        bank=str(tmp_path / "bank.safetensors"),
    )
    options = {key: value for key, value in options.items() if "init_cfg" not in key}
    _, straight = trained(prepared(network, tmp_path / "straight", {**options, "model.backbone.init_cfg": initial}))
    assert all(torch.equal(exported.before[key], value) for key, value in straight.before.items())
    assert exported.losses == straight.losses


def test_data_root_moves_the_annotations_of_the_evaluators_unless_an_option_does(networks, shapes, tmp_path):
    network = networks["resnet"]
    options = small_options(network, shapes)
    config = prepared(network, tmp_path, options)
    expected = str(shapes / "coco" / "annotations" / "instances_val2017.json")
    assert config.val_evaluator.ann_file == config.test_evaluator.ann_file == expected
    other = shapes / "coco" / "annotations" / "instances_train2017.json"
    config = prepared(network, tmp_path, {**options, "val_evaluator.ann_file": str(other)})
    assert config.val_evaluator.ann_file == str(other)
    assert config.test_evaluator.ann_file == expected


def test_what_is_missing_or_does_not_fit_is_one_sentence(networks, shapes, tmp_path, monkeypatch):
    network = networks["sdr"]
    options = small_options(network, shapes)
    with pytest.raises(DataError, match=r"train_dataloader needs .*trainval.txt, .* data_root=\.\.\. \(now nowhere/\)"):
        prepared(network, tmp_path, {**options, "data_root": "nowhere/"})
    caffe = {**options, "model.data_preprocessor.bgr_to_rgb": False}
    with pytest.raises(ConfigError, match=r"sdr.pth was pre-trained with .* set model\.data_preprocessor to dict\("):
        prepared(network, tmp_path, caffe)
    prepared(network, tmp_path, caffe, training=False)
    weights = {"model.backbone.init_cfg.checkpoint": "none.pth"}
    with pytest.raises(ArtifactError, match=r"init_cfg.checkpoint=none.pth do not exist; .*tools/export.py"):
        prepared(network, tmp_path, {**options, **weights})
    wrong = {"model.neck.in_channels": [256, 512, 1024, 2048]}
    with pytest.raises(ConfigError, match=r"'0-0-1-0' .* set in_channels=\[16, 16, 24, 24\]"):
        build_runner(prepared(network, tmp_path, {**options, **wrong}))
    path = CONFIGS / f"{network.config}.py"
    with pytest.raises(ArtifactError, match=r"not of this detector: 'backbone.conv1.weight' is missing"):
        evaluate_detector(path, network.weights, tmp_path / "out", cfg_options={**options, **weights})
    assert not (tmp_path / "out" / "results.json").exists()
    with pytest.raises(ConfigError, match="at least 1"):
        PredictionPicturesHook(str(tmp_path), count=0)
    for missing in ("mmdet", "mmcv._ext"):
        monkeypatch.setattr(
            "mmssl_dynamic.detection.detector.find_spec",
            lambda name, missing=missing: None if name == missing else name,
        )
        with pytest.raises(ConfigError, match=r"needs mmdet, and mmcv with operators .*pip install -r"):
            prepared(network, tmp_path, options)


class Program:
    """Leaves a trace when it is run."""

    def __init__(self, trace):
        self.trace = trace

    def __reduce__(self):
        return open, (str(self.trace), "w")


@pytest.mark.parametrize("place", ["neck.init_cfg", "rpn_head.init_cfg", "roi_head.bbox_head.init_cfg.0"])
def test_weights_of_any_part_are_read_before_the_run_and_execute_nothing(
    networks, shapes, tmp_path, monkeypatch, place
):
    monkeypatch.setenv("TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD", "1")
    network = networks["resnet"]
    torch.save({"state_dict": {}, "x": Program(tmp_path / "trace")}, tmp_path / "evil.pth")
    part, _, last = place.rpartition(".")
    initial = dict(type="Pretrained", checkpoint=str(tmp_path / "evil.pth"))
    option = {f"model.{place}": initial} if last == "init_cfg" else {f"model.{part}": [initial]}
    options = {**small_options(network, shapes), **option}
    with pytest.raises(ArtifactError, match=r"evil\.pth cannot be loaded safely: it holds the object \w*io\.open"):
        prepared(network, tmp_path / "run", options)
    config = prepared(network, tmp_path / "run", options, training=False)  # what a run would load, had nobody looked
    with pytest.raises(ArtifactError, match=r"evil\.pth cannot be loaded safely"):
        build_runner(config).train()
    assert not (tmp_path / "trace").exists()
    (tmp_path / "evil.pth").unlink()
    with pytest.raises(
        ArtifactError, match=rf"the weights model\.{part}.*checkpoint=.*evil\.pth do not exist; name oth"
    ):
        prepared(network, tmp_path / "run", options)


FIXTURES = {
    "voc_mini": ("faster-rcnn_sdr-r50-256path_fpn_24k_voc0712", "sdr", "VOCdevkit/"),
    "coco_instances_mini": ("mask-rcnn_dspnet-mobilenet-v3-w0.5_fpn_180k_coco", "mobilenet", "coco_mini/"),
}


@pytest.mark.parametrize("name", FIXTURES)
def test_real_photographs_train_and_are_evaluated(networks, shared_dir, tmp_path, name):
    archive = shared_dir / "data" / "fixtures" / f"{name}.tar.gz"
    if not archive.is_file():
        pytest.skip(f"no {archive.name} in shared/")
    with tarfile.open(archive) as files:
        files.extractall(tmp_path, filter="data")
    _, kind, root = FIXTURES[name]
    network = networks[kind]
    options = {**small_options(network, tmp_path), **short(3), "data_root": str(tmp_path / root) + "/"}
    if kind == "sdr":
        animals = dict(classes=("dog", "kangaroo", "raccoon"))
        options["model.roi_head.bbox_head.num_classes"] = 3
        for dataset in ("train_dataloader.dataset.datasets.0", "train_dataloader.dataset.datasets.1"):
            options |= {f"{dataset}.ann_file": "VOC2007/ImageSets/Main/train.txt", f"{dataset}.metainfo": animals}
            options[f"{dataset}.data_prefix.sub_data_root"] = "VOC2007/"
        options |= {f"{split}_dataloader.dataset.metainfo": animals for split in ("val", "test")}
    else:
        options |= {
            "train_dataloader.dataset.ann_file": "annotations/instances_train.json",
            "train_dataloader.dataset.data_prefix.img": "images/",
        }
        for split in ("val", "test"):
            options |= {
                f"{split}_dataloader.dataset.ann_file": "annotations/instances_val.json",
                f"{split}_dataloader.dataset.data_prefix.img": "images/",
                f"{split}_evaluator.ann_file": str(tmp_path / root / "annotations/instances_val.json"),
            }
    runner, watch = trained(prepared(network, tmp_path / "run", options))
    assert all(map(math.isfinite, watch.losses))
    scalars = {key: value.current() for key, value in runner.message_hub.log_scalars.items() if "AP" in key}
    ap = average_precision(scalars)  # of nothing found, if three steps did not suffice
    assert all(0 <= value <= 100 for values in ap.values() for value in values.values())
