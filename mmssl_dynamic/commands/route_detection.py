"""``mmssl-dynamic route --task detection``: the options that it adds, and what they mean."""

from __future__ import annotations

import argparse
from dataclasses import replace

from mmssl_dynamic import cli
from mmssl_dynamic.arguments import at_least, refuse_idle
from mmssl_dynamic.commands import shared
from mmssl_dynamic.commands.routing_options import CLUSTER, need_clusters, networks, routing_method
from mmssl_dynamic.errors import ConfigError

# What does nothing in routing for classification.
ARGUMENTS = ("det_config", "det_options", "iters", "shortlist", "ap", "devices", "seed")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Define its options."""
    detection = parser.add_argument_group("detection")
    shared.add_config_file(detection, "--det-config", "mmdet config of the detector; its backbone is replaced")
    shared.add_cfg_options(detection, "--det-options", "--det-config")
    shared.add_number(detection, "--iters", "iterations of a candidate (default: 1000)", at_least(1), metavar="N")
    detection.add_argument(
        "--shortlist",
        choices=("knn", "cluster", "halving", "random"),
        help="how --candidates N are found among all: by routing on cut-out objects, or random (default: knn)",
    )
    detection.add_argument("--ap", choices=("boxes", "masks"), help="to rank by (default: boxes)")
    detection.add_argument(
        "--devices", metavar="NAMES", help="such as cuda:0,cuda:1: one candidate on each at a time (default: all GPUs)"
    )
    shared.add_seed(detection, "of all candidates (default: 0)", None)


def check(args: argparse.Namespace) -> None:
    """Refuse options that have no effect on routing for detection, and what it lacks."""
    if args.det_config is None:
        raise ConfigError("--task detection needs --det-config, the mmdet config of the detector.")
    if args.data_root or args.dataset_config:
        raise ConfigError(
            "--task detection takes its data from --det-config, so --data-root and --dataset-config have no effect; "
            "leave them out (--det-options data_root=... moves the detector's data)."
        )
    refuse_idle(args, ("reference", "memory_gib", "image_memory_gib"), "--task detection")
    if args.method in ("knn", "cluster"):
        raise ConfigError(
            f"--task detection ranks by fine-tuning, so --method {args.method} has no effect; leave it out, or give "
            f"--shortlist {args.method} --candidates N."
        )
    shortlist = (args.shortlist or "knn") if args.candidates not in (None, "all") else None
    if shortlist is None:
        refuse_idle(args, ["shortlist"], "all candidates; give --candidates N, or")
    where = "all candidates" if shortlist is None else f"--shortlist {shortlist}"
    if shortlist in (None, "random"):
        refuse_idle(args, (*shared.KNN_ARGUMENTS, "score"), where)
    if shortlist == "cluster":
        need_clusters(args, where)
    else:
        refuse_idle(args, CLUSTER, where)
    if shortlist != "halving":
        refuse_idle(args, ["least_images"], where)
        if args.method != "halving":
            refuse_idle(args, ["factor", "finalists"], "candidates that are all trained to the end")


def main(args: argparse.Namespace) -> None:
    """Route by fine-tuning in a detector."""
    check(args)
    from mmssl_dynamic.detection.routing import DetectionPlan, route_detection
    from mmssl_dynamic.routing.method import RoutingOutput

    plan = DetectionPlan(
        iterations=args.iters or 1000,
        candidates=None if args.candidates in (None, "all") else int(args.candidates),
        shortlist=args.shortlist or "knn",
        method=args.method or "all",
        factor=args.factor or 4,
        finalists=args.finalists or 2,
        kind=args.ap or "boxes",
        seed=args.seed or 0,
    )
    config, execution = shared.config_and_execution(args)
    found = route_detection(
        config,
        args.checkpoint,
        args.det_config,
        args.out,
        det_options=args.det_options,
        plan=plan,
        method=routing_method(args, None),
        networks=networks(args),
        output=RoutingOutput(args.format, command=cli.command_line()),
        execution=replace(execution, device=args.devices or args.device),
    )
    if found is None:
        return
    result, report = found
    print(result.table(args.rows or None))
    cost = result.cost
    print(f"\nchosen by {result.protocol['metric']} on {result.protocol['selection']}: {result.best.name}")
    print(f"{cost['iterations']} iterations ({cost['iterations_of_all']} for all sub-networks), {cost['seconds']} s")
    print(f"{report}\nreport: {args.out}/report.html")
