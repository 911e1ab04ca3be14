"""Evaluate a trained detector: AP of boxes and masks, and pictures of what it finds.

Printed are AP, AP50 and AP75. Written to --out: results.json with the whole protocol, report.html, and the pictures in
it. mmdet's own tools/test.py evaluates the same configs and checkpoints.
"""

from __future__ import annotations

import argparse
import os

from mmssl_dynamic.commands import shared


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Define its options."""
    shared.add_config(parser, "config of the training")
    shared.add_checkpoint(parser, "checkpoint of the detector")
    parser.add_argument("--work-dir", metavar="DIR", help="folder of logs (default: --out, or work_dirs/<config name>)")
    shared.add_out(parser, default="the work dir")
    parser.add_argument(
        "--show-dir",
        metavar="NAME",
        help="draw every image, as mmdet's tool does, into this folder below the work dir and the time of the start",
    )
    parser.add_argument("--pictures", type=int, default=8, metavar="N", help="images in the report (default: 8)")
    parser.add_argument(
        "--score-thr", type=float, default=0.3, metavar="SCORE", help="of the predictions to draw (default: 0.3)"
    )
    shared.add_cfg_options(parser)
    shared.add_launcher(parser)


def main(args: argparse.Namespace) -> None:
    """Test, and print the average precisions."""
    options = vars(args)
    from mmssl_dynamic.detection.detector import evaluate_detector

    found = evaluate_detector(options.pop("config"), options.pop("checkpoint"), **options)
    if os.environ.get("RANK", "0") == "0":
        for what, values in found.items():
            print(f"{what}: " + ", ".join(f"{name} {value:.1f}" for name, value in values.items()))
