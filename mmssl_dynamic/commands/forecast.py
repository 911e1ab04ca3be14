"""Forecast a training before it runs: hours, memory, cores of the loader, sizes of files, clusters.

Nothing is trained, and neither a GPU nor the images are needed. Every phase's loss goes forwards and backwards on
tensors without values, and what it multiplies, saves and starts on a card is counted; the transforms of the training
images are timed on one core for a second. Hours follow from the peak of --card and from --utilisation, the share of it
that a training reaches with many images a card: steps per hour of a short run of yours say what it is. With few images
a card waits for its processor, which takes --launch-microseconds to start an operation.
"""

from __future__ import annotations

import argparse

from mmssl_dynamic.arguments import Checked, at_least, positive
from mmssl_dynamic.commands import shared
from mmssl_dynamic.outputs import check_output_file

_CARDS = ("v100", "a100", "h100", "h200", "rtx3090", "rtx4090")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Define its options."""
    shared.add_config(parser)
    shared.add_number(parser, "--gpus", "(default: 8)", at_least(1), default=8, metavar="N")
    parser.add_argument("--card", choices=_CARDS, default="h100", help="kind of GPU (default: h100)")
    help = (
        "share of the card's peak that the training reaches where it is busy (default: 0.1, what an H100 reached with "
        "256 images of 224 px at a time, and 0.01 with depthwise convolutions)"
    )
    shared.add_number(parser, "--utilisation", help, positive, float, metavar="SHARE")
    help = (
        "what a processor takes to start an operation on a card, and with it the least that a step takes (default: 65, "
        "measured beside an H100; fewer operations are started with --compile)"
    )
    shared.add_number(parser, "--launch-microseconds", help, at_least(0), float, metavar="US", default=65.0)
    shared.add_amp(parser, "the training has automatic mixed precision; of whichever kind, activations are of 16 bits")
    help = "of the data set (default: those in its folder or in the clusters file)"
    shared.add_number(parser, "--images", help, at_least(1), metavar="N")
    help = "training images that a core makes in a second (default: measured here)"
    shared.add_number(parser, "--images-per-core", help, positive, float, metavar="RATE")
    parser.add_argument(
        "--out",
        metavar="FILE",
        action=Checked,
        check=lambda path, option: check_output_file(path, option, (".json",)),
        help="a .json file for all figures",
    )
    shared.add_cfg_options(parser)


def main(args: argparse.Namespace) -> None:
    """Do what was asked for, and print what came of it."""
    from mmssl_dynamic.apis.forecast import forecast
    from mmssl_dynamic.forecast import Machine
    from mmssl_dynamic.loading import load_config

    config = load_config(args.config, args.cfg_options)
    machine = Machine(
        args.gpus,
        args.card,
        args.utilisation,
        args.amp is not None,
        args.images_per_core,
        args.launch_microseconds,
    )
    print(forecast(config, machine, images=args.images, out=args.out).table())
