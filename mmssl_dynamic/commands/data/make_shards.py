"""Pack a folder of images into tar files, which are read at random by an index.

File systems of clusters read them better than millions of files. They are webdataset's: members are named as the files
were. Beside them goes an index of where every image begins, so that a data set (data_root, in a config) reads them at
random. Names, classes, clusters and draws stay those of the folder. Shards of other tools get an index, too, when
they are first opened.
"""

from __future__ import annotations

import argparse

from mmssl_dynamic.arguments import Checked, at_least, existing_folder
from mmssl_dynamic.commands import shared


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Define its options."""
    check = existing_folder("image folder", "give the folder that holds the images")
    parser.add_argument("root", metavar="ROOT", action=Checked, check=check, help="folder of images, flat or nested")
    shared.add_out(parser, "the shards")
    help = "size of a shard in MB, about (default: 1024)"
    shared.add_number(parser, "--megabytes", help, at_least(1), default=1024, metavar="N")
    shared.add_progress(parser)


def main(args: argparse.Namespace) -> None:
    """Do what was asked for, and print what came of it."""
    from tqdm import tqdm

    from mmssl_dynamic.datasets.shards import ShardIndex, write_shards
    from mmssl_dynamic.locks import locked_folder

    with locked_folder(args.out):
        bar = tqdm(desc="images", unit="img", disable=not args.progress)
        with bar:
            for _ in write_shards(args.root, args.out, args.megabytes):
                bar.update()
        index = ShardIndex.open(args.out)
    print(f"{args.out}: {len(index):,} images in {len(index.files)} shards")
