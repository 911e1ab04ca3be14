"""Find the sub-network that suits a task, by the kNN accuracy of its frozen features, and export it.

The choice is made on the training images alone (each one classified by the others; or on val/ where it exists). The
test images are classified with the training images as bank, reported in a column of their own, and never take part in
the choice. Written to --out: routing.json, gains_histogram.png and .svg, and the winner as a plain backbone.
"""

import argparse

from mmssl_dynamic import cli


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("config", help="pre-training config")
    parser.add_argument("checkpoint", help="checkpoint of the run")
    parser.add_argument("--bank", required=True, metavar="FILE", help="BN bank of the checkpoint, bn_bank.safetensors")
    data = parser.add_mutually_exclusive_group(required=True)
    data.add_argument(
        "--data-root", metavar="DIR", help="image folder with train/CLASS/ and test/CLASS/ (and val/CLASS/)"
    )
    data.add_argument(
        "--dataset-config", metavar="FILE", help="config that defines the data sets train and test (and val)"
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
        "--subnets", default="all", metavar="NAMES", help="all, or names with commas between: 0-0-1-2,0-0-3-0"
    )
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
        default="mmpretrain",
        help="of the exported winner, see tools/export.py (default: mmpretrain)",
    )
    parser.add_argument("--rows", type=int, default=20, help="sub-networks to show; 0 shows all (default: 20)")
    cli.add_device_argument(parser)
    cli.add_cfg_options_argument(parser)
    return parser.parse_args()


def main() -> None:
    args = parse_args()
    from mmssl_dynamic.apis.deployment import route
    from mmssl_dynamic.evaluation import KNNProtocol

    result, report = route(
        args.config,
        args.checkpoint,
        args.bank,
        args.out,
        data_root=args.data_root,
        dataset_config=args.dataset_config,
        bn=args.bn,
        protocol=KNNProtocol(k=args.k, temperature=args.temperature, vote=args.vote),
        subnets=None if args.subnets == "all" else [name.strip() for name in args.subnets.split(",")],
        batch_size=args.batch_size,
        num_workers=args.workers,
        memory_gib=args.memory_gib,
        format=args.format,
        device=args.device,
        cfg_options=args.cfg_options,
    )
    print(result.table(args.rows or None))
    print(f"\nchosen by {result.protocol['selection']}: {result.best.name} (test images were not used for the choice)")
    cost = result.cost
    print(
        f"{cost['stage_runs']} stage runs per image ({cost['stage_runs_one_by_one']} one by one), {cost['seconds']} s"
    )
    print(report)


if __name__ == "__main__":
    cli.run(main)
