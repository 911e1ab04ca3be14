"""Find the sub-network that suits a task, by the kNN accuracy of its frozen features, and export it.

The choice is made on the training images alone (each one classified by the others; or on val/ where it exists). The
test images are classified with the training images as bank, reported in a column of their own, and never take part in
the choice. Written to --out: report.html with its figures, routing.json, gains_histogram.png and .svg, and the winner
as a plain backbone; several tasks get a folder each. Run again, a task is routed again only if anything has changed
that its ranking depends on, or with --again.

--method knn evaluates every sub-network on all images (the paper's way). --method cluster looks first at the clusters
that the images fall into, --method halving at few images; both leave most sub-networks out, and --reference measures
what that costs.

--task detection fine-tunes candidates in the detector of --det-config for --iters iterations, and ranks them by AP on
its validation set (the paper's way for detection). Finished candidates run again only if anything has changed that
their AP depends on.
"""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from mmssl_dynamic import cli
from mmssl_dynamic.errors import ConfigError

if TYPE_CHECKING:
    from mmssl_dynamic.routing.method import RoutingMethod


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("config", help="pre-training config")
    parser.add_argument("checkpoint", help="checkpoint of the run")
    parser.add_argument(
        "--task", choices=("classification", "detection"), default="classification", help="(default: classification)"
    )
    parser.add_argument("--bank", metavar="FILE", help="BN bank of the checkpoint, bn_bank.safetensors")
    parser.add_argument(
        "--data-root",
        action="append",
        default=[],
        metavar="DIR",
        help="image folder with train/CLASS/ and test/CLASS/ (and val/CLASS/); once for each task",
    )
    parser.add_argument(
        "--dataset-config",
        action="append",
        default=[],
        metavar="FILE",
        help="config that defines the data sets train and test (and val); once for each further task",
    )
    parser.add_argument("--out", required=True, metavar="DIR", help="folder of the results")
    parser.add_argument(
        "--bn",
        choices=("path", "prefix"),
        default="path",
        help="path: each sub-network with the BatchNorm statistics of its own cluster, as in the paper; prefix: with "
        "statistics shared by sub-networks with a common beginning, about three times as fast for 256 paths "
        "(default: path)",
    )
    parser.add_argument("--k", type=int, default=200, help="neighbours (default: 200)")
    parser.add_argument("--temperature", type=float, default=0.07, help="of the weighted vote (default: 0.07)")
    parser.add_argument(
        "--vote",
        choices=("weighted", "majority"),
        default="weighted",
        help="weighted: by exp(similarity / temperature); majority: one vote each (default: weighted)",
    )
    parser.add_argument(
        "--score",
        default="knn",
        metavar="NAME",
        help="what sub-networks are ranked by: knn (the paper's), ncm, ridge, logme, h-score, or one that a module of "
        "your own registers in SCORES, named in custom_imports of the config (default: knn)",
    )
    parser.add_argument(
        "--subnets", default="all", metavar="NAMES", help="all, or names with commas between: 0-0-1-2,0-0-3-0"
    )
    fast = parser.add_argument_group("faster ways")
    fast.add_argument("--method", choices=("knn", "cluster", "halving"), default="knn", help="(default: knn)")
    fast.add_argument(
        "--reference",
        action="append",
        default=[],
        metavar="FILE",
        help="routing.json of --method knn on the same task, to measure the regret against",
    )
    fast.add_argument(
        "--clusters", metavar="FILE", help="clusters.npz of the run; with any method, its images go into the report"
    )
    fast.add_argument("--base-config", metavar="FILE", help="cluster: config of the network that was clustered with")
    fast.add_argument("--base-checkpoint", metavar="FILE", help="cluster: its checkpoint")
    cli.add_cfg_options_argument(fast, "--base-options", "--base-config", "cluster: ")
    fast.add_argument(
        "--candidates",
        metavar="N",
        help="cluster: sub-networks to evaluate (default: 16); detection: to fine-tune, a number or all (default: all)",
    )
    fast.add_argument(
        "--factor", type=int, default=4, help="halving: each round has so many times fewer of them (default: 4)"
    )
    fast.add_argument(
        "--finalists", type=int, help="halving: sub-networks in the last round (default: 4; detection: 2)"
    )
    fast.add_argument(
        "--least-images", type=int, help="halving: images in the first round (default: 64, or 4 of each class)"
    )
    detection = parser.add_argument_group("detection")
    detection.add_argument(
        "--det-config", metavar="FILE", help="mmdet config of the detector; its backbone is replaced"
    )
    cli.add_cfg_options_argument(detection, "--det-options", "--det-config")
    detection.add_argument("--iters", type=int, default=1000, help="iterations of a candidate (default: 1000)")
    detection.add_argument(
        "--shortlist",
        choices=("knn", "cluster", "halving", "random"),
        default="knn",
        help="how --candidates N are found among all: by routing on cut-out objects, or random (default: knn)",
    )
    detection.add_argument(
        "--halving",
        type=int,
        default=1,
        metavar="FACTOR",
        help="drop candidates in rounds, each with so many times fewer of them and more iterations (default: 1, none)",
    )
    detection.add_argument("--ap", choices=("boxes", "masks"), default="boxes", help="to rank by (default: boxes)")
    detection.add_argument(
        "--devices", metavar="NAMES", help="such as cuda:0,cuda:1: one candidate on each at a time (default: all GPUs)"
    )
    detection.add_argument("--seed", type=int, default=0, help="of all candidates (default: 0)")
    parser.add_argument("--batch-size", type=int, default=64, help="images per batch (default: 64)")
    parser.add_argument("--workers", type=int, default=2, help="processes that load images (default: 2)")
    parser.add_argument(
        "--memory-gib",
        type=float,
        metavar="GIB",
        help="bound on features and stage outputs held at a time (default: a quarter of the free memory)",
    )
    parser.add_argument(
        "--format",
        choices=("torchvision", "timm", "mmpretrain", "mmdet", "onnx"),
        help="of the exported winner, see tools/export.py (default: mmpretrain; detection: mmdet)",
    )
    parser.add_argument("--rows", type=int, default=20, help="sub-networks to show; 0 shows all (default: 20)")
    cli.add_again_argument(parser)
    cli.add_device_argument(parser)
    cli.add_cfg_options_argument(parser)
    args = parser.parse_args()
    args.cfg_options = cli.config_options(args.config, args.cfg_options)
    args.base_options = cli.config_options(args.base_config, args.base_options, ("--base-options", "--base-config"))
    args.det_options = cli.config_options(args.det_config, args.det_options, ("--det-options", "--det-config"))
    return args


