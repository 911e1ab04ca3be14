"""A tiny SDR run on disk, and its command lines run in this process."""

import importlib.util
import sys

import numpy as np
from PIL import Image

from mmssl_dynamic import cli

CONFIG = """
default_scope = 'mmpretrain'
eval_pipeline = [
    dict(type='mmssl_dynamic.LoadImage'),
    dict(type='CenterCrop', crop_size=32),
    dict(type='PackInputs'),
]
model = dict(
    backbone=dict(
        type='mmssl_dynamic.SDRResNet', depth=18, stage_channels=(8, 8, 12, 12), stage_groups=(1, 1, 2, 2),
        stem_channels=5, norm_cfg=dict(type='SyncBN')),
    data_preprocessor=dict(type='SelfSupDataPreprocessor', mean=[127.0] * 3, std=[50.0] * 3, to_rgb=True))
extract_dataloader = dict(
    batch_size=8, num_workers=0,
    dataset=dict(type='mmssl_dynamic.ImageFolder', data_root='{root}/unlabelled', pipeline=eval_pipeline))
clusters_file = '{root}/clusters.npz'
"""


def paint(folder, count, base, seed):
    folder.mkdir(parents=True)
    rng = np.random.default_rng(seed)
    for i in range(count):
        pixels = np.clip(base + rng.normal(0, 40, (32, 36, 3)), 0, 255).astype(np.uint8)
        Image.fromarray(pixels).save(folder / f"{i:02d}.png")


def load_tool(repo_root, name):
    """The module of a command line."""
    path = repo_root / "tools" / f"{name}.py"
    spec = importlib.util.spec_from_file_location(f"tool_{path.stem}", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def tool(repo_root, name, *arguments, device=("--device", "cpu")):
    """Run a tool's main() in this process, as its command line does."""
    module = load_tool(repo_root, name)
    before, sys.argv = sys.argv, [f"{name}.py", *map(str, arguments), *device]
    try:
        cli.run(module.main)
    finally:
        sys.argv = before
