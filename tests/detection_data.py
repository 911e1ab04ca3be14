"""Small detection sets of drawn shapes in VOC's and COCO's forms, small backbones, and what shrinks a detector."""

from __future__ import annotations

import json
import runpy
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image, ImageDraw

from mmssl_dynamic.models import SDRResNet, SlimmableMobileNetV3, SlimmableResNet
from tests.helpers import export_subnet, randomise

# Names that both VOC and COCO have; each is a shape of its own colour.
CLASSES = {"car": (200, 40, 40), "dog": (40, 180, 60), "person": (60, 80, 220)}
SIDE = 96  # of the images, in pixels
VOC, COCO = "VOCdevkit/", "coco/"


@dataclass
class Shape:
    """One object: its class and its outline."""

    name: str
    polygon: list[tuple[int, int]]
    difficult: bool = False

    @property
    def box(self) -> tuple[int, int, int, int]:
        xs, ys = zip(*self.polygon)
        return min(xs), min(ys), max(xs), max(ys)


def _outline(name: str, x: int, y: int, size: int) -> list[tuple[int, int]]:
    if name == "car":
        return [(x, y), (x + size, y), (x + size, y + size // 2), (x, y + size // 2)]
    if name == "dog":
        return [(x + size // 2, y), (x + size, y + size), (x, y + size)]
    turns = [2 * np.pi * i / 12 for i in range(12)]
    return [(round(x + size / 2 * (1 + np.cos(t))), round(y + size / 2 * (1 + np.sin(t)))) for t in turns]


def draw(seed: int) -> tuple[Image.Image, list[Shape]]:
    """An image with two or three shapes on a noisy ground, one in each quarter at most."""
    rng = np.random.default_rng(seed)
    image = Image.fromarray(rng.normal(128, 20, (SIDE, SIDE, 3)).clip(0, 255).astype(np.uint8))
    shapes = []
    for corner in rng.permutation(4)[: rng.integers(2, 4)]:
        name = list(CLASSES)[rng.integers(len(CLASSES))]
        size = int(rng.integers(26, 42))
        x, y = (int(v) for v in rng.integers(2, 48 - size, 2) + 48 * np.array([corner % 2, corner // 2]))
        shapes.append(Shape(name, _outline(name, x, y, size)))
        ImageDraw.Draw(image).polygon(shapes[-1].polygon, fill=CLASSES[name])
    return image, shapes


def write_voc(root: Path, trainval: int = 4, test: int = 4) -> None:
    """``VOCdevkit/VOC2007`` and ``VOC2012``; test is 2007's trainval, and one object is difficult."""
    for year in (2007, 2012):
        folder = root / "VOCdevkit" / f"VOC{year}"
        for part in ("JPEGImages", "Annotations", "ImageSets/Main"):
            (folder / part).mkdir(parents=True)
        names = [f"{year}_{i:06d}" for i in range(trainval)]
        for i, name in enumerate(names):
            image, shapes = draw(1000 * (year - 2007) + i)
            shapes[-1].difficult = i == 0
            image.save(folder / "JPEGImages" / f"{name}.jpg", quality=95)
            (folder / "Annotations" / f"{name}.xml").write_text(_xml(shapes))
        for split, count in (("trainval", trainval), ("test", test)):
            (folder / "ImageSets" / "Main" / f"{split}.txt").write_text("\n".join(names[:count]) + "\n")


def _xml(shapes: list[Shape]) -> str:
    objects = ""
    for shape in shapes:
        corners = "".join(
            f"<{key}>{value + 1}</{key}>" for key, value in zip(("xmin", "ymin", "xmax", "ymax"), shape.box)
        )
        objects += (
            f"<object><name>{shape.name}</name><difficult>{int(shape.difficult)}</difficult>"
            f"<bndbox>{corners}</bndbox></object>"
        )
    return f"<annotation><size><width>{SIDE}</width><height>{SIDE}</height></size>{objects}</annotation>"


def write_coco(root: Path, train: int = 4, val: int = 4) -> None:
    """``coco/`` with polygons, and one crowd in the first image; the validation images are those of training.

    All 80 classes are listed, since a detector may take a shape for any of them.
    """
    from mmdet.datasets import CocoDataset

    numbers = {name: i for i, name in enumerate(CocoDataset.METAINFO["classes"], start=1)}
    folder = root / "coco"
    (folder / "annotations").mkdir(parents=True)
    for split, count in (("train2017", train), ("val2017", val)):
        (folder / split).mkdir()
        images, annotations = [], []
        for i in range(count):
            image, shapes = draw(i)
            image.save(folder / split / f"{i:012d}.jpg", quality=95)
            images.append(dict(id=i, file_name=f"{i:012d}.jpg", width=SIDE, height=SIDE))
            for shape in shapes:
                annotations.append(_annotation(len(annotations) + 1, i, numbers[shape.name], shape))
        crowd = dict(annotations[0], id=len(annotations) + 1, iscrowd=1, bbox=[0, 0, 8, 8], area=64)
        crowd["segmentation"] = dict(size=[SIDE, SIDE], counts=[0, *[8, SIDE - 8] * 7, 8, SIDE * (SIDE - 8) + SIDE - 8])
        record = dict(
            images=images,
            annotations=[*annotations, crowd],
            categories=[dict(id=number, name=name) for name, number in numbers.items()],
        )
        (folder / "annotations" / f"instances_{split}.json").write_text(json.dumps(record))


def _annotation(number: int, image: int, category: int, shape: Shape) -> dict[str, Any]:
    left, top, right, bottom = shape.box
    mask = Image.new("1", (SIDE, SIDE))
    ImageDraw.Draw(mask).polygon(shape.polygon, fill=1)
    return dict(
        id=number,
        image_id=image,
        category_id=category,
        bbox=[left, top, right - left, bottom - top],
        area=int(np.asarray(mask).sum()),
        iscrowd=0,
        segmentation=[[float(v) for point in shape.polygon for v in point]],
    )


@dataclass
class SmallNetwork:
    """A sub-network as a detector sees it.

    Attributes:
        config: The config in configs/detection that it goes into.
        net: The super-network.
        name: Of the sub-network.
        weights: Its export.
        options: Of the config's backbone.
    """

    config: str
    net: Any
    name: str
    weights: Path
    options: dict[str, Any]

    @property
    def channels(self) -> list[int]:
        return json.loads(Path(f"{self.weights}.json").read_text())["out_channels"]


def small_networks(folder: Path) -> dict[str, SmallNetwork]:
    """A path of SDR, and a MobileNetV3 and a ResNet of DSPNet, exported for mmdet; no weight is at its default."""
    torch.manual_seed(0)
    slimmable = SlimmableResNet(
        ((8, 8, 16, 16), (16, 16, 24, 24)), ((1, 1, 1, 1), (1, 2, 1, 1)), zero_init_residual=False
    )
    found = [
        (
            "sdr",
            "faster-rcnn_sdr-r50-256path_fpn_24k_voc0712",
            SDRResNet(18, (16, 16, 32, 32), (1, 1, 2, 2), stem_channels=8, zero_init_residual=False),
            "0-0-1-0",
        ),
        (
            "mobilenet",
            "mask-rcnn_dspnet-mobilenet-v3-w0.5_fpn_180k_coco",
            SlimmableMobileNetV3("small", (0.25, 0.5)),
            "w0.5",
        ),
        ("resnet", "mask-rcnn_dspnet-r18_fpn_180k_coco", slimmable, slimmable.space.smallest),
    ]
    networks = {}
    for key, config, net, name in found:
        net.init_weights()
        randomise(net)
        report = export_subnet(net, name, folder / f"{key}.pth", "mmdet")
        options = json.loads(report.sidecar.read_text())["usage"]["backbone"]
        del options["type"], options["init_cfg"]
        networks[key] = SmallNetwork(config, net, name, report.path, options)
    return networks


def small_options(network: SmallNetwork, root: Path, batch: int = 2, side: int = 96) -> dict[str, Any]:
    """``cfg_options`` that shrink the config of a network to seconds: data, image size, heads, no worker processes."""
    masks = network.config.startswith("mask")
    options: dict[str, Any] = {
        "data_root": str(root / (COCO if masks else VOC)) + "/",
        "train_dataloader.batch_size": batch,
        "default_hooks.logger.interval": 5,
        "log_level": "WARNING",
        "model.neck.in_channels": network.channels,
        "model.backbone.init_cfg.checkpoint": str(network.weights),
    }
    options |= {f"model.backbone.{key}": value for key, value in network.options.items()}
    for split in ("train", "val", "test"):
        options |= {f"{split}_dataloader.num_workers": 0, f"{split}_dataloader.persistent_workers": False}
    pipeline = "train_dataloader.dataset." + ("pipeline" if masks else "datasets.{}.pipeline")
    options |= {f"{pipeline.format(i)}.2.scales": [(side, side)] for i in range(1 if masks else 2)}
    options |= {f"{split}_dataloader.dataset.pipeline.1.scale": (side, side) for split in ("val", "test")}
    return options | small_heads(masks)


def small_heads(masks: bool) -> dict[str, Any]:
    """``cfg_options`` for narrow heads and few proposals of a two-stage detector."""
    heads = ["bbox_roi_extractor.out_channels", "bbox_head.in_channels"]
    if masks:
        heads += ["mask_roi_extractor.out_channels", "mask_head.in_channels", "mask_head.conv_out_channels"]
    return {
        "model.neck.out_channels": 16,
        "model.rpn_head.in_channels": 16,
        "model.rpn_head.feat_channels": 16,
        **{f"model.roi_head.{key}": 16 for key in heads},
        "model.roi_head.bbox_head.fc_out_channels": 64,
        "model.train_cfg.rpn_proposal.nms_pre": 200,
        "model.train_cfg.rpn_proposal.max_per_img": 64,
        "model.train_cfg.rcnn.sampler.num": 32,
        "model.test_cfg.rpn.nms_pre": 200,
        "model.test_cfg.rpn.max_per_img": 64,
    }


def run_script(path: Path, *arguments: object) -> None:
    """Run a command line in this process."""
    before, sys.argv = sys.argv, [str(path), *map(str, arguments)]
    try:
        runpy.run_path(str(path), run_name="__main__")
    finally:
        sys.argv = before


def as_arguments(options: dict[str, Any]) -> list[str]:
    """``cfg_options`` as a command line has them."""
    return [f"{key}={value}".replace(" ", "") for key, value in options.items()]
