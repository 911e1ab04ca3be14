"""Many-shot transfer to classification data sets by logistic regression on frozen features (SDR Table 1).

The protocol of Ericsson et al. (CVPR 2021): images of 224 pixels, pooled features, 45 strengths of regularisation, the
best one on the validation images, a fit to training and validation images, one test. CONFIG is the pre-training config
of a super-network, or of any other backbone. --list shows which files each of the eleven data sets needs below
--data-root; a folder with train/CLASS and test/CLASS of your own is a data set too, by its name.

Written to --out: results.json with the whole protocol, scores and gains (.png, .svg), and what is needed to go on: run
again, nothing that is finished is computed again.
"""

import argparse

from mmssl_dynamic import cli
from mmssl_dynamic.arguments import at_least, existing_folder, names, positive
from mmssl_dynamic.errors import ConfigError


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    cli.add_config_argument(parser, nargs="?")
    cli.add_checkpoint_argument(parser, nargs="?")
    parser.add_argument("--list", action="store_true", help="show the data sets and the files they need, and stop")
    parser.add_argument("--data-root", metavar="DIR", help="folder of the data sets")
    parser.add_argument(
        "--datasets",
        default="all",
        metavar="NAMES",
        help="all (the eleven), found (all that lie in --data-root), or names with commas between (default: all)",
    )
    cli.add_out_argument(parser, required=False)
    parser.add_argument("--subnets", default="all", metavar="NAMES", help="all, or names with commas between")
    cli.add_bank_argument(parser)
    parser.add_argument(
        "--bn", choices=("path", "prefix"), default="path", help="which statistics of the bank (default: path)"
    )
    search = parser.add_argument_group("search")
    search.add_argument(
        "--solver",
        choices=("sklearn", "torch"),
        default="sklearn",
        help="scikit-learn, or the same steps on --device, much faster on a GPU with many classes (default: sklearn)",
    )
    help = "stop after N strengths in a row that are no better (default: try all, as the protocol has it)"
    cli.add_number_argument(search, "--patience", help, at_least(1), metavar="N")
    images = parser.add_argument_group("images and features")
    cli.add_number_argument(images, "--image-size", "(default: 224)", at_least(1), default=224, metavar="PIXELS")
    cli.add_loader_arguments(images, 64, 2)
    help = "for the weights of networks that share one pass over the images (default: 4)"
    cli.add_number_argument(images, "--memory-gib", help, positive, float, default=4.0, metavar="GIB")
    images.add_argument("--features", metavar="DIR", help="folder that keeps features (default: features in --out)")
    images.add_argument(
        "--discard-features", action="store_true", help="delete a network's features once its score is there"
    )
    cli.add_again_argument(parser)
    cli.add_device_argument(parser)
    cli.add_cfg_options_argument(parser)
    args = parser.parse_args()
    args.cfg_options = cli.config_options(args.config, args.cfg_options)
    return args


def main() -> None:
    args = parse_args()
    if args.list:
        from mmssl_dynamic.downstream.transfer_sets import overview

        print(overview(args.data_root))
        return
    for name in ("config", "checkpoint", "data_root", "out"):
        if getattr(args, name) is None:
            shown = name.upper() if name in ("config", "checkpoint") else f"--{name.replace('_', '-')}"
            raise ConfigError(f"{shown} is missing; a transfer needs CONFIG CHECKPOINT --data-root DIR --out DIR.")
    existing_folder("--data-root", "give the folder of the data sets")(args.data_root, "")
    from mmssl_dynamic.apis.transfer import transfer
    from mmssl_dynamic.evaluation.many_shot import ManyShotProtocol

    result = transfer(
        args.config,
        args.checkpoint,
        args.out,
        data_root=args.data_root,
        datasets=names(args.datasets),
        subnets=names(args.subnets),
        bank=args.bank,
        bn=args.bn,
        protocol=ManyShotProtocol(solver=args.solver, patience=args.patience),
        image_size=args.image_size,
        batch_size=args.batch_size,
        num_workers=args.workers,
        memory_gib=args.memory_gib,
        features=args.features,
        keep_features=not args.discard_features,
        device=args.device,
        cfg_options=args.cfg_options,
        again=args.again,
    )
    pictures = "scores" if result.full is None or len(result.networks) < 2 else "scores and gains"
    print(f"\n{result.table()}\nwritten to {args.out}: results.json, {pictures} (.png, .svg)")


if __name__ == "__main__":
    cli.run(main)
