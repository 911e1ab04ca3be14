"""A small folder in which every command line takes a second or two, and what they write compared bit by bit."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch

from mmssl_dynamic.clusters import Clusters
from mmssl_dynamic.features import Features
from mmssl_dynamic.fileio import load_run_checkpoint
from mmssl_dynamic.loading import build_backbone, load_config
from tests.faults.test_bad_input import CALIBRATE, CLUSTER, EVALUATE, EXPORT, EXTRACT, PRUNE, REPO, ROUTE, TRANSFER, run
from tests.helpers import MOCO_HEAD, MOCO_NECK
from tests.tools.running import CONFIG, paint

_TRAINING = """
_base_ = ["{root}/configs/{base}.py"]
data_root = "{data}"
{model}
train_dataloader = dict(
    batch_size=5, num_workers=0, persistent_workers=False, dataset=dict({of_paths}dataset=dict(data_root=data_root))
)
extract_dataloader = dict(batch_size=5, num_workers=0, dataset=dict(data_root=data_root))
train_cfg = dict(max_epochs=3)
param_scheduler = [dict(type="CosineAnnealingLR", by_epoch=True, T_max=3, convert_to_iter_based=True)]
custom_hooks = [{hooks}]
default_hooks = dict(
    checkpoint=dict(_delete_=True, type="CheckpointHook", by_epoch=False, interval=2, max_keep_ckpts=2),
    logger=dict(interval=1),
)
log_level = "WARNING"
"""
_PATHS = """
stage_groups = (1, 1, 2, 2)
clusters_file = "clusters.npz"
narrow = dict(stage_groups=stage_groups, stage_channels=(8, 8, 16, 16), shared_ratio=0.5, stem_channels=8)
"""
_SDR = f"{_PATHS}model = dict(backbone=narrow)"
# As in sdr_mocov2_r50_256path.py, with a short queue.
_MOCO = f"""{_PATHS}
model = dict(
    type="mmssl_dynamic.SDRMoCo", queue_len=16, backbone=narrow,
    neck=dict(_delete_=True, type="mmssl_dynamic.ElasticProjector", **{MOCO_NECK}),
    head=dict(_delete_=True, **{MOCO_HEAD}))
