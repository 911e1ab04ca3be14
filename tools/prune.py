"""Prune the backbone of a training by magnitude, the lottery-ticket control of SDR Table 3.

The smallest weights of all convolutions together become zero until the backbone has as many parameters as a sub-network
of SDR. Fine-tune the result with a config that has KeepPrunedHook, such as
configs/sdr/ablations/simsiam_r50_wide_pruned.py.
"""

import argparse

from mmssl_dynamic import cli
from mmssl_dynamic.arguments import Checked, existing
from mmssl_dynamic.errors import ConfigError


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    cli.add_config_argument(parser, "config of the training")
    cli.add_checkpoint_argument(parser, "checkpoint of the training")
    cli.add_out_argument(parser, "pruned.pth, to be named in load_from")
    size = parser.add_mutually_exclusive_group(required=True)
    size.add_argument("--num-weights", type=int, metavar="N", help="parameters of the backbone to keep")
    size.add_argument(
        "--like",
        metavar="CONFIG",
        action=Checked,
        check=existing("config", error=ConfigError),
        help="keep as many as a sub-network of this config's super-network has",
    )
    cli.add_cfg_options_argument(parser)
    args = parser.parse_args()
    args.cfg_options = cli.config_options(args.config, args.cfg_options)
    return args


def main() -> None:
    args = parse_args()
    from mmssl_dynamic.apis.prune import prune_checkpoint, subnet_size

    count = args.num_weights if args.like is None else subnet_size(args.like)
    figures = prune_checkpoint(args.config, args.checkpoint, args.out, count, args.cfg_options)
    for name, share in figures["layers"].items():
        print(f"{100 * share:5.1f} %  {name}")
    kept = figures["after"] / figures["before"]
    left = f"{figures['after']:,} of {figures['before']:,} parameters are left ({100 * kept:.1f} %)"
    print(f"wrote {figures['file']}: {left}")


if __name__ == "__main__":
    cli.run(main)
