"""Measure how long exported networks take on this machine, into a table that select reads.

EXPORTS are files that export wrote, with the .json beside each, or folders of them (export --all). Graphs run in their
runtime, such as onnxruntime, the other formats in PyTorch. Each network runs --warm-up times and then --repeats times;
the table holds the median and the first and last decile of the latter, the device and all conditions.

Networks that are in the table already are kept, so that it can be added to, and a run that was stopped goes on. A busy
machine gives wrong figures: close what else runs, and compare networks of one table only.
"""

from __future__ import annotations

import argparse

from mmssl_dynamic.arguments import Checked, at_least
from mmssl_dynamic.commands import shared
from mmssl_dynamic.execution import Execution
from mmssl_dynamic.outputs import check_output_file


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Define its options."""
    parser.add_argument("exports", nargs="+", metavar="EXPORTS", help="exported files, or folders of them")
    parser.add_argument(
        "--out",
        required=True,
        metavar="FILE",
        action=Checked,
        check=lambda path, option: check_output_file(path, option, (".json",)),
        help="the table, a .json file",
    )
    help = "side of the images (default: as in evaluation, which the exports say)"
    shared.add_number(parser, "--image-size", help, at_least(1), metavar="PIXELS")
    shared.add_number(parser, "--threads", "of the CPU (default: 1)", at_least(1), default=1, metavar="N")
    shared.add_number(parser, "--repeats", "passes that count (default: 50)", at_least(1), default=50, metavar="N")
    shared.add_number(parser, "--warm-up", "passes before them (default: 10)", at_least(0), default=10, metavar="N")
    shared.add_execution(parser, batch_size=1, again=True, device="cpu; graphs run there alone")


def main(args: argparse.Namespace) -> None:
    """Do what was asked for, and print what came of it."""
    from mmssl_dynamic.apis.latency import Passes, latency

    passes = Passes(args.batch_size, args.repeats, args.warm_up, args.threads, args.image_size)
    table = latency(
        args.exports,
        args.out,
        passes=passes,
        execution=Execution(args.device, progress=args.progress, again=args.again),
    )
    width = max(len("network"), *(len(entry.subnet) for entry in table.entries))
    print(f"{'network':<{width}}  median ms  10 to 90 %")
    for entry in table.entries:
        spread = "" if entry.low_ms is None else f"{entry.low_ms:.2f} to {entry.high_ms:.2f}"
        print(f"{entry.subnet:<{width}}  {entry.latency_ms:9.2f}  {spread}")
    print(f"{table.conditions}\nwritten to {args.out}")
