"""What a step of each run of a study costs, in steps of its first run: loading, forward, backward and update.

Short trainings take turns, round by round, on images of noise as large as the pool's, so that a busy machine is as busy
for all; the median over the rounds is printed. Equal-time studies take their epochs from it.

    python tools/studies/step_costs.py relatives --rounds 5
"""

import argparse
import importlib
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

import numpy as np
from mmengine.hooks import Hook
from PIL import Image
from runs import ROOT, Run
from study import STUDIES

from mmssl_dynamic import cli
from mmssl_dynamic.clusters import Clusters
from mmssl_dynamic.commands.shared import config_options
from mmssl_dynamic.engine.launch import build_runner, prepare_config
from mmssl_dynamic.loading import load_config

#: Of the pool's images: their short side, and how many: clusters of 16 paths are larger than a batch of 64.
SIDE, IMAGES = 128, 1280


class StepTimes(Hook):
    """Seconds from one step's end to the next's."""

    def __init__(self) -> None:
        self.ends: list[float] = []

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None) -> None:
        """Note the time."""
        self.ends.append(time.perf_counter())


def write_images(folder: Path) -> None:
    """Noise with large spots, as JPEG files."""
    rng = np.random.default_rng(0)
    folder.mkdir(parents=True)
    for index in range(IMAGES):
        spots = Image.fromarray(rng.integers(0, 256, (12, 16, 3), dtype=np.uint8))
        spots.resize((SIDE * 4 // 3, SIDE), Image.Resampling.BICUBIC).save(folder / f"{index:04d}.jpg", quality=90)


def seconds(run: Run, work: Path, out: Path) -> float:
    """Of a step, the median over an epoch without its first two."""
    path = str(ROOT / "configs" / run.config)
    options = [option.replace("$OUT", str(out)) for option in run.options if not option.startswith("warmup_epochs")]
    options = [f"data_root={work / 'images'}", *options]
    if run.split is not None:
        # A step of a path costs the same whichever it is.
        names = [f"{index:04d}.jpg" for index in range(IMAGES)]
        count = 4 if "_4path" in run.config else 16
        Clusters(names, (np.arange(IMAGES) % count).astype(np.int32), count, "random").save(work / "clusters.npz")
        options.append(f"clusters_file={work / 'clusters.npz'}")
    config = load_config(path, config_options(path, dict(option.split("=", 1) for option in options)))
    config.custom_hooks = [hook for hook in config.custom_hooks if "BNBankHook" not in hook.type]
    for hook in config.custom_hooks:
        if "warmup_epochs" in hook:
            hook.warmup_epochs = 0
    config.train_cfg.max_epochs = 1
    config.default_hooks.checkpoint.interval = -1
    config.default_hooks.pop("curves", None)
    config.param_scheduler = []
    config.log_level = "ERROR"
    config.channels_last = True
    runner = build_runner(prepare_config(config, work_dir=str(work / "run")))
    times = StepTimes()
    runner.register_hook(times)
    runner.train()
    return float(np.mean(np.diff(times.ends)[1:]))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("study", choices=STUDIES)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--runs", nargs="+", metavar="NAME", help="only these, beside the first (default: all)")
    args = parser.parse_args()
    study = importlib.import_module(args.study)
    runs = list({(run.config, run.options): run for stage in study.STAGES for run in stage}.values())
    if args.runs is not None:
        runs = [run for run in runs if run is runs[0] or run.name in args.runs]
    with tempfile.TemporaryDirectory() as name:
        work = Path(name)
        write_images(work / "images")
        if args.study == "teacher":
            importlib.import_module("lite_teacher").write(work / "efficientnet-lite0.safetensors")
        found: dict[str, list[float]] = {run.name: [] for run in runs}
        for _ in range(args.rounds):
            for run in runs:
                found[run.name].append(seconds(run, work, work))
    base = found[runs[0].name]
    for run in runs:
        ratios = [a / b for a, b in zip(found[run.name], base)]
        print(f"{run.name:40} {median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})")


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parent))
    cli.run(main)
