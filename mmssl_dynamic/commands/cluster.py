"""Split the images of a feature file into K clusters, one for each path (SDR Sec. 4.2).

Writes clusters.npz (for training), clusters.json (figures), clusters_sizes.png and clusters_montage.png, named after
--out, and prints sizes, entropy and, where the images have labels, how well the clusters agree with the classes.

Several GPUs: torchrun --nproc_per_node=8 -m mmssl_dynamic cluster ... --launcher pytorch
"""

from __future__ import annotations

import argparse

from mmssl_dynamic.arguments import Checked, existing, file_ending
from mmssl_dynamic.commands import shared
from mmssl_dynamic.execution import Execution

SINKHORN = ("epochs", "lr", "temperature", "epsilon", "iterations", "batch_size", "queue")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Define its options."""
    check = existing("features file", "write it with tools/extract_features.py")
    parser.add_argument(
        "features", metavar="F.npy", action=Checked, check=check, help="file written by tools/extract_features.py"
    )
    parser.add_argument(
        "--num-clusters",
        required=True,
        metavar="K",
        help="number of paths: 4, 16, 64, 256, ...; 'auto': as many as the images are good for",
    )
    parser.add_argument(
        "--images-per-cluster",
        type=int,
        default=256,
        metavar="M",
        help="images that a path should have on average, for 'auto' and for the recommendation that is printed "
        "(default: %(default)s, our reading)",
    )
    parser.add_argument(
        "--method",
        choices=("sinkhorn", "kmeans", "random"),
        default="sinkhorn",
        help="sinkhorn: learned prototypes, balanced (the paper's; default); kmeans: spherical k-means of faiss; "
        "random: equal sizes by chance, the control of the paper's Table 3",
    )
    parser.add_argument(
        "--out",
        default="clusters.npz",
        metavar="CLUSTERS.npz",
        action=Checked,
        check=file_ending(".npz"),
        help="file of the clusters (default: %(default)s)",
    )
    parser.add_argument(
        "--min-size",
        type=int,
        default=1,
        metavar="M",
        help="least images per cluster: smaller clusters are filled up with the images that lose least similarity by "
        "moving. Give the training batch size, so that every cluster fills a batch; 0 moves nothing (default: 1)",
    )
    parser.add_argument(
        "--assign",
        choices=("argmax", "balanced"),
        default="argmax",
        help="argmax: every image to its most similar prototype (the paper's; default); balanced: the likeliest "
        "cluster of Sinkhorn's assignment U over all images, which makes clusters of nearly equal size",
    )
    parser.add_argument(
        "--center",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="subtract the mean feature before normalising, without which the part that all features have in common "
        "drowns the differences (default: on)",
    )
    parser.add_argument(
        "--hierarchy",
        type=int,
        nargs="+",
        metavar="G",
        help="the network's stage_groups, such as 4 4 4 4: similar clusters get paths with a common beginning "
        "(default: cluster i gets path i, as in the paper)",
    )
    shared.add_seed(parser)
    shared.add_execution(parser, launcher=True)
    sinkhorn = parser.add_argument_group("Sinkhorn prototypes (SDR Eq. 2)")
    sinkhorn.add_argument(
        "--epochs", type=int, default=20, metavar="N", help="passes over the features (default: %(default)s)"
    )
    sinkhorn.add_argument("--lr", type=float, default=0.5, help="step of SGD, times K (default: %(default)s)")
    sinkhorn.add_argument(
        "--temperature", type=float, default=0.1, metavar="T", help="T of softmax(S / T) (default: %(default)s)"
    )
    sinkhorn.add_argument("--epsilon", type=float, default=0.05, help="weight of the entropy (default: %(default)s)")
    sinkhorn.add_argument("--iterations", type=int, default=3, help="of Sinkhorn-Knopp (default: %(default)s)")
    sinkhorn.add_argument(
        "--batch-size", type=int, metavar="N", help="features per step (default: 1024, less for fewer than 8192 images)"
    )
    sinkhorn.add_argument(
        "--queue", type=int, default=3072, help="recent features that join in the balance (default: %(default)s)"
    )

    pictures = parser.add_argument_group("pictures")
    pictures.add_argument(
        "--montage", action=argparse.BooleanOptionalAction, default=True, help="sample images per cluster (default: on)"
    )
    pictures.add_argument("--image-root", metavar="DIR", help="folder of the images (default: as when extracted)")
    pictures.add_argument("--montage-samples", type=int, default=8, metavar="N", help="images per cluster (default: 8)")
    pictures.add_argument("--montage-clusters", type=int, metavar="N", help="only the N largest (default: all)")


def main(args: argparse.Namespace) -> None:
    """Do what was asked for, and print what came of it."""
    from mmssl_dynamic.apis.cluster import ClusterPlan, Montage, cluster
    from mmssl_dynamic.clustering import recommend

    plan = ClusterPlan(
        args.method,
        args.images_per_cluster,
        args.min_size,
        args.assign,
        args.center,
        args.hierarchy,
        {name: getattr(args, name) for name in SINKHORN},
        args.seed,
    )
    montage = Montage(args.montage, args.image_root, args.montage_samples, args.montage_clusters)
    # Its batches are of features, and one of the options.
    execution = Execution(args.device, progress=args.progress, launcher=args.launcher)
    made = cluster(args.features, args.num_clusters, args.out, plan=plan, montage=montage, execution=execution)
    if not execution.first:
        return
    print(made.report.text())
    advice = recommend(len(made.clusters), args.images_per_cluster)
    print(f"  advice    {advice.reason(made.clusters.num_clusters)}")
    if args.hierarchy:
        figures = made.clusters.meta["hierarchy"]
        print("mean cosine of clusters whose paths have 0, 1, ... groups in common")
        print("  by index     ", *(f"{cosine:.3f}" for cosine in figures["similarity_by_index"]))
        print("  by hierarchy ", *(f"{cosine:.3f}" for cosine in figures["similarity"]))
    print("wrote", *made.files)
