"""Write the pooled backbone features of all training images to a file (SDR Sec. 4.2).

The first step of clustering. The images are those of the config's extract_dataloader. The file is written in place as
it grows, needs no memory to speak of, and a run that was stopped goes on where it was when started again with the same
arguments.
"""

from __future__ import annotations

import argparse

from mmssl_dynamic.arguments import Checked, at_least, file_ending
from mmssl_dynamic.commands import shared


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Define its options."""
    shared.add_config(parser, "pre-training config, with extract_dataloader and eval_pipeline")
    shared.add_checkpoint(parser, "weights of that config's model (.pth or .safetensors)")
    parser.add_argument(
        "--out",
        required=True,
        metavar="F.npy",
        action=Checked,
        check=file_ending(".npy"),
        help="file of the features; F.json with the image names goes beside",
    )
    parser.add_argument(
        "--subnet",
        default="full",
        metavar="NAME",
        help="sub-network of a super-network, such as 0-3-1-2 (default: full)",
    )
    shared.add_bank(parser, "for any --subnet but full, ")
    help = "only N images, evenly spaced over the data set"
    shared.add_number(parser, "--limit-images", help, at_least(1), metavar="N")
    shared.add_cfg_options(parser)
    own = "of extract_dataloader"
    shared.add_execution(parser, batch_size=own, workers=own, again=True, launcher=True)


def main(args: argparse.Namespace) -> None:
    """Do what was asked for, and print what came of it."""
    from mmssl_dynamic.apis.extract_features import extract_features

    config, execution = shared.config_and_execution(args)
    what = {"subnet": args.subnet, "bank": args.bank, "limit_images": args.limit_images}
    features = extract_features(config, args.checkpoint, args.out, **what, execution=execution)
    if execution.first:
        print(f"{args.out}: {features.num_images} images x {features.dim} features")
