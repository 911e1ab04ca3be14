"""Evaluate the networks of a checkpoint: accuracy, parameters, multiply-accumulates and latency of each.

knn: nearest neighbours of frozen features (DSPNet Table 1a: k = 20, majority). linear: a linear probe on the frozen
backbone (configs/transfer/linear_dspnet.py, or another with --protocol-config). semisup: learning from a part of the
labels, by fine-tuning or on the frozen backbone. CONFIG is the pre-training config of a super-network, or of any other
backbone, such as a baseline.

Written to --out: results.json with the whole protocol, accuracy_cost.png and .svg, and what is needed to go on: run
again, finished networks are not evaluated again, and a training that was stopped goes on from its last epoch.

Several GPUs: torchrun --nproc_per_node=8 tools/evaluate.py ... --launcher pytorch
"""

import argparse
import os
from dataclasses import replace
from typing import Any

from mmssl_dynamic import cli
from mmssl_dynamic.errors import ConfigError


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("config", help="pre-training config")
    parser.add_argument("checkpoint", help="checkpoint of the run")
    parser.add_argument("--protocol", choices=("knn", "linear", "semisup"), default="knn", help="(default: knn)")
    data = parser.add_mutually_exclusive_group(required=True)
    data.add_argument("--data-root", metavar="DIR", help="image folder with train/CLASS/ and test/CLASS/ (or val/)")
    data.add_argument("--dataset-config", metavar="FILE", help="config that defines the data sets train and test")
    parser.add_argument("--out", required=True, metavar="DIR", help="folder of the results")
    parser.add_argument(
        "--subnets", default="all", metavar="NAMES", help="all, or names with commas between: w0.5,w1.0"
    )
    parser.add_argument("--bank", metavar="FILE", help="BN bank of the checkpoint, bn_bank.safetensors")
    parser.add_argument(
        "--bn", choices=("path", "prefix"), default="path", help="which statistics of the bank (default: path)"
    )
    knn = parser.add_argument_group("knn")
    knn.add_argument("--k", type=int, default=20, help="neighbours (default: 20)")
    knn.add_argument("--vote", choices=("majority", "weighted"), default="majority", help="(default: majority)")
    knn.add_argument("--temperature", type=float, default=0.07, help="of the weighted vote (default: 0.07)")
    knn.add_argument(
        "--knn-backend",
        choices=("torch", "faiss"),
        default="torch",
        help="what finds the neighbours; both are exact (default: torch)",
    )
    knn.add_argument(
        "--memory-gib",
        type=float,
        default=1.0,
        help="memory for features and their comparison; more features than fit wait on disk in --out (default: 1)",
    )
    train = parser.add_argument_group("linear and semisup")
    train.add_argument(
        "--protocol-config", metavar="FILE", help="config of the training (default: DSPNet's in configs/transfer)"
    )
    cli.add_cfg_options_argument(train, "--protocol-options", "--protocol-config")
    train.add_argument("--semisup-mode", choices=("finetune", "frozen"), default="finetune", help="(default: finetune)")
    labels = train.add_mutually_exclusive_group()
    labels.add_argument("--label-fraction", type=float, metavar="SHARE", help="of the labels to draw: 0.01 or 0.1")
    labels.add_argument(
        "--label-list", metavar="FILE", help="or the images whose labels are used, one name per line (SimCLR's lists)"
    )
    train.add_argument("--seed", type=int, default=0, help="of the training and the draw (default: 0)")
    cli.add_launcher_argument(train)
    parser.add_argument(
        "--image-size",
        type=int,
        metavar="PIXELS",
        help="side of the images (default: knn: as in CONFIG's eval_pipeline; linear, semisup: 224)",
    )
    parser.add_argument(
        "--batch-size", type=int, help="images per batch and process (default: knn: 64; linear, semisup: the config's)"
    )
    parser.add_argument("--workers", type=int, help="processes that load images (default: knn: 2; else the config's)")
    parser.add_argument("--latency-batch", type=int, default=1, help="images per timed pass (default: 1)")
    parser.add_argument(
        "--latency-repeats", type=int, default=50, help="timed passes; 0 leaves the latency out (default: 50)"
    )
    parser.add_argument(
        "--baseline",
        action="append",
        default=[],
        metavar="NAME=FILE",
        help="results.json of another evaluation to lay beside; several of one NAME become one curve",
    )
    cli.add_cfg_options_argument(parser, config="CONFIG")
    cli.add_again_argument(parser)
    cli.add_device_argument(parser)
    args = cli.parse_with_rank(parser)
    args.cfg_options = cli.config_options(args.config, args.cfg_options)
    return args


def protocol(args: argparse.Namespace) -> Any:
    """What the options ask for."""
    from mmssl_dynamic.downstream.labelled_data import LabelSubset
    from mmssl_dynamic.evaluation import KNNProtocol
    from mmssl_dynamic.evaluation.probing import TrainedProtocol

    if args.protocol == "knn":
        unused = ("protocol_options", "protocol_config", "label_fraction", "label_list")
        given = next((name for name in unused if getattr(args, name) is not None), None)
        if given is not None:
            raise ConfigError(
                f"kNN trains nothing, so --{given.replace('_', '-')} has no effect; leave it out or choose another "
                "--protocol (--cfg-options edits values of CONFIG)."
            )
        return KNNProtocol(args.k, args.temperature, args.vote, args.knn_backend, args.memory_gib)
    labels = None
    if args.protocol == "semisup" or args.label_fraction is not None or args.label_list is not None:
        labels = LabelSubset(args.label_fraction, args.label_list, args.seed)
    protocol = TrainedProtocol(args.protocol, args.protocol_config, args.semisup_mode, labels)
    return replace(protocol, cfg_options=cli.config_options(str(protocol.file), args.protocol_options))


def pair(text: str) -> tuple[str, str]:
    """``NAME=FILE``."""
    name, _, file = text.partition("=")
    if not name or not file:
        raise ConfigError(f"--baseline {text} must have the form NAME=results.json.")
    return name, file


def main() -> None:
    args = parse_args()
    from mmssl_dynamic.apis.evaluate import evaluate

    result = evaluate(
        args.config,
        args.checkpoint,
        args.out,
        protocol=protocol(args),
        subnets=None if args.subnets == "all" else [name.strip() for name in args.subnets.split(",")],
        data_root=args.data_root,
        dataset_config=args.dataset_config,
        bank=args.bank,
        bn=args.bn,
        image_size=args.image_size,
        batch_size=args.batch_size,
        num_workers=args.workers,
        seed=args.seed,
        latency_batch=args.latency_batch,
        latency_repeats=args.latency_repeats,
        baselines=[pair(text) for text in args.baseline],
        device=args.device,
        launcher=args.launcher,
        cfg_options=args.cfg_options,
        again=args.again,
    )
    if os.environ.get("RANK", "0") == "0":
        print(f"\n{result.table()}\nwritten to {args.out}: results.json, accuracy_cost.png and accuracy_cost.svg")


if __name__ == "__main__":
    cli.run(main)
