"""Measure how well frozen features transfer, by logistic regression on data sets (SDR Table 1).

The protocol of Ericsson et al. (CVPR 2021): images of 224 pixels, pooled features, 45 strengths of regularisation, the
best one on the validation images, a fit to training and validation images, one test. CONFIG is the pre-training config
of a super-network, or of any other backbone. --list shows which files each of the eleven data sets needs below
--data-root; a folder with train/CLASS and test/CLASS of your own is a data set too, by its name.

Written to --out: results.json with the whole protocol, scores and gains (.png, .svg), and what is needed to go on: run
again, nothing that is finished is computed again.

Several GPUs: torchrun --nproc_per_node=8 -m mmssl_dynamic transfer ... --launcher pytorch
"""

from __future__ import annotations

import argparse

from mmssl_dynamic.arguments import at_least, existing_folder, names
from mmssl_dynamic.commands import budget_options, shared
from mmssl_dynamic.errors import ConfigError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Define its options."""
    shared.add_config(parser, nargs="?")
    shared.add_checkpoint(parser, nargs="?")
    parser.add_argument("--list", action="store_true", help="show the data sets and the files they need, and stop")
    parser.add_argument("--data-root", metavar="DIR", help="folder of the data sets")
    parser.add_argument(
        "--datasets",
        default="all",
        metavar="NAMES",
        help="all (the eleven), found (all that lie in --data-root), or names with commas between (default: all)",
    )
    shared.add_out(parser, required=False)
    shared.add_subnets(parser, "w0.5,w1.0")
    shared.add_bank(parser)
    shared.add_bn(parser)
    search = parser.add_argument_group("search")
    search.add_argument(
        "--solver",
        choices=("sklearn", "torch"),
        default="sklearn",
        help="scikit-learn, or the same steps on --device, much faster on a GPU with many classes (default: sklearn)",
    )
    help = "stop after N strengths in a row that are no better (default: try all, as the protocol has it)"
    shared.add_number(search, "--patience", help, at_least(1), metavar="N")
    images = parser.add_argument_group("images and features")
    shared.add_number(images, "--image-size", "(default: 224)", at_least(1), default=224, metavar="PIXELS")
    images.add_argument("--features", metavar="DIR", help="folder that keeps features (default: features in --out)")
    images.add_argument(
        "--discard-features", action="store_true", help="delete a network's features once its score is there"
    )
    shared.add_cfg_options(parser)
    memory = "for the weights of networks that share one pass over the images (default: 4)", 4.0
    budget_options.add_arguments(parser)
    shared.add_execution(parser, batch_size=64, workers=2, memory=memory, again=True, launcher=True)


def main(args: argparse.Namespace) -> None:
    """Do what was asked for, and print what came of it."""
    budget_options.check(args)
    if args.list:
        from mmssl_dynamic.downstream.transfer_sets import overview

        print(overview(args.data_root))
        return
    for name in ("config", "checkpoint", "data_root", "out"):
        if getattr(args, name) is None:
            shown = name.upper() if name in ("config", "checkpoint") else f"--{name.replace('_', '-')}"
            raise ConfigError(f"{shown} is missing; a transfer needs CONFIG CHECKPOINT --data-root DIR --out DIR.")
    existing_folder("--data-root", "give the folder of the data sets")(args.data_root, "")
    from mmssl_dynamic.apis.transfer import KeptFeatures, transfer
    from mmssl_dynamic.downstream.transfer_sets import read_all
    from mmssl_dynamic.evaluation.many_shot import ManyShotProtocol
    from mmssl_dynamic.evaluation.transfer_run import transfer_pipeline
    from mmssl_dynamic.features.networks import Networks

    config, execution = shared.config_and_execution(args)
    protocol = ManyShotProtocol(solver=args.solver, patience=args.patience, image_size=args.image_size)
    result = transfer(
        config,
        args.checkpoint,
        read_all(names(args.datasets), args.data_root, transfer_pipeline(args.image_size, load=True)),
        args.out,
        protocol=protocol,
        networks=Networks(names(args.subnets), args.bank, args.bn),
        features=KeptFeatures(args.features, not args.discard_features),
        execution=execution,
    )
    if execution.first:
        pictures = "scores" if result.full is None or len(result.networks) < 2 else "scores and gains"
        print(f"\n{result.table()}\nwritten to {args.out}: results.json, {pictures} (.png, .svg)")
        budget_options.print_choices(args)
