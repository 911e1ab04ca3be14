"""Pre-train a network or super-network from a config."""

from __future__ import annotations

import argparse

from mmssl_dynamic.arguments import Checked, existing_folder
from mmssl_dynamic.commands import shared, training_options


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Define its options."""
    shared.add_config(parser, "config file, such as configs/sdr/sdr_simsiam_r50_256path.py")
    parser.add_argument(
        "--channels-last",
        action="store_true",
        help="keep weights and images in channels-last order, which is faster on GPUs, above all with --amp",
    )
    parser.add_argument(
        "--no-validate", dest="validate", action="store_false", help="no validation during the training"
    )
    parser.add_argument(
        "--no-pin-memory",
        dest="pin_memory",
        action="store_false",
        help="load images into ordinary memory (default: page-locked memory, where there is CUDA)",
    )
    parser.add_argument(
        "--no-persistent-workers",
        dest="persistent_workers",
        action="store_false",
        help="start loader processes anew in every epoch (default: keep them)",
    )
    parser.add_argument(
        "--monitor",
        metavar="DIR",
        action=Checked,
        check=existing_folder("folder of labelled images", "give one with train/CLASS/ and val/CLASS/, or with CLASS/"),
        help="log the kNN accuracy on a labelled folder about ten times during the training",
    )
    training_options.add_arguments(parser)


def main(args: argparse.Namespace) -> None:
    """Train to the end."""
    options = vars(args)
    from mmssl_dynamic.apis.train import train
    from mmssl_dynamic.engine.launch import prepare_config

    train(prepare_config(options.pop("config"), **options))
