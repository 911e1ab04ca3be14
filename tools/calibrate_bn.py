"""Compute the BatchNorm statistics of every sub-network, each from its own images, and write them to a bank file.

Routing and export need this bank. Training writes one at its end; this writes it for any checkpoint.
"""

import argparse

from mmssl_dynamic import cli
from mmssl_dynamic.arguments import Checked, at_least, existing


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    cli.add_config_argument(parser)
    cli.add_checkpoint_argument(parser)
    cli.add_out_argument(parser, "bn_bank.safetensors", "the checkpoint's, where all tools look for it")
    parser.add_argument(
        "--clusters",
        metavar="FILE",
        action=Checked,
        check=existing("clusters file", "write it with tools/cluster.py"),
        help="clusters.npz (default: clusters_file of the config)",
    )
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
    cli.add_number_argument(parser, "--images", "images per sub-network (default: 2000)", at_least(2), default=2000)
    parser.add_argument("--seed", type=int, default=0, help="of the sample of images (default: 0)")
    cli.add_loader_arguments(parser, 200, 2)
    cli.add_device_argument(parser)
    cli.add_cfg_options_argument(parser)
    args = parser.parse_args()
    args.cfg_options = cli.config_options(args.config, args.cfg_options)
    return args


def main() -> None:
    args = parse_args()
    from mmssl_dynamic.apis.calibrate import calibrate

    bank = calibrate(
        args.config,
        args.checkpoint,
        args.out,
        clusters=args.clusters,
        source=args.source,
        transforms=args.transforms,
        bn=args.bn,
        images=args.images,
        batch_size=args.batch_size,
        seed=args.seed,
        num_workers=args.workers,
        device=args.device,
        cfg_options=args.cfg_options,
    )
    print(f"wrote the {bank.source}: {len(bank.path)} sub-networks, {len(bank.prefix)} prefixes")


if __name__ == "__main__":
    cli.run(main)
