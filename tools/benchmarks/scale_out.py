"""How much faster two processes are than one, for extract-features and route: ratios of one run.

Both run as commands, `mmssl-dynamic VERB` alone and by torchrun, on images that are drawn for it, with one thread each.
What counts is the work itself, without imports and reports: its time (each process needs a core), and
the CPU time of the process that has most of it, which says the same on a machine that is busy with something else.
"""

from __future__ import annotations

import argparse
import json
import os
import socket
import subprocess
import sys
import tempfile
from pathlib import Path

from mmssl_dynamic import cli
from mmssl_dynamic.arguments import at_least
from mmssl_dynamic.commands import shared

CONFIG = """
default_scope = "mmpretrain"
eval_pipeline = [
    dict(type="mmssl_dynamic.LoadImage"),
    dict(type="ResizeEdge", scale={resize}, edge="short", backend="cv2"),
    dict(type="CenterCrop", crop_size={size}),
    dict(type="PackInputs"),
]
model = dict(
    backbone=dict(
        type="mmssl_dynamic.SDRResNet", depth={depth}, stage_channels={channels}, stage_groups=(1, 1, 2, 4),
        stem_channels=16),
    data_preprocessor=dict(type="SelfSupDataPreprocessor", mean=[127.0] * 3, std=[50.0] * 3, to_rgb=True))
extract_dataloader = dict(
    batch_size={batch}, num_workers=0,
    dataset=dict(type="mmssl_dynamic.ImageFolder", data_root="{root}/task/train", pipeline=eval_pipeline))
"""
# Runs a verb and writes how long its work took, by the clock and of the CPU in the process that needed most.
TIMED = """
import functools, json, sys, time
import torch
torch.set_num_threads(1)
import mmssl_dynamic.features.extract
import mmssl_dynamic.apis.extract_features
from mmssl_dynamic.commands.main import main
from mmssl_dynamic.processes import Processes
from mmssl_dynamic.routing import KNNRouter

out = sys.argv.pop(1)

def timed(work):
    @functools.wraps(work)
    def run(*given, **named):
        processes = Processes.now()
        processes.wait()
        start, cpu = time.perf_counter(), time.process_time()
        found = work(*given, **named)
        spent = max(processes.gathered(time.process_time() - cpu))
        if processes.first:
            open(out, "w").write(json.dumps([time.perf_counter() - start, spent]))
        return found
    return run

verb = sys.modules["mmssl_dynamic.apis.extract_features"]
verb.write_features = timed(verb.write_features)
KNNRouter.route = timed(KNNRouter.route)
main()
"""


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    shared.add_number(parser, "--images", "of the task (default: 512)", at_least(16), default=512)
    shared.add_number(parser, "--size", "side of what networks see (default: 96)", at_least(16), default=96)
    shared.add_number(parser, "--batch-size", "images per batch (default: 16)", at_least(1), default=16)
    shared.add_number(parser, "--processes", "to compare with one (default: 2)", at_least(2), default=2)
    shared.add_number(
        parser, "--rounds", "runs of each, in turns; the medians count (default: 3)", at_least(1), default=3
    )
    parser.add_argument("--depth", type=int, default=18, help="of the ResNet (default: 18)")
    parser.add_argument("--stage-channels", type=int, nargs=4, default=[32, 64, 128, 256], help="widths of the stages")
    return parser.parse_args()


def prepare(root: Path, args: argparse.Namespace) -> None:
    """Images, a config, a checkpoint and its BN bank."""
    import numpy as np
    import torch
    from PIL import Image

    from mmssl_dynamic.calibration import BNBank, calibrate_path, calibrate_prefixes
    from mmssl_dynamic.loading import build_backbone, load_config

    rng = np.random.default_rng(0)
    for part, count in (("train", args.images * 3 // 4), ("test", args.images // 4)):
        for index in range(count):
            # Smooth as photographs are, so that decoding takes as long as theirs.
            small = rng.integers(0, 256, (12, 16, 3), dtype=np.uint8)
            path = root / f"task/{part}/class_{index % 4}/{index:05d}.jpg"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(small).resize((500, 375), Image.Resampling.BICUBIC).save(path, quality=90)
    text = CONFIG.format(
        resize=round(args.size * 256 / 224),
        size=args.size,
        depth=args.depth,
        channels=tuple(args.stage_channels),
        batch=args.batch_size,
        root=root,
    )
    (root / "config.py").write_text(text)
    torch.manual_seed(0)
    net = build_backbone(load_config(root / "config.py")).eval()
    torch.save({f"backbone.{key}": value for key, value in net.state_dict().items()}, root / "net.pth")
    bank, images = BNBank.of(net), [torch.randn(8, 3, args.size, args.size)]
    bank.path = {name: calibrate_path(net, name, images) for name in net.subnets}
    bank.prefix = calibrate_prefixes(net, lambda prefix: images)
    bank.save(root / "bn_bank.safetensors")


def seconds(verb: str, arguments: list[str], root: Path, count: int) -> tuple[float, float]:
    """Time of a verb in so many processes, and CPU time of the busiest of them."""
    script, out = root / "timed.py", root / "seconds.json"
    script.write_text(TIMED)
    command = [str(out), verb, *arguments, "--no-progress"]
    if count == 1:
        command = [sys.executable, str(script), *command]
    else:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        launcher = [sys.executable, "-m", "torch.distributed.run", f"--nproc_per_node={count}", f"--master_port={port}"]
        command = [*launcher, str(script), *command, "--launcher", "pytorch"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}  # as torchrun has it
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{' '.join(command)}\n{done.stdout}{done.stderr}")
    by_clock, of_cpu = json.loads(out.read_text())
    return by_clock, of_cpu


def main() -> None:
    args = parse_args()
    import statistics

    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        prepare(root, args)
        run = [str(root / "config.py"), str(root / "net.pth")]
        task = ["--data-root", str(root / "task"), "--k", "5", "--workers", "0", "--batch-size", str(args.batch_size)]
        verbs = {
            "extract-features": [*run, "--out", str(root / "F.npy"), "--again"],
            "route": [*run, *task, "--out", str(root / "routed"), "--again"],
        }
        print(f"{args.images} images, ResNet-{args.depth} at {args.size} px, one thread each, {os.cpu_count()} cores")
        for verb, arguments in verbs.items():
            found: dict[int, list[tuple[float, float]]] = {1: [], args.processes: []}
            for _ in range(args.rounds):
                for count, times in found.items():
                    times.append(seconds(verb, arguments, root, count))
            medians = [[statistics.median(values) for values in zip(*times)] for times in found.values()]
            (one, one_cpu), (several, several_cpu) = medians
            line = f"{verb}: 1 process {one:.1f} s, {args.processes} of them {several:.1f} s, ratio {one / several:.2f}"
            line += f"; CPU {one_cpu:.1f} and {several_cpu:.1f} s, ratio {one_cpu / several_cpu:.2f}"
            if verb == "route":
                cost = json.loads((root / "routed/routing.json").read_text())["cost"]
                line += f", {cost['decodes_per_image']:g} decodes of an image"
            print(line, flush=True)


if __name__ == "__main__":
    cli.run(main)
