"""Small real things that several tests need."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from mmpretrain.registry import MODELS
from mmpretrain.structures import DataSample
from PIL import Image

from mmssl_dynamic.clustering.clusters import Clusters

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


def build_sdr(stage_groups=(4, 4, 4, 4), **options):
    """A tiny SDR model in training mode, the same one every time."""
    torch.manual_seed(0)
    model = MODELS.build(
        dict(
            type="mmssl_dynamic.SDR",
            backbone=dict(
                type="mmssl_dynamic.SDRResNet",
                depth=18,
                stage_channels=WIDTHS,
                stage_groups=stage_groups,
                stem_channels=8,
                zero_init_residual=False,
            ),
            neck=dict(type="mmssl_dynamic.ElasticProjector", **NECK),
            head=HEAD,
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
