"""Small real things that several tests need."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import torch
from mmengine.logging import MessageHub
from mmpretrain.registry import MODELS
from mmpretrain.structures import DataSample
from PIL import Image

from mmssl_dynamic.calibration import calibrate_path
from mmssl_dynamic.clusters import Clusters
from mmssl_dynamic.datasets.normalisation import Normalisation
from mmssl_dynamic.export import InputImages, static_export

WIDTHS = (16, 16, 32, 32)
BN = dict(type="BN1d")
NECK = dict(hid_channels=32, out_channels=32, num_layers=3, with_last_bn_affine=False, norm_cfg=BN)
HEAD = dict(
    type="LatentPredictHead",
    loss=dict(type="CosineSimilarityLoss"),
    predictor=dict(
        type="NonLinearNeck",
        in_channels=32,
        hid_channels=16,
        out_channels=32,
        with_avg_pool=False,
        with_last_bn=False,
        with_last_bias=True,
        norm_cfg=BN,
    ),
)


# MoCo-v2's projector, which has no norm layers, and its loss.
MOCO_NECK = dict(
    hid_channels=32,
    out_channels=16,
    num_layers=2,
    with_bias=True,
    with_last_bias=True,
    with_last_bn=False,
    norm_cfg=None,
)
MOCO_HEAD = dict(type="ContrastiveHead", loss=dict(type="CrossEntropyLoss"), temperature=0.2)


def build_sdr(stage_groups=(4, 4, 4, 4), kind="SDR", neck=NECK, head=HEAD, network=None, **options):
    """A tiny SDR model in training mode, the same one every time; ``network`` has other options of its backbone."""
    torch.manual_seed(0)
    model = MODELS.build(
        dict(
            type=f"mmssl_dynamic.{kind}",
            backbone={
                "type": "mmssl_dynamic.SDRResNet",
                "depth": 18,
                "stage_channels": WIDTHS,
                "stage_groups": stage_groups,
                "stem_channels": 8,
                "zero_init_residual": False,
                **(network or {}),
            },
            neck=dict(type="mmssl_dynamic.ElasticProjector", **neck),
            head=head,
            **options,
        )
    )
    model.init_weights()
    return model.train()


def samples(name, count=8):
    """Data samples that name a sub-network."""
    out = [DataSample() for _ in range(count)]
    for sample in out:
        sample.set_field(name, "subnet", field_type="metainfo")
    return out


def views(seed, count=8):
    """Two views of random images, (count, 3, 32, 32) each."""
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(count, 3, 32, 32, generator=generator) for _ in range(2)]


def write_images(folder: Path, count: int, size: int = 32, classes: int = 4, seed: int = 0) -> Path:
    """An image folder of coloured noise: class c has its own colour."""
    rng = np.random.default_rng(seed)
    for i in range(count):
        label = i % classes
        base = np.full((size, size, 3), 40 + 170 * np.eye(3)[label % 3] * (0.5 + label / (2 * classes)))
        pixels = np.clip(base + rng.normal(0, 25, base.shape), 0, 255).astype(np.uint8)
        target = folder / f"class_{label}" / f"{i:04d}.png"
        target.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(target)
    return folder


def write_clusters(path: Path, names: list[str], num_clusters: int, seed: int = 0) -> Path:
    """A clusters file with a balanced assignment in shuffled order."""
    rng = np.random.default_rng(seed)
    order = rng.permutation(len(names))
    assignment = np.arange(len(names), dtype=np.int32) % num_clusters
    Clusters([names[i] for i in order], assignment, num_clusters, "random").save(path)
    return path


SYNC = dict(type="mmssl_dynamic.SyncBN")


def byol_parts(norm_cfg=BN):
    """Configs of a small projector and of a small predictor head."""
    layers = dict(hid_channels=32, out_channels=16, num_layers=2, with_bias=True, with_last_bn=False, norm_cfg=norm_cfg)
    predictor = dict(layers, type="NonLinearNeck", in_channels=16, with_avg_pool=False)
    head = dict(type="LatentPredictHead", loss=dict(type="CosineSimilarityLoss", shift_factor=1.0), predictor=predictor)
    return layers, head


def byol_target(byol, steps):
    """Takes the moving average out of mmpretrain's BYOL, where it moves inside of the loss; returns what moves it.

    Its momentum follows the cosine over ``steps``. The target starts as the online network.
    """
    MessageHub.get_instance("byol").update_info("max_iters", steps)  # where mmpretrain's moving average looks for K
    move, byol.target_net.update_parameters = byol.target_net.update_parameters, lambda *_: None
    online = torch.nn.Sequential(byol.backbone, byol.neck)
    byol.target_net.steps.zero_()
    move(online)  # the first call copies
    return lambda: move(online)


def online_and_head(byol):
    """The parameters of mmpretrain's BYOL that are trained."""
    return [*byol.backbone.parameters(), *byol.neck.parameters(), *byol.head.parameters()]


def build_slimmable(
    kind, channels=((8, 8, 16, 16), (16, 16, 24, 24), (16, 16, 32, 32)), blocks=None, norm_cfg=None, **options
):
    """A tiny slimmable model of widths x depths in training mode, the same one every time."""
    torch.manual_seed(0)
    neck, head = byol_parts(norm_cfg or BN)
    neck = dict(neck, type="mmssl_dynamic.ElasticProjector")
    model = MODELS.build(
        dict(
            type=f"mmssl_dynamic.{kind}",
            backbone=dict(
                type="mmssl_dynamic.SlimmableResNet",
                channels=[list(c) for c in channels],
                blocks=blocks or [[1, 1, 1, 1], [1, 1, 2, 2]],
                zero_init_residual=False,
                norm_cfg=norm_cfg,
            ),
            **{"neck": neck, "head": head, **options},
        )
    )
    model.init_weights()
    return model.train()


def randomise(net, names=None, seed=0):
    """A super-network in evaluation mode whose affine parameters and BatchNorm statistics all matter to its outputs.

    Statistics are near those of random images, in which features of unlike images differ, and yet none is theirs.
    """
    generator = torch.Generator().manual_seed(seed)

    def around(tensor, low, high):
        return tensor * (low + (high - low) * torch.rand(tensor.shape, generator=generator))

    for parameter in net.parameters():
        if parameter.ndim == 1:
            parameter.data = around(torch.ones_like(parameter), 0.5, 1.5)
    images = torch.randn(8, net.in_channels, 64, 64, generator=generator)
    for name in names or net.subnets:
        found = calibrate_path(net, name, [images])
        statistics = {layer: (around(mean, 0.7, 1.3), around(var, 0.7, 1.3)) for layer, (mean, var) in found.items()}
        net.set_bn_statistics(name, statistics)
    return net.eval()


IMAGES = InputImages(Normalisation((123.675, 116.28, 103.53), (58.395, 57.12, 57.375), to_rgb=True), (64, 64))


def export_subnet(net, name, out, format="mmpretrain", images=IMAGES, **options):
    """The export of a network that no config of a pre-training belongs to."""
    return static_export.export_subnet(net, name, out, format, images=images, **options)


def write_files(root: Path, *names: str) -> Path:
    """Write tiny images (or, for other endings, text files) under ``root``."""
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.suffix.lower() in {".png", ".jpg", ".jpeg", ".tif", ".webp"}:
            Image.new("RGB", (4, 4)).save(path, format="PNG")
        else:
            path.write_text("text")
    return root


def touch(path: Path) -> None:
    """As if it were another file under the same name, with the same size."""
    stat = path.stat()
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns + 1))
