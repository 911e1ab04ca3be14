"""Check an ImageNet folder before a long run: classes, their sizes, stray files, every image.

DIR holds train/, val/ or both, or is one of them. ImageNet-1k's numbers are expected: 1,000 class folders named by
WNID; in train 732 to 1,300 images each and 1,281,167 in all, in val 50 each. With --classes or --images-per-class
subsets and other data sets of the same layout can be checked.
"""

from __future__ import annotations

import argparse
import sys

from mmssl_dynamic.commands import shared

EPILOG = """\
Exit status: 0 if all is fine, 1 if there are problems, 2 if there is nothing to check. Nothing is changed or deleted.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Define its options."""
    parser.add_argument("folder", metavar="DIR", help="such as data/imagenet")
    parser.add_argument("--classes", type=int, default=1000, metavar="N", help="class folders (default: %(default)s)")
    parser.add_argument(
        "--images-per-class",
        type=int,
        nargs=2,
        metavar=("MIN", "MAX"),
        help="in train (default: 732 1300)",
    )
    parser.add_argument("--fast", action="store_true", help="count only; do not decode the images")
    shared.add_image_check(parser)


def main(args: argparse.Namespace) -> None:
    """Do what was asked for, and print what came of it."""
    from mmssl_dynamic.datasets.preparation import verify_images
    from mmssl_dynamic.datasets.preparation.imagenet_check import check_imagenet
    from mmssl_dynamic.outputs import check_output_file

    if args.delete_list:
        check_output_file(args.delete_list, "--delete-list")
    per_class = tuple(args.images_per_class) if args.images_per_class else None
    parts = check_imagenet(args.folder, args.classes, per_class, args.progress)
    # Before the images are decoded, which takes hours: what is wrong here may make that pointless.
    print("\n".join(line for part in parts for line in part.lines()), flush=True)
    problems = sum(len(part.problems) for part in parts)
    if not args.fast:
        report = verify_images([path for part in parts for path in part.images], args.workers, args.progress)
        print("\n".join(report.lines()))
        problems += len(report.unreadable)
        if args.delete_list:
            report.write_unreadable(args.delete_list)
    print(f"{problems} problem{'s' * (problems != 1)}" if problems else "no problems found")
    if problems:
        sys.exit(1)
