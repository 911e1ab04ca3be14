"""Find the sub-network that suits a task, by the kNN accuracy of frozen features, and export it.

The choice is made on the training images alone (each one classified by the others; or on val/ where it exists). The
test images are classified with the training images as bank, reported in a column of their own, and never take part in
the choice. Written to --out: report.html with its figures, routing.json, gains_histogram.png and .svg, and the winner
as a plain backbone; several tasks get a folder each. Run again, a task is routed again only if anything has changed
that its ranking depends on, or with --again.

--method knn evaluates every sub-network on all images (the paper's way). --method cluster looks first at the clusters
that the images fall into, --method halving at few images; both leave most sub-networks out, and --reference measures
what that costs. With --task detection, --method halving trains many candidates for few iterations and few to the end.

--task detection fine-tunes candidates in the detector of --det-config for --iters iterations, and ranks them by AP on
its validation set (the paper's way for detection). Finished candidates run again only if anything has changed that
their AP depends on.
"""

from __future__ import annotations

import argparse

from mmssl_dynamic import cli
from mmssl_dynamic.arguments import Checked, at_least, existing_folder, refuse_idle
from mmssl_dynamic.commands import budget_options, route_detection, routing_options, shared
from mmssl_dynamic.commands.routing_options import HALVING, need_clusters, networks, routing_method
from mmssl_dynamic.config_names import config_file
from mmssl_dynamic.errors import ConfigError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Define its options."""
    shared.add_config(parser)
    shared.add_checkpoint(parser)
    parser.add_argument(
        "--task", choices=("classification", "detection"), default="classification", help="(default: classification)"
    )
    shared.add_bank(parser)
    parser.add_argument(
        "--data-root",
        action=Checked,
        check=existing_folder("data folder", "give a folder with train/ and test/ (or val/) in it"),
        append=True,
        default=[],
        metavar="DIR",
        help="image folder with train/CLASS/ and test/CLASS/ or val/CLASS/, or all three; once for each task",
    )
    help = "config that defines the data sets train and test (and val); once for each further task"
    shared.add_config_file(parser, "--dataset-config", help, append=True, default=[])
    shared.add_out(parser)
    shared.add_bn(
        parser,
        "path: each sub-network with the BatchNorm statistics of its own cluster, as in the paper; prefix: with "
        "statistics shared by sub-networks with a common beginning, about three times as fast for 256 paths "
        "(default: path)",
    )
    shared.add_knn(parser)
    parser.add_argument(
        "--score",
        metavar="NAME",
        help="what sub-networks are ranked by: knn (the paper's), ncm, ridge, logme, h-score, or module.Class of "
        "your own (default: knn)",
    )
    shared.add_subnets(parser, "0-0-1-2,0-0-3-0")
    routing_options.add_arguments(parser)
    route_detection.add_arguments(parser)
    shared.add_format(parser, "of the exported winner, see tools/export.py (default: mmpretrain; detection: mmdet)")
    help = "sub-networks to show; 0 shows all (default: 20)"
    shared.add_number(parser, "--rows", help, at_least(0), default=20)
    budget_options.add_arguments(parser)
    shared.add_cfg_options(parser)
    memory = "for features and stage outputs held at a time (default: a quarter of the free memory)", None
    shared.add_execution(parser, batch_size=64, workers=2, memory=memory, again=True, images=True, launcher=True)


def check_classification(args: argparse.Namespace) -> None:
    """Refuse options that have no effect on routing for classification."""
    refuse_idle(args, route_detection.ARGUMENTS, "--task classification")
    method = args.method or "knn"
    if not args.data_root and not args.dataset_config:
        raise ConfigError("routing needs the images of a task: give --data-root or --dataset-config.")
    if args.candidates == "all":
        raise ConfigError("--candidates all is --method knn; leave it out.")
    if method == "cluster":
        need_clusters(args, "--method cluster")
    else:
        refuse_idle(args, ("candidates",), f"--method {method}")
        if (args.base_config is None) != (args.base_checkpoint is None):
            raise ConfigError("--base-config and --base-checkpoint belong together; give both, or neither.")
    if method != "halving":
        refuse_idle(args, HALVING, f"--method {method}")


def classification(args: argparse.Namespace) -> None:
    """Route by kNN on frozen features."""
    from mmssl_dynamic.apis.route import route
    from mmssl_dynamic.evaluation.knn import protocol_text
    from mmssl_dynamic.routing import RoutingResult
    from mmssl_dynamic.routing.method import RoutingOutput

    references = [RoutingResult.load(file) for file in args.reference or ()]
    config, execution = shared.config_and_execution(args)
    found = route(
        config,
        args.checkpoint,
        [*args.data_root, *map(config_file, args.dataset_config)],
        args.out,
        method=routing_method(args, args.candidates),
        networks=networks(args),
        output=RoutingOutput(args.format, references, cli.command_line()),
        execution=execution,
    )
    if not execution.first:
        return
    for result, report in found:
        if len(found) > 1:
            print(f"\n{result.task}")
        print(result.table(args.rows or None))
        print(
            f"\nchosen by {result.protocol['selection']}: {result.best.name} (test images were not used for the choice)"
        )
        print(result.verdict())
        print(protocol_text(result.protocol))
        cost = result.cost
        print(
            f"{cost['stage_runs']} stage runs per image ({cost['stage_runs_one_by_one']} one by one), "
            f"{cost.get('decodes_per_image', 0):g} decodes of an image, {cost['seconds']} s"
        )
        reference = next((entry for entry in references if entry.task == result.task), None)
        if reference is not None:
            print(f"regret {result.regret(reference):.2f} points of accuracy against {reference.source}")
        print(report)
    print(f"report: {args.out}/report.html")
    budget_options.print_choices(args, args.format or "mmpretrain")


def main(args: argparse.Namespace) -> None:
    """Do what was asked for, and print what came of it."""
    budget_options.check(args)
    if args.task == "detection":
        refuse_idle(args, budget_options.ARGUMENTS, "--task detection")
        route_detection.main(args)
    else:
        check_classification(args)
        classification(args)
