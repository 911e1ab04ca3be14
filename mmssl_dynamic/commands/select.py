"""Choose the most accurate network within a budget for each task, from results that are there.

RESULTS are what route, evaluate or transfer wrote: routing.json, results.json, or the folders of --out. For each task
the best network within the budget is printed, with the runner-up and what the next step up would cost; of equal ones
the cheaper. Without a limit it is the best of all.

--max-latency needs the latencies of a device: `mmssl-dynamic latency` measures exports on this machine and writes such
a table; one of another device has the same form. A network that was never measured gets a latency between those of its
neighbours in multiply-accumulates, and is marked as estimated.

With --out: select.json, and for each task a picture of accuracy over cost with the budget drawn in. --export FORMAT
writes the chosen networks there, too.
"""

from __future__ import annotations

import argparse

from mmssl_dynamic.arguments import Checked
from mmssl_dynamic.commands import budget_options, shared
from mmssl_dynamic.errors import ConfigError
from mmssl_dynamic.outputs import check_output_folder

EPILOG = """\
A table by hand needs no more than this, in which names are those of sub-networks:
  {"schema_version": 1, "kind": "device table", "conditions": {"device": "my phone"},
   "entries": [{"subnet": "w0.5", "latency_ms": 3.1}, {"subnet": "w1.0", "latency_ms": 7.9}]}
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Define its options."""
    parser.add_argument("results", nargs="+", metavar="RESULTS", help="routing.json, results.json, or their folders")
    budget_options.add_arguments(parser)
    help = "folder of select.json, the pictures and exports (default: nothing is written)"
    parser.add_argument("--out", metavar="DIR", action=Checked, check=check_output_folder, help=help)
    known = f"{{{','.join(shared.FORMATS)}}}"
    parser.add_argument("--export", metavar=known, help="write the chosen networks in this format, too")


def main(args: argparse.Namespace) -> None:
    """Do what was asked for, and print what came of it."""
    if args.export is not None and args.out is None:
        raise ConfigError("--export needs a folder to write into: give --out.")
    budget_options.check(args)
    from mmssl_dynamic.apis.select import RECORD, exported, select
    from mmssl_dynamic.budget import Budget
    from mmssl_dynamic.export.formats import find_format
    from mmssl_dynamic.fileio import sidecar_path
    from mmssl_dynamic.selection import DeviceTable

    budget = Budget.of(vars(args))
    choices = select(args.results, budget, device_table=args.device_table, out=args.out, format=args.export)
    if args.device_table is not None:
        conditions = DeviceTable.load(args.device_table).conditions
        print(f"latencies: {conditions}")
        written = None if args.export is None else find_format(args.export)
        if written is not None and not conditions.runs(written.runtime, written.precision):
            how = " in ".join(part for part in (written.runtime, written.precision or "float32") if part)
            print(f"note: --export {args.export} is run by {how}, which was not measured: measure the file to be sure")
    for choice in choices:
        print(choice.text())
    for measure in dict.fromkeys(choice.task.measure for choice in choices):
        print(f"chosen by: {measure}")
    if args.out is None:
        return
    print(f"written to {args.out}: {RECORD} and a picture for each task")
    for file in exported(args.out):
        print(f"exported: {file}, and how to load it in {sidecar_path(file).name}")
