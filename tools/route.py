"""Find the sub-network that suits a task, by the kNN accuracy of its frozen features, and export it.

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
from typing import TYPE_CHECKING

from mmssl_dynamic import cli
from mmssl_dynamic.arguments import Checked, at_least, existing, existing_folder, names, positive, refuse_idle
from mmssl_dynamic.errors import ConfigError

if TYPE_CHECKING:
    from mmssl_dynamic.evaluation import KNNProtocol
    from mmssl_dynamic.routing.method import RoutingMethod

# What belongs to one task or method, and does nothing with the others.
DETECTION = ("det_config", "det_options", "iters", "shortlist", "ap", "devices", "seed")
CLUSTER = ("base_config", "base_checkpoint", "base_options")
HALVING = ("factor", "finalists", "least_images")


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    config, checkpoint = existing("config", error=ConfigError), existing("checkpoint")
    cli.add_config_argument(parser)
    cli.add_checkpoint_argument(parser)
    parser.add_argument(
        "--task", choices=("classification", "detection"), default="classification", help="(default: classification)"
    )
    cli.add_bank_argument(parser)
    parser.add_argument(
        "--data-root",
        action=Checked,
        check=existing_folder("data folder", "give a folder with train/ and test/ in it"),
        append=True,
        default=[],
        metavar="DIR",
        help="image folder with train/CLASS/ and test/CLASS/ (and val/CLASS/); once for each task",
    )
    parser.add_argument(
        "--dataset-config",
        action=Checked,
        check=config,
        append=True,
        default=[],
        metavar="FILE",
        help="config that defines the data sets train and test (and val); once for each further task",
    )
    cli.add_out_argument(parser)
    parser.add_argument(
        "--bn",
        choices=("path", "prefix"),
        default="path",
        help="path: each sub-network with the BatchNorm statistics of its own cluster, as in the paper; prefix: with "
        "statistics shared by sub-networks with a common beginning, about three times as fast for 256 paths "
        "(default: path)",
    )
    cli.add_knn_arguments(parser)
    parser.add_argument(
        "--score",
        metavar="NAME",
        help="what sub-networks are ranked by: knn (the paper's), ncm, ridge, logme, h-score, or one that a module of "
        "your own registers in SCORES, named in custom_imports of the config (default: knn)",
    )
    parser.add_argument(
        "--subnets", default="all", metavar="NAMES", help="all, or names with commas between: 0-0-1-2,0-0-3-0"
    )
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
    fast.add_argument(
        "--clusters",
        metavar="FILE",
        action=Checked,
        check=existing("clusters file", "write it with tools/cluster.py"),
        help="clusters.npz of the run; with any method, its images go into the report",
    )
    help = "cluster: config of the network that was clustered with"
    fast.add_argument("--base-config", metavar="FILE", action=Checked, check=config, help=help)
    fast.add_argument(
        "--base-checkpoint", metavar="FILE", action=Checked, check=checkpoint, help="cluster: its checkpoint"
    )
    cli.add_cfg_options_argument(fast, "--base-options", "--base-config", "cluster: ")
    fast.add_argument(
        "--candidates",
        metavar="N",
        action=Checked,
        check=number,
        help="cluster: sub-networks to evaluate (default: 16); detection: to fine-tune, a number or all (default: all)",
    )
    help = "halving: each round has so many times fewer sub-networks, and more images or iterations (default: 4)"
    cli.add_number_argument(fast, "--factor", help, at_least(2))
    help = "halving: sub-networks in the last round (default: 4; detection: 2)"
    cli.add_number_argument(fast, "--finalists", help, at_least(1))
    help = "halving: images in the first round (default: 64, or 4 of each class)"
    cli.add_number_argument(fast, "--least-images", help, at_least(2))
    detection = parser.add_argument_group("detection")
    help = "mmdet config of the detector; its backbone is replaced"
    detection.add_argument("--det-config", metavar="FILE", action=Checked, check=config, help=help)
    cli.add_cfg_options_argument(detection, "--det-options", "--det-config")
    cli.add_number_argument(detection, "--iters", "iterations of a candidate (default: 1000)", at_least(1))
    detection.add_argument(
        "--shortlist",
        choices=("knn", "cluster", "halving", "random"),
        help="how --candidates N are found among all: by routing on cut-out objects, or random (default: knn)",
    )
    detection.add_argument("--ap", choices=("boxes", "masks"), help="to rank by (default: boxes)")
    detection.add_argument(
        "--devices", metavar="NAMES", help="such as cuda:0,cuda:1: one candidate on each at a time (default: all GPUs)"
    )
    cli.add_number_argument(detection, "--seed", "of all candidates (default: 0)", at_least(0))
    cli.add_loader_arguments(parser, 64, 2)
    help = "bound on features and stage outputs held at a time (default: a quarter of the free memory)"
    cli.add_number_argument(parser, "--memory-gib", help, positive, float, metavar="GIB")
    parser.add_argument(
        "--format",
        choices=("torchvision", "timm", "mmpretrain", "mmdet", "onnx"),
        help="of the exported winner, see tools/export.py (default: mmpretrain; detection: mmdet)",
    )
    help = "sub-networks to show; 0 shows all (default: 20)"
    cli.add_number_argument(parser, "--rows", help, at_least(0), default=20)
    cli.add_again_argument(parser)
    cli.add_device_argument(parser)
    cli.add_cfg_options_argument(parser)
    args = parser.parse_args()
    args.cfg_options = cli.config_options(args.config, args.cfg_options)
    args.base_options = cli.config_options(args.base_config, args.base_options, ("--base-options", "--base-config"))
    args.det_options = cli.config_options(args.det_config, args.det_options, ("--det-options", "--det-config"))
    (check_detection if args.task == "detection" else check_classification)(args)
    return args


def check_classification(args: argparse.Namespace) -> None:
    """Refuse options that have no effect on routing for classification."""
    refuse_idle(args, DETECTION, "--task classification")
    method = args.method or "knn"
    if not args.data_root and not args.dataset_config:
        raise ConfigError("routing needs the images of a task: give --data-root or --dataset-config.")
    if method == "cluster":
        need_clusters(args, "--method cluster")
    else:
        refuse_idle(args, ("candidates", *CLUSTER), f"--method {method}")
    if method != "halving":
        refuse_idle(args, HALVING, f"--method {method}")


def need_clusters(args: argparse.Namespace, where: str) -> None:
    """Refuse routing by clusters without them, or without the network that made them."""
    for name in ("clusters", "base_config", "base_checkpoint"):
        if getattr(args, name) is None:
            raise ConfigError(f"{where} needs --{name.replace('_', '-')}.")


def check_detection(args: argparse.Namespace) -> None:
    """Refuse options that have no effect on routing for detection, and what it lacks."""
    if args.det_config is None:
        raise ConfigError("--task detection needs --det-config, the mmdet config of the detector.")
    if args.data_root or args.dataset_config:
        raise ConfigError(
            "--task detection takes its data from --det-config, so --data-root and --dataset-config have no effect; "
            "leave them out (--det-options data_root=... moves the detector's data)."
        )
    refuse_idle(args, ("reference", "memory_gib"), "--task detection")
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
        refuse_idle(args, (*cli.KNN_ARGUMENTS, "score"), where)
    if shortlist == "cluster":
        need_clusters(args, where)
    else:
        refuse_idle(args, CLUSTER, where)
    if shortlist != "halving":
        refuse_idle(args, ["least_images"], where)
        if args.method != "halving":
            refuse_idle(args, ["factor", "finalists"], "candidates that are all trained to the end")


def routing_method(args: argparse.Namespace, candidates: str | None) -> RoutingMethod:
    """What the options say of how sub-networks are found."""
    from mmssl_dynamic.routing.method import RoutingMethod

    return RoutingMethod(
        (args.method or "knn") if args.task == "classification" else "knn",
        args.clusters,
        args.base_config,
        args.base_checkpoint,
        args.base_options,
        candidates=int(candidates or 16),
        factor=args.factor or 4,
        finalists=args.finalists or 4,
        least_images=args.least_images,
        bn=args.bn,
        subnets=names(args.subnets),
        score=args.score or "knn",
    )


def knn_protocol(args: argparse.Namespace) -> KNNProtocol:
    """How images are classified."""
    from mmssl_dynamic.evaluation import KNNProtocol

    return KNNProtocol.of(args.knn, k=args.k, vote=args.vote, temperature=args.temperature)


def number(text: str, name: str) -> None:
    """A number of candidates."""
    if text != "all" and not (text.isdigit() and int(text) >= 1):
        raise ConfigError(f"{name} {text} must be a whole number, at least 1, or, for detection, all.")


def classification(args: argparse.Namespace) -> None:
    """Route by kNN on frozen features."""
    from mmssl_dynamic.apis.route import route
    from mmssl_dynamic.evaluation.knn import protocol_text
    from mmssl_dynamic.routing import RoutingResult

    if args.candidates == "all":
        raise ConfigError("--candidates all is --method knn; leave it out.")
    references = [RoutingResult.load(file) for file in args.reference or ()]
    found = route(
        args.config,
        args.checkpoint,
        args.bank,
        args.out,
        data_roots=args.data_root,
        dataset_configs=args.dataset_config,
        method=routing_method(args, args.candidates),
        protocol=knn_protocol(args),
        references=references,
        batch_size=args.batch_size,
        num_workers=args.workers,
        memory_gib=args.memory_gib,
        format=args.format or "mmpretrain",
        device=args.device,
        cfg_options=args.cfg_options,
        again=args.again,
        command=cli.command_line(),
    )
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
            f"{cost['seconds']} s"
        )
        reference = next((entry for entry in references if entry.task == result.task), None)
        if reference is not None:
            print(f"regret {result.regret(reference):.2f} points of accuracy against {reference.source}")
        print(report)
    print(f"report: {args.out}/report.html")


def detection(args: argparse.Namespace) -> None:
    """Route by fine-tuning in a detector."""
    from mmssl_dynamic.detection.routing import DetectionPlan, route_detection

    plan = DetectionPlan(
        iterations=args.iters or 1000,
        candidates=None if args.candidates in (None, "all") else int(args.candidates),
        shortlist=args.shortlist or "knn",
        method=args.method or "all",
        factor=args.factor or 4,
        finalists=args.finalists or 2,
        kind=args.ap or "boxes",
        protocol=knn_protocol(args),
        seed=args.seed or 0,
    )
    devices = args.devices or args.device
    result, report = route_detection(
        args.config,
        args.checkpoint,
        args.bank,
        args.out,
        args.det_config,
        plan=plan,
        method=routing_method(args, None),
        det_options=args.det_options,
        cfg_options=args.cfg_options,
        devices=None if devices is None else [name.strip() for name in devices.split(",")],
        batch_size=args.batch_size,
        num_workers=args.workers,
        format=args.format or "mmdet",
        again=args.again,
        command=cli.command_line(),
    )
    print(result.table(args.rows or None))
    cost = result.cost
    print(f"\nchosen by {result.protocol['metric']} on {result.protocol['selection']}: {result.best.name}")
    print(f"{cost['iterations']} iterations ({cost['iterations_of_all']} for all sub-networks), {cost['seconds']} s")
    print(f"{report}\nreport: {args.out}/report.html")


def main() -> None:
    args = parse_args()
    (detection if args.task == "detection" else classification)(args)


if __name__ == "__main__":
    cli.run(main)