"""
_WIDTHS = """
model = dict(
    backbone=dict(
        _delete_=True, type="mmssl_dynamic.SlimmableResNet", channels={channels}, blocks=[[1, 1, 1, 1]],
        zero_init_residual=False),
    neck=dict(hid_channels=16, out_channels=8),
    head=dict(predictor=dict(in_channels=8, hid_channels=16, out_channels=8)),
)
"""
_SUPERVISED = """
model = dict(
    data_preprocessor=dict(num_classes=2),
    backbone=dict(
        _delete_=True, type="mmssl_dynamic.SlimmableResNet", channels=[[8, 8, 8, 8], [8, 8, 16, 16]],
        blocks=[[1, 1, 1, 1]]),
    head=dict(num_classes=2),
)
val_dataloader = dict(batch_size=8, num_workers=0, dataset=dict(data_root="pets/test"))
test_dataloader = val_dataloader
val_evaluator = dict(topk=(1,))
test_evaluator = val_evaluator
"""
_BANK = ("BNBankHook", dict(images=8, batch_size=4))
_TARGET = ("TargetEMAHook", dict(base_momentum=0.1))
_PHASES, _COLLAPSE = ("ProgressivePhaseHook", {}), ("CollapseMonitorHook", {})
_SANDWICH = ("SandwichHook", dict(num_networks=2, warmup_epochs=1))


class Training(NamedTuple):
    """A config of the package made small.

    Attributes:
        base: The config.
        model: What is smaller in it.
        hooks: Types and options.
        data: Its images.
    """

    base: str
    model: str
    hooks: tuple[tuple[str, dict], ...] = ()
    data: str = "unlabelled"

    def config(self) -> str:
        """The text of the config."""
        of_paths = "stage_groups=stage_groups, clusters_file=clusters_file, " if "clusters_file" in self.model else ""
        hooks = ", ".join(f'dict(type="mmssl_dynamic.{kind}", **{options})' for kind, options in self.hooks)
        return _TRAINING.format(
            root=REPO, base=self.base, data=self.data, model=self.model, of_paths=of_paths, hooks=hooks
        )


TRAININGS = {
    "SDR": Training("demo/sdr_demo", _SDR, (_PHASES, _COLLAPSE, _BANK)),
    "SDR on BYOL": Training("sdr/sdr_byol_r18_16path_tinyin", _SDR, (_PHASES, _TARGET, _BANK)),
    "SDR on MoCo-v2": Training("demo/sdr_demo", _MOCO, (_PHASES, _TARGET)),
    "DSPNet": Training(
        "demo/dspnet_demo", _WIDTHS.format(channels=[[8, 8, 8, 8], [8, 8, 16, 16]]), (_SANDWICH, _TARGET, _BANK)
    ),
    "SimSiam": Training(
        "demo/simsiam_demo",
        "model = dict(backbone=dict(base_channels=8, stem_channels=8), neck=dict(in_channels=64, hid_channels=64))",
        (("FixedPredictorLrHook", {}),),
    ),
    "BYOL": Training("dspnet/byol_mobilenet-v3_tinyin", _WIDTHS.format(channels=[[8, 8, 16, 16]]), (_TARGET, _BANK)),
    "supervised slimmable": Training(
        "dspnet/slimmable-supervised_mobilenet-v3_tinyin",
        _SUPERVISED,
        (_SANDWICH, ("CalibrateBNHook", dict(images=8, batch_size=4)), _BANK),
        data="pets/train",
    ),
}
COMMANDS = {
    **{
        f"train {name}": f"train {name.replace(' ', '_')}.py --work-dir out --resume --tensorboard"
        for name in TRAININGS
    },
    "extract_features": EXTRACT,
    "cluster": CLUSTER,
    "calibrate_bn": CALIBRATE,
    "route": ROUTE,
    "evaluate": EVALUATE,
    "evaluate --protocol linear": f"{EVALUATE} --protocol linear --image-size 32 --protocol-options max_epochs=2",
    "transfer": TRANSFER,
    "export": EXPORT,
    "prune": PRUNE,
}


def write_good_folder(root: Path) -> None:
    """Everything that the commands need."""
    paint(root / "unlabelled", 20, 120, 0)
    for part, count in (("train", 9), ("test", 4)):
        for index, label in enumerate(("cat", "dog")):
            paint(root / "pets" / part / label, count, 110 + 25 * index, index + len(part))
    (root / "config.py").write_text(CONFIG.replace("{root}/", ""))
    names = [f"{index:02d}.png" for index in range(20)]
    Clusters(names, np.arange(20) % 4, 4, "random").save(root / "clusters.npz")
    rows = np.random.default_rng(0).random((20, 12), np.float32)
    Features(rows, names, image_root=str(root / "unlabelled")).save(root / "F.npy")
    for name, training in TRAININGS.items():
        (root / f"{name.replace(' ', '_')}.py").write_text(training.config())
    here = Path.cwd()
    os.chdir(root)
    try:
        torch.manual_seed(0)
        state = build_backbone(load_config("config.py")).state_dict()
        torch.save({"state_dict": {f"backbone.{key}": value for key, value in state.items()}}, "epoch_1.pth")
        run(CALIBRATE)
        (root / "out" / "bn_bank.safetensors").rename("bank.safetensors")
        (root / "out").rmdir()
    finally:
        os.chdir(here)


# Logs, with the times of a run in their names; locks; what a second run of a killed one has twice.
_OF_A_RUN = re.compile(r"(^|/)\d{8}_\d{6}(/|$)|\.lock$")
# Pictures and pages show figures that are compared, beside the time that they took; a copy of the config says where the
# run went on from.
_SHOWN = (".png", ".html", ".log", ".md", ".py")
_TIMES = re.compile(r"seconds|_ms$|time|date|digest|computed|throughput|images_per")


def differences(one: Path, other: Path) -> list[str]:
    """Files of two output folders, and values in them, that differ."""
    left, right = ({str(p.relative_to(root)) for p in root.rglob("*") if p.is_file()} for root in (one, other))
    left, right = ({name for name in names if not _OF_A_RUN.search(name)} for names in (left, right))
    found = [f"only once: {name}" for name in sorted(left ^ right)]
    return found + [f"{name}{place}" for name in sorted(left & right) for place in _compare(one / name, other / name)]


def _compare(one: Path, other: Path) -> list[str]:
    if one.suffix in _SHOWN:
        return []
    if one.suffix == ".pth":
        return _differing(*(_lasting(load_run_checkpoint(path)) for path in (one, other)))
    if one.suffix == ".json":
        return _differing(*(json.loads(path.read_text()) for path in (one, other)))
    if one.suffix == ".npz":
        with np.load(one) as left, np.load(other) as right:
            return _differing(dict(left), dict(right))
    return [] if one.read_bytes() == other.read_bytes() else [""]


def _lasting(checkpoint: dict[str, Any]) -> dict[str, Any]:
    """What a checkpoint holds beside the times in its log."""
    return {key: value for key, value in checkpoint.items() if key not in ("meta", "message_hub")}


def _differing(one: Any, other: Any, place: str = "") -> list[str]:
    if isinstance(one, dict) and isinstance(other, dict):
        keys = {key for key in {*one, *other} if not (isinstance(key, str) and _TIMES.search(key))}
        missing = object()
        return [p for key in keys for p in _differing(one.get(key, missing), other.get(key, missing), f"{place}:{key}")]
    if isinstance(one, list | tuple) and isinstance(other, list | tuple) and len(one) == len(other):
        return [p for i, (a, b) in enumerate(zip(one, other)) for p in _differing(a, b, f"{place}:{i}")]
    if isinstance(one, torch.Tensor | np.ndarray) and type(one) is type(other):
        same = one.dtype == other.dtype and one.shape == other.shape and bool((one == other).all())
    else:
        same = one == other
    return [] if same else [place]
