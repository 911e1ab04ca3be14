"""Show results of routing, evaluation and transfer in TensorBoard, of runs that are finished.

Beside every routing.json and results.json a folder tensorboard/ is written. To look at them:
tensorboard --logdir work_dirs
"""

from __future__ import annotations

import argparse
import os

from mmssl_dynamic.arguments import Checked
from mmssl_dynamic.file_checks import existing_file


def check(paths: list[str], _: str) -> None:
    """Files and folders that must be there."""
    for path in paths:
        if not os.path.isdir(path):
            existing_file(path, "result")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Define its options."""
    parser.add_argument(
        "paths", nargs="+", metavar="PATH", action=Checked, check=check, help="results, or folders to look for them in"
    )


def main(args: argparse.Namespace) -> None:
    """Do what was asked for, and print what came of it."""
    from mmssl_dynamic.visualization.log_scalars import log_results

    for folder in log_results(args.paths):
        print(f"wrote {folder}")
