"""Decode all images of a folder, files or packed, and list the ones that training could not read."""

from __future__ import annotations

import argparse
import os
import sys

from mmssl_dynamic.arguments import Checked, existing_folder
from mmssl_dynamic.commands import shared
from mmssl_dynamic.errors import ConfigError

EPILOG = """\
Exit status: 0 if all images can be read, 1 if some cannot or should be looked at, 2 if there is nothing to check.
Nothing is deleted; to delete what --delete-list wrote: xargs -d '\\n' rm -- < FILE
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Define its options."""
    check = existing_folder("image folder")
    parser.add_argument("folder", action=Checked, check=check, help="folder of images, flat or nested, or packed")
    shared.add_image_check(parser)


def main(args: argparse.Namespace) -> None:
    """Do what was asked for, and print what came of it."""
    from mmssl_dynamic.datasets.image_listing import find_images
    from mmssl_dynamic.datasets.packed_folders import open_packed
    from mmssl_dynamic.datasets.preparation import verify_images

    root = os.path.expanduser(args.folder)
    packed = open_packed(root)
    if packed is not None and args.delete_list:
        raise ConfigError(
            f"--delete-list is of files, and the images of {root} are packed; leave it out, and pack the data set anew "
            "without the images that are named."
        )
    listing = find_images(root) if packed is None else None
    images = packed if listing is None else [os.path.join(root, name) for name in listing.images]
    report = verify_images(images, args.workers, args.progress)
    if listing is not None and listing.left_out:
        print(f"left out    {listing.left_out_text()}")
    print("\n".join(report.lines()))
    if args.delete_list:
        report.write_unreadable(args.delete_list)
        print(f"wrote the {len(report.unreadable)} unreadable paths to {args.delete_list}")
    if report.unreadable or report.suspect:
        sys.exit(1)
