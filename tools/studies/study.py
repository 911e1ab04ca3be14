"""Run a study: its table of trainings with all seeds, their evaluation, and the report.

Every step is a command of tools/ in a process of its own, with its log in the folder of its run; the commands are
written to OUT/commands.sh. What is finished is not done again, and a training that was stopped goes on from its last
checkpoint, so a study can be stopped and started anew at any time, with more seeds or runs, or to make the report.

    python tools/studies/study.py domains --data DIR --out work_dirs/domains --plan     # what is left, and how long
    nice -n 19 python tools/studies/study.py domains --data DIR --out work_dirs/domains
    python tools/studies/study.py domains --data DIR --out work_dirs/domains --report   # of what is there

With --page docs/studies/domains.md the results that are published there count as finished, so that a study goes on
where another machine has begun it, and with --report the report's tables and figures replace those of the page.
"""

import argparse
import importlib
from pathlib import Path

from page import publish, restore
from plan import plan_text
from queue_runner import perform
from report import write_report
from runs import Folders, Unit, units_of

from mmssl_dynamic import cli
from mmssl_dynamic.errors import ConfigError

STUDIES = ("domains", "domains_large", "dspnet", "relatives", "sandwich", "teacher", "budget")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("study", choices=STUDIES, help="table of runs, a file beside this one")
    parser.add_argument("--data", required=True, metavar="DIR", help="folder with the archives of the study's images")
    parser.add_argument("--out", required=True, metavar="DIR", help="folder of the study; everything goes there")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2], help="(default: 0 1 2)")
    parser.add_argument("--runs", nargs="+", metavar="NAME", help="only these, and what they start from (default: all)")
    parser.add_argument("--jobs", type=int, default=1, help="runs at a time (default: 1)")
    parser.add_argument("--plan", action="store_true", help="only say what is left and how long it will take")
    parser.add_argument("--report", action="store_true", help="only write the report of what is there")
    parser.add_argument(
        "--page",
        metavar="PAGE.md",
        help="page of docs/ whose published runs are not made again; with --report: put it there, figures beside",
    )
    args = parser.parse_args()
    study = importlib.import_module(args.study)
    folders = Folders(Path(args.data).resolve(), Path(args.out).resolve())
    units = units_of(study.STAGES, args.seeds)
    if args.runs is not None:
        units = _chosen(units, args.runs)
    if args.jobs < 1:
        raise ConfigError(f"--jobs {args.jobs} must be at least 1.")
    if args.page is not None and (restored := restore(Path(args.page), units, folders)):
        print(f"{len(restored)} runs are taken from {args.page}: {', '.join(restored)}")
    if args.plan:
        print(plan_text(units, folders))
        return
    if not args.report:
        study.prepare(folders)
        perform(units, folders, args.jobs, on_finished=lambda: print(plan_text(units, folders), flush=True))
    report = write_report(study, units, folders)
    if args.report and args.page is not None:
        publish(Path(args.page), report, units, folders)
    print(report)


def _chosen(units: list[Unit], names: list[str]) -> list[Unit]:
    """The units of these runs and of what they need."""
    known = {unit.run.name: unit.run for unit in units}
    wanted: set[str] = set()
    for name in names:
        if name not in known:
            raise ConfigError(f"--runs {name} is unknown; choose from {', '.join(known)}.")
        while name is not None:
            wanted.add(name)
            name = known[name].start
    return [unit for unit in units if unit.run.name in wanted]


if __name__ == "__main__":
    cli.run(main)
