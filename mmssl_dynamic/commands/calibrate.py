"""Compute the BatchNorm statistics of every sub-network and write them to a bank file.

Each has the statistics of its own images. Routing and export need this bank. Training writes one at its end; this
writes it for any checkpoint.
"""

from __future__ import annotations

import argparse

from mmssl_dynamic.arguments import at_least
from mmssl_dynamic.commands import shared


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Define its options."""
    shared.add_config(parser)
    shared.add_checkpoint(parser)
    shared.add_out(parser, "bn_bank.safetensors", "the checkpoint's, where all tools look for it")
    shared.add_clusters(parser, "clusters.npz (default: clusters_file of the config)")
    parser.add_argument(
        "--source",
        choices=("cluster", "all", "mix"),
        help="whose images the statistics of a path come from: its own cluster's, those of all, or half and half "
        "(default: those that it trained on)",
    )
    parser.add_argument(
        "--transforms",
        choices=("eval", "train"),
        default="eval",
        help="what happens to these images: the transforms of evaluation, or those of training, as once-for-all has it "
        "(default: eval, our reading)",
    )
    parser.add_argument(
        "--bn",
        nargs="+",
        choices=("path", "prefix"),
        help="path: statistics of whole sub-networks, as in the paper; prefix: statistics that sub-networks with a "
        "common beginning share, which makes routing about three times as fast, and which SDR alone has "
        "(default: all that the network has)",
    )
    shared.add_number(
        parser, "--images", "images per sub-network (default: 2000)", at_least(2), default=2000, metavar="N"
    )
    shared.add_seed(parser, "of the sample of images (default: 0)")
    shared.add_cfg_options(parser)
    shared.add_execution(parser, batch_size=200, workers=2, launcher=True)


def main(args: argparse.Namespace) -> None:
    """Do what was asked for, and print what came of it."""
    from mmssl_dynamic.apis.calibrate import calibrate
    from mmssl_dynamic.calibration import CalibrationPlan

    config, execution = shared.config_and_execution(args)
    plan = CalibrationPlan(args.source, args.transforms, args.bn, args.images, args.seed)
    bank = calibrate(config, args.checkpoint, args.out, clusters=args.clusters, plan=plan, execution=execution)
    if execution.first:
        print(f"wrote the {bank.source}: {len(bank.path)} sub-networks, {len(bank.prefix)} prefixes")
