"""Split the images of a feature file into K clusters, one for each path (SDR Sec. 4.2).

Writes clusters.npz (for training), clusters.json (figures), clusters_sizes.png and clusters_montage.png, named after
--out, and prints sizes, entropy and, where the images have labels, how well the clusters agree with the classes.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from mmssl_dynamic.arguments import Checked, existing, file_ending
from mmssl_dynamic.commands import shared


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
    shared.add_device(parser)

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
    from mmssl_dynamic.locks import locked_file

    with locked_file(args.out):
        cluster(args)


def cluster(args: argparse.Namespace) -> None:
    """Cluster, and write figures and pictures beside the clusters."""
    from mmssl_dynamic.clustering import (
        ClusterReport,
        SinkhornOptions,
        check_hierarchy,
        chosen_number,
        cluster_features,
        order_by_hierarchy,
        recommend,
    )
    from mmssl_dynamic.features import Features
    from mmssl_dynamic.loading import select_device
    from mmssl_dynamic.visualization.montage import cluster_montage, find_image_root, size_plot
    from mmssl_dynamic.writing import write_json

    out = Path(args.out)
    features = Features.load(args.features)
    recommendation = recommend(features.num_images, args.images_per_cluster)
    num_clusters = chosen_number(args.num_clusters, features.num_images, args.images_per_cluster)
    if args.hierarchy:
        check_hierarchy(args.hierarchy, num_clusters, args.method)
    image_root = find_image_root(features, args.image_root) if args.montage else None
    clusters = cluster_features(
        features,
        num_clusters,
        args.method,
        SinkhornOptions(
            num_clusters=num_clusters,
            epochs=args.epochs,
            lr=args.lr,
            temperature=args.temperature,
            epsilon=args.epsilon,
            iterations=args.iterations,
            batch_size=args.batch_size,
            queue=args.queue,
        ),
        center=args.center,
        min_size=args.min_size,
        assignment=args.assign,
        seed=args.seed,
        device=select_device(args.device),
    )
    if args.hierarchy:
        clusters = order_by_hierarchy(clusters, args.hierarchy, args.seed)
    report = ClusterReport.of(clusters, features.labels, args.seed)
    clusters.meta["report"] = report.as_dict()
    clusters.save(out)
    write_json(out.with_suffix(".json"), {**clusters.meta, "features": str(args.features)})
    written = [out, out.with_suffix(".json"), size_plot(clusters, out.with_name(f"{out.stem}_sizes.png"))]
    if image_root is not None:
        picture = out.with_name(f"{out.stem}_montage.png")
        shown, seed = args.montage_clusters, args.seed
        written.append(cluster_montage(clusters, image_root, picture, args.montage_samples, shown, seed=seed))
    print(report.text())
    print(f"  advice    {recommendation.reason(num_clusters)}")
    if args.hierarchy:
        figures = clusters.meta["hierarchy"]
        print("mean cosine of clusters whose paths have 0, 1, ... groups in common")
        print("  by index     ", *(f"{cosine:.3f}" for cosine in figures["similarity_by_index"]))
        print("  by hierarchy ", *(f"{cosine:.3f}" for cosine in figures["similarity"]))
    print("wrote", *written)