def routing_method(args: argparse.Namespace) -> RoutingMethod:
    """What the options say of how sub-networks are found."""
    from mmssl_dynamic.routing.method import RoutingMethod

    return RoutingMethod(
        args.method,
        args.clusters,
        args.base_config,
        args.base_checkpoint,
        args.base_options,
        candidates=number(args.candidates or "16"),
        factor=args.factor,
        finalists=4 if args.finalists is None else args.finalists,
        least_images=args.least_images,
        bn=args.bn,
        subnets=None if args.subnets == "all" else [name.strip() for name in args.subnets.split(",")],
        score=args.score,
    )


def number(text: str) -> int:
    """A number of candidates."""
    try:
        return int(text)
    except ValueError:
        raise ConfigError(f"--candidates {text} must be a whole number, or, for detection, all.") from None


def classification(args: argparse.Namespace) -> None:
    """Route by kNN on frozen features."""
    from mmssl_dynamic.apis.route import route
    from mmssl_dynamic.evaluation import KNNProtocol
    from mmssl_dynamic.routing import RoutingResult

    if args.bank is None:
        raise ConfigError("routing needs --bank, the BN bank that the training or tools/calibrate_bn.py wrote.")
    references = [RoutingResult.load(file) for file in args.reference]
    found = route(
        args.config,
        args.checkpoint,
        args.bank,
        args.out,
        data_roots=args.data_root,
        dataset_configs=args.dataset_config,
        method=routing_method(args),
        protocol=KNNProtocol(k=args.k, temperature=args.temperature, vote=args.vote),
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
    if args.det_config is None:
        raise ConfigError("--task detection needs --det-config, the mmdet config of the detector.")
    if args.data_root or args.dataset_config:
        raise ConfigError(
            "--task detection takes its data from --det-config, so --data-root and --dataset-config have no effect; "
            "leave them out (--det-options data_root=... moves the detector's data)."
        )
    from mmssl_dynamic.detection.routing import DetectionPlan, route_detection

    plan = DetectionPlan(
        iterations=args.iters,
        candidates=None if args.candidates in (None, "all") else number(args.candidates),
        shortlist=args.shortlist,
        halving=args.halving,
        finalists=2 if args.finalists is None else args.finalists,
        kind=args.ap,
        seed=args.seed,
    )
    args.candidates = None
    devices = args.devices or args.device
    result, report = route_detection(
        args.config,
        args.checkpoint,
        args.bank,
        args.out,
        args.det_config,
        plan=plan,
        method=routing_method(args),
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
