"""Split ImageNet into two subsets without common meaning (SDR Sec. 3).

Or any data set with its class names. Subset-A holds mostly things, Subset-B mostly organisms, and no class of one
shares an ancestor in WordNet with a class of the other at --depth steps below the root. Writes subset_a.txt and
subset_b.txt, lists of files for training (the configs in configs/sdr/negative_transfer read them from meta/ in the
data's folder), and split.json, the classes with their names. What was written is read back and checked before it gets
its name.
"""

from __future__ import annotations

import argparse


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Define its options."""
    classes = parser.add_mutually_exclusive_group(required=True)
    classes.add_argument(
        "--data-root", metavar="DIR", help="folder with a folder for every class, such as data/imagenet/train"
    )
    classes.add_argument(
        "--classes", metavar="FILE", help="WNIDs, one a line, where there are no images: only split.json is written"
    )
    parser.add_argument(
        "--wordnet",
        metavar="PATH",
        help="data.noun of WordNet 3.0, its folder, or NLTK's wordnet.zip (default: where Debian's wordnet-base or "
        "NLTK put it)",
    )
    parser.add_argument(
        "--depth", type=int, default=4, help="steps below the root, which has depth 0 (default: %(default)s)"
    )
    parser.add_argument("--out", required=True, metavar="DIR", help="folder to write into, such as data/imagenet/meta")


def main(args: argparse.Namespace) -> None:
    """Do what was asked for, and print what came of it."""
    from mmssl_dynamic.datasets.preparation.semantic_split import describe
    from mmssl_dynamic.datasets.preparation.subset_lists import split_class_list, split_folder
    from mmssl_dynamic.datasets.preparation.wordnet import read_wordnet

    wordnet = read_wordnet(args.wordnet)
    if args.classes:
        written = split_class_list(args.classes, wordnet, args.out, args.depth)
    else:
        written = split_folder(args.data_root, wordnet, args.out, args.depth)
    print("\n".join(describe(written.split, wordnet, written.images)))
    print(f"checked: no two classes across the subsets share an ancestor at depth {args.depth}")
    print(f"wrote {', '.join(str(path) for path in written.files)}")
