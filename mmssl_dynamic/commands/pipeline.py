"""All of SDR on a folder of your images: a backbone for each of your tasks, and a report.

Trains SimSiam, clusters the images by its features, trains SDR from its weights, calibrates BatchNorm statistics,
chooses a sub-network for every task and exports it. Run again, it goes on where it stopped, and says what was kept.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from mmssl_dynamic.arguments import Checked, at_least, existing_folder
from mmssl_dynamic.commands import shared
from mmssl_dynamic.commands.demo_options import task_folders
from mmssl_dynamic.errors import ConfigError
from mmssl_dynamic.presets import SIZES


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Define its options."""
    parser.add_argument(
        "--data",
        required=True,
        metavar="DIR",
        action=Checked,
        check=existing_folder("image folder"),
        help="folder of images to pre-train on, of any structure, no labels needed; of tar files, an LMDB or a Hugging "
        "Face data set, too",
    )
    parser.add_argument(
        "--tasks",
        required=True,
        nargs="+",
        metavar="DIR",
        action=Checked,
        check=task_folders,
        help="labelled folders with train/CLASS/ and test/CLASS/ (or val/CLASS/), one for each task",
    )
    parser.add_argument(
        "--preset",
        choices=SIZES,
        default="small",
        help="small: 64 px, a narrow ResNet-18, about an hour on two cores; base: 224 px, ResNet-50, a GPU (default: "
        "%(default)s)",
    )
    shared.add_out(parser, "all results", "work_dirs/pipeline_<folder>")
    parser.add_argument(
        "--num-clusters",
        default="auto",
        metavar="K",
        action=Checked,
        check=_number,
        help="paths: 4, 16, 64 or 256; auto: as many as the images are good for (default: %(default)s)",
    )
    help = "of SimSiam, and of SDR (default: by the preset and the number of images)"
    shared.add_number(parser, "--epochs", help, at_least(1), metavar="N")
    shared.add_seed(parser)
    shared.add_again(parser)


def main(args: argparse.Namespace) -> None:
    """Do what was asked for, and print what came of it."""
    from mmssl_dynamic.pipeline.run import pipeline

    pipeline(
        args.data,
        args.tasks,
        args.out or Path("work_dirs") / f"pipeline_{Path(args.data).resolve().name}",
        preset=args.preset,
        num_clusters=args.num_clusters,
        options={} if args.epochs is None else {"max_epochs": args.epochs},
        seed=args.seed,
        again=args.again,
    )


def _number(text: str, name: str) -> None:
    if text != "auto" and text not in ("4", "16", "64", "256"):
        raise ConfigError(f"{name} {text} must be 4, 16, 64, 256 or auto.")
