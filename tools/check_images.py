"""Decode every image below a folder and list the ones that training could not read."""

from __future__ import annotations

import argparse
import sys

from mmssl_dynamic import cli
from mmssl_dynamic.datasets import ImageFolder
from mmssl_dynamic.datasets.preparation import verify_images


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__,
        epilog="Exit status: 0 if all images can be read, 1 if some cannot, 2 if there is nothing to check. Nothing is "
        "deleted; to delete what --delete-list wrote: xargs -d '\\n' rm -- < FILE",
    )
    parser.add_argument("folder", help="folder of images, flat or nested")
    cli.add_image_check_arguments(parser)
    return parser.parse_args()


def main() -> None:
    args = parse_args()
    dataset = ImageFolder(data_root=args.folder, with_label=False)
    report = verify_images(dataset, args.workers, progress=not args.no_progress)
    print("\n".join(report.lines()))
    if args.delete_list:
        report.write_unreadable(args.delete_list)
        print(f"wrote the {len(report.unreadable)} unreadable paths to {args.delete_list}")
    if report.unreadable:
        sys.exit(1)


if __name__ == "__main__":
    cli.run(main)
