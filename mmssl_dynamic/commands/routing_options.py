"""``mmssl-dynamic route``: the options of how sub-networks are found, for classification and detection alike."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from mmssl_dynamic.arguments import Checked, at_least, existing, names
from mmssl_dynamic.commands import shared
from mmssl_dynamic.errors import ConfigError

if TYPE_CHECKING:
    from mmssl_dynamic.features.networks import Networks
    from mmssl_dynamic.routing.method import RoutingMethod

# What belongs to one method, and does nothing with the others.
CLUSTER = ("base_config", "base_checkpoint", "base_options")
HALVING = ("factor", "finalists", "least_images")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Define them."""
    fast = parser.add_argument_group("faster ways")
    fast.add_argument(
        "--method",
        choices=("knn", "cluster", "halving"),
        help="knn: all on all images; cluster, halving: see above (default: knn; detection: all to the end)",
    )
    fast.add_argument(
        "--reference",
        action=Checked,
        check=existing("routing result"),
        append=True,
        metavar="FILE",
        help="routing.json of --method knn on the same task, to measure the regret against",
    )
    shared.add_clusters(fast, "clusters.npz of the run; with any method, its images go into the report")
    shared.add_config_file(
        fast,
        "--base-config",
        "config of the network that was clustered with; with any method, it is a candidate for the task",
    )
    fast.add_argument(
        "--base-checkpoint",
        metavar="FILE",
        action=Checked,
        check=existing("checkpoint"),
        help="its checkpoint",
    )
    shared.add_cfg_options(fast, "--base-options", "--base-config")
    fast.add_argument(
        "--candidates",
        metavar="N",
        action=Checked,
        check=number,
        help="cluster: sub-networks to evaluate (default: 16); detection: to fine-tune, a number or all (default: all)",
    )
    help = "halving: each round has so many times fewer sub-networks, and more images or iterations (default: 4)"
    shared.add_number(fast, "--factor", help, at_least(2), metavar="N")
    help = "halving: sub-networks in the last round (default: 4; detection: 2)"
    shared.add_number(fast, "--finalists", help, at_least(1), metavar="N")
    help = "halving: images in the first round (default: 64, or 4 of each class)"
    shared.add_number(fast, "--least-images", help, at_least(2), metavar="N")


def number(text: str, name: str) -> None:
    """A number of candidates."""
    if text != "all" and not (text.isdigit() and int(text) >= 1):
        raise ConfigError(f"{name} {text} must be a whole number, at least 1, or, for detection, all.")


def need_clusters(args: argparse.Namespace, where: str) -> None:
    """Refuse routing by clusters without them, or without the network that made them."""
    for name in ("clusters", "base_config", "base_checkpoint"):
        if getattr(args, name) is None:
            raise ConfigError(f"{where} needs --{name.replace('_', '-')}.")


def routing_method(args: argparse.Namespace, candidates: str | None) -> RoutingMethod:
    """What the options say of how sub-networks are found and ranked."""
    from mmssl_dynamic.evaluation import KNNProtocol
    from mmssl_dynamic.loading import load_config
    from mmssl_dynamic.routing.method import RoutingMethod

    return RoutingMethod(
        (args.method or "knn") if args.task == "classification" else "knn",
        args.clusters,
        None if args.base_config is None else load_config(args.base_config, args.base_options),
        args.base_checkpoint,
        candidates=int(candidates or 16),
        factor=args.factor or 4,
        finalists=args.finalists or 4,
        least_images=args.least_images,
        score=args.score or "knn",
        protocol=KNNProtocol.of(args.knn, k=args.k, vote=args.vote, temperature=args.temperature),
    )


def networks(args: argparse.Namespace) -> Networks:
    """The sub-networks to choose from, and their BatchNorm statistics."""
    from mmssl_dynamic.features.networks import Networks

    return Networks(names(args.subnets), args.bank, args.bn)
