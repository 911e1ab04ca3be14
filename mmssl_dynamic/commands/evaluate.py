"""Measure accuracy, parameters, multiply-accumulates and latency of each network of a checkpoint.

knn: nearest neighbours of frozen features (--knn dspnet: as in DSPNet's Table 1a). linear: a linear probe on the frozen
backbone (configs/transfer/linear_dspnet.py, or another with --protocol-config). semisup: learning from a part of the
labels, by fine-tuning or on the frozen backbone. CONFIG is the pre-training config of a super-network, or of any other
backbone, such as a baseline.

Written to --out: results.json with the whole protocol, accuracy_cost.png and .svg, and what is needed to go on: run
again, finished networks are not evaluated again, and a training that was stopped goes on from its last epoch.

Several GPUs: torchrun --nproc_per_node=8 -m mmssl_dynamic evaluate ... --launcher pytorch
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from typing import Any

from mmssl_dynamic.arguments import Checked, at_least, existing, existing_folder, names, refuse_idle
from mmssl_dynamic.commands import budget_options, shared
from mmssl_dynamic.config_names import config_file
from mmssl_dynamic.errors import ConfigError
from mmssl_dynamic.file_checks import existing_file

# What belongs to one kind of protocol, and does nothing with the others.
KNN = (*shared.KNN_ARGUMENTS, "knn_backend", "memory_gib", "image_memory_gib")
TRAINING = ("protocol_options", "protocol_config", "semisup_mode", "label_fraction", "label_list", "seed")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Define its options."""
    shared.add_config(parser)
    shared.add_checkpoint(parser)
    parser.add_argument("--protocol", choices=("knn", "linear", "semisup"), default="knn", help="(default: knn)")
    data = parser.add_mutually_exclusive_group(required=True)
    data.add_argument(
        "--data-root",
        metavar="DIR",
        action=Checked,
        check=existing_folder("data folder", "give a folder with train/ and test/ (or val/) in it"),
        help="image folder with train/CLASS/ and test/CLASS/ (or val/)",
    )
    shared.add_config_file(data, "--dataset-config", "config that defines the data sets train and test")
    shared.add_out(parser)
    shared.add_subnets(parser, "w0.5,w1.0")
    shared.add_bank(parser)
    shared.add_bn(parser)
    knn = parser.add_argument_group("knn")
    shared.add_knn(knn)
    knn.add_argument(
        "--knn-backend", choices=("torch", "faiss"), help="what finds the neighbours; both are exact (default: torch)"
    )
    train = parser.add_argument_group("linear and semisup")
    help = "config of the training (default: DSPNet's in configs/transfer)"
    shared.add_config_file(train, "--protocol-config", help)
    shared.add_cfg_options(train, "--protocol-options", "--protocol-config")
    train.add_argument("--semisup-mode", choices=("finetune", "frozen"), help="(default: finetune)")
    labels = train.add_mutually_exclusive_group()
    labels.add_argument("--label-fraction", type=float, metavar="SHARE", help="of the labels to draw: 0.01 or 0.1")
    labels.add_argument(
        "--label-list",
        metavar="FILE",
        action=Checked,
        check=existing("label list"),
        help="or the images whose labels are used, one name per line (SimCLR's lists)",
    )
    shared.add_seed(train, "of the training and the draw (default: 0)", None)
    help = "side of the images (default: knn: as in CONFIG's eval_pipeline; linear, semisup: 224)"
    shared.add_number(parser, "--image-size", help, at_least(1), metavar="PIXELS")
    shared.add_number(parser, "--latency-batch", "images per timed pass (default: 1)", at_least(1), default=1)
    help = "timed passes; 0 leaves the latency out (default: 50)"
    shared.add_number(parser, "--latency-repeats", help, at_least(0), default=50)
    parser.add_argument(
        "--baseline",
        action="append",
        default=[],
        metavar="NAME=FILE",
        help="results.json of another evaluation to lay beside; several of one NAME become one curve",
    )
    shared.add_cfg_options(parser, config="CONFIG")
    budget_options.add_arguments(parser)
    size = "knn: 64; linear, semisup: the config's, of each process"
    memory = "knn: for features and their comparison; more than fit wait on disk in --out (default: 1)", None
    shared.add_execution(
        parser,
        batch_size=size,
        workers="knn: 2; else the config's",
        memory=memory,
        again=True,
        images=True,
        launcher=True,
    )


def check(args: argparse.Namespace) -> None:
    """Refuse what has no effect, and results to lay beside that are not there."""
    budget_options.check(args)
    args.baseline = [pair(text) for text in args.baseline]
    if args.protocol == "knn":
        refuse_idle(args, TRAINING, "--protocol knn, which trains nothing")
    else:
        refuse_idle(args, KNN, f"--protocol {args.protocol}")
    if args.protocol == "linear":
        refuse_idle(args, ["semisup_mode"], "--protocol linear")


def protocol(args: argparse.Namespace) -> Any:
    """What the options ask for."""
    from mmssl_dynamic.downstream.label_subsets import LabelSubset
    from mmssl_dynamic.evaluation import KNNProtocol
    from mmssl_dynamic.evaluation.probing import TrainedProtocol

    if args.protocol == "knn":
        options = {"k": args.k, "vote": args.vote, "temperature": args.temperature}
        return KNNProtocol.of(args.knn, **options, backend=args.knn_backend, image_size=args.image_size)
    labels = None
    if args.protocol == "semisup" or args.label_fraction is not None or args.label_list is not None:
        labels = LabelSubset(args.label_fraction, args.label_list, args.seed or 0)
    how = {"image_size": args.image_size, "seed": args.seed or 0}
    protocol = TrainedProtocol(args.protocol, args.protocol_config, args.semisup_mode or "finetune", labels, **how)
    return replace(protocol, cfg_options=shared.config_options(str(protocol.file), args.protocol_options))


def pair(text: str) -> tuple[str, str]:
    """``NAME=FILE``."""
    name, _, file = text.partition("=")
    if not name or not file:
        raise ConfigError(f"--baseline {text} must have the form NAME=results.json.")
    existing_file(file, "--baseline: results")
    return name, file


def main(args: argparse.Namespace) -> None:
    """Do what was asked for, and print what came of it."""
    check(args)
    from mmssl_dynamic.apis.evaluate import Comparison, evaluate
    from mmssl_dynamic.evaluation.network_evaluation import Timing
    from mmssl_dynamic.features.networks import Networks

    config, execution = shared.config_and_execution(args)
    result = evaluate(
        config,
        args.checkpoint,
        args.data_root or config_file(args.dataset_config),
        args.out,
        protocol=protocol(args),
        networks=Networks(names(args.subnets), args.bank, args.bn),
        comparison=Comparison(Timing(args.latency_batch, args.latency_repeats), args.baseline),
        execution=execution,
    )
    if execution.first:
        print(f"\n{result.table()}")
        if args.protocol == "knn":
            from mmssl_dynamic.evaluation.knn import protocol_text

            print(protocol_text(result.protocol))
        print(f"written to {args.out}: results.json, accuracy_cost.png and accuracy_cost.svg")
        budget_options.print_choices(args)
