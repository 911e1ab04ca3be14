"""The options of the demos."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mmssl_dynamic.arguments import Checked, at_least, existing_folder
from mmssl_dynamic.commands import shared


def add_arguments(parser: argparse.ArgumentParser, name: str, epochs: int, trained: str) -> None:
    """``--data``, ``--tasks``, ``--out``, ``--epochs``, ``--max-images``, ``--seed`` and ``--again`` of a demo.

    Args:
        parser: Gets the arguments.
        name: Of the folder in ``work_dirs/``.
        epochs: By default.
        trained: What the epochs are of.
    """
    parser.add_argument(
        "--data",
        metavar="DIR",
        action=Checked,
        check=existing_folder("image folder"),
        help="folder of your own images to pre-train on",
    )
    parser.add_argument(
        "--tasks",
        nargs="+",
        metavar="DIR",
        action=Checked,
        check=task_folders,
        help="your own labelled folders, with train/CLASS/ and test/CLASS/, in place of the photographs' tasks",
    )
    shared.add_out(parser, "all results", f"work_dirs/{name}, or work_dirs/{name}_<folder> with --data")
    shared.add_number(parser, "--epochs", f"{trained} (default: %(default)s)", at_least(1), default=epochs, metavar="N")
    help = "of --data (default: %(default)s)"
    shared.add_number(parser, "--max-images", help, at_least(1), default=2048, metavar="N")
    shared.add_seed(parser)
    shared.add_again(parser)


def task_folders(paths: Sequence[str], name: str) -> None:
    """Folders of tasks that must be there."""
    for path in paths:
        existing_folder("task", "give a folder with train/ and test/ in it")(path, name)


def folder_named(args: argparse.Namespace, name: str) -> dict[str, Any]:
    """The arguments of :func:`add_arguments`, with the folder that is the default."""
    folder = name if args.data is None else f"{name}_{Path(args.data).resolve().name}"
    return {**vars(args), "out": args.out or Path("work_dirs") / folder}
