"""Decode every image below a folder and list the ones that training could not read."""

from __future__ import annotations

import argparse
import os
import sys

from mmssl_dynamic.arguments import Checked, existing_folder
from mmssl_dynamic.commands import shared

EPILOG = """\
Exit status: 0 if all images can be read, 1 if some cannot or should be looked at, 2 if there is nothing to check.
Nothing is deleted; to delete what --delete-list wrote: xargs -d '\\n' rm -- < FILE
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Define its options."""
    check = existing_folder("image folder")
    parser.add_argument("folder", action=Checked, check=check, help="folder of images, flat or nested")
    shared.add_image_check(parser)


def main(args: argparse.Namespace) -> None:
    """Do what was asked for, and print what came of it."""
    from mmssl_dynamic.datasets.image_listing import find_images
    from mmssl_dynamic.datasets.preparation import verify_images

    root = os.path.expanduser(args.folder)
    listing = find_images(root)
    report = verify_images([os.path.join(root, name) for name in listing.images], args.workers, args.progress)
    if listing.left_out:
        print(f"left out    {listing.left_out_text()}")
    print("\n".join(report.lines()))
    if args.delete_list:
        report.write_unreadable(args.delete_list)
        print(f"wrote the {len(report.unreadable)} unreadable paths to {args.delete_list}")
    if report.unreadable or report.suspect:
        sys.exit(1)
