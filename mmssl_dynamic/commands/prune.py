"""Prune the backbone of a training by magnitude, the lottery-ticket control of SDR Table 3.

The smallest weights of all convolutions together become zero until the backbone has as many parameters as a sub-network
of SDR. Fine-tune the result with a config that has KeepPrunedHook, such as
configs/sdr/ablations/simsiam_r50-wide-pruned_8xb64-coslr-20e_in1k.py.
"""

from __future__ import annotations

import argparse

from mmssl_dynamic.commands import shared


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Define its options."""
    shared.add_config(parser, "config of the training")
    shared.add_checkpoint(parser, "checkpoint of the training")
    shared.add_out(parser, "pruned.pth, to be named in load_from")
    size = parser.add_mutually_exclusive_group(required=True)
    size.add_argument("--num-weights", type=int, metavar="N", help="parameters of the backbone to keep")
    shared.add_config_file(size, "--like", "keep as many as a sub-network of this config's super-network has")
    shared.add_cfg_options(parser)


def main(args: argparse.Namespace) -> None:
    """Do what was asked for, and print what came of it."""
    from mmssl_dynamic.apis.prune import prune, subnet_size
    from mmssl_dynamic.loading import load_config

    count = args.num_weights if args.like is None else subnet_size(args.like)
    config = load_config(args.config, args.cfg_options)
    figures = prune(config, args.checkpoint, args.out, num_weights=count)
    for name, share in figures["layers"].items():
        print(f"{100 * share:5.1f} %  {name}")
    kept = figures["after"] / figures["before"]
    left = f"{figures['after']:,} of {figures['before']:,} parameters are left ({100 * kept:.1f} %)"
    print(f"wrote {figures['file']}: {left}")
