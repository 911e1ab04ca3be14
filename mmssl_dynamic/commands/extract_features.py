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
    shared.add_execution(parser, batch_size=own, workers=own, again=True)


def main(args: argparse.Namespace) -> None:
    """Do what was asked for, and print what came of it."""
    from mmssl_dynamic.calibration.statistics import apply_bank
    from mmssl_dynamic.datasets.batches import build_dataset
    from mmssl_dynamic.features.extract import extract_features
    from mmssl_dynamic.loading import load_backbone, load_config, need, normalisation_of, select_device

    config = load_config(args.config, args.cfg_options)
    need(config, "extract_dataloader")
    device = select_device(args.device)
    backbone = load_backbone(config, args.checkpoint, device)
    apply_bank(backbone, [args.subnet], args.checkpoint, args.bank)
    loader = config.extract_dataloader
    features = extract_features(
        backbone,
        build_dataset(loader.dataset),
        normalisation_of(config),
        args.out,
        subnet=args.subnet,
        batch_size=loader.get("batch_size", 64) if args.batch_size is None else args.batch_size,
        num_workers=loader.get("num_workers", 0) if args.workers is None else args.workers,
        device=device,
        limit_images=args.limit_images,
        again=args.again,
        progress=args.progress,
    )
    print(f"{args.out}: {features.num_images} images x {features.dim} features")
