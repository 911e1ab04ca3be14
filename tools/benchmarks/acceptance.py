"""Accept a card: the tests marked `gpu`, then the speed ratios that only a card can show, in one JSON and one table.

Each part runs in a process of its own with a limit, so that one that fails costs its own line, and all of them
together have twenty minutes; what is compiled comes last. The status is 1 if any part failed. With --dry-run everything
runs on the CPU at tiny sizes, and graphs are traced and not compiled.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from mmssl_dynamic import cli

ROOT = Path(__file__).resolve().parents[2]
# As timing.summary has it: a median with its range.
_SUMMARY = r"([\d.]+) \(([\d.]+) to ([\d.]+)\)"
_NUMBER = r"([\d,.]+)"
_SECONDS = 1200  # of all parts on a card


def _row(label: str, cell: str = _SUMMARY) -> str:
    """A row of a benchmark's table, of which the last column counts: that with all of what was asked for."""
    return rf"^{re.escape(label)}\s{{2,}}(?:.*\s{{2,}})?{cell}"


@dataclass(frozen=True)
class Part:
    """What runs in a process.

    Attributes:
        name: For the table.
        command: Script and arguments on a card.
        tiny: Arguments that take their place in a dry run.
        seconds: Limit on a card.
        figures: Labels, and what stands before each in the output.
    """

    name: str
    command: tuple[str, ...]
    tiny: tuple[str, ...]
    seconds: int
    figures: dict[str, str] = field(default_factory=dict)


@dataclass
class Outcome:
    """What came of a part.

    Attributes:
        name: Of the part.
        passed: Whether it ended well and printed all of its figures.
        seconds: How long it took.
        figures: Values by label; of medians their range, too.
        message: What is wrong.
    """

    name: str
    passed: bool
    seconds: float
    figures: dict[str, list[float]]
    message: str = ""


def parts() -> Iterator[Part]:
    """All of them."""
    folder = "tools/benchmarks"
    tests, compiling = ("-m", "pytest", "-q", "-m", "gpu", "-p", "no:xdist"), "tests/gpu/test_compiling.py"
    yield Part("tests marked gpu", (*tests, "tests/gpu", "--ignore", compiling), (), 100)
    variants, amp = ("--channels-last", "--bf16"), ("--channels-last", "--amp")
    measured = (*variants, "--last-column", "--seconds", "30")
    wide = "configs/sdr/sdr_simsiam_r50_256path.py"
    # With few images a card waits for its launches, with many for its arithmetic.
    for images in (64, 256):
        yield Part(
            f"SDR step over SimSiam step, {images} images",
            (f"{folder}/sdr_step.py", "--batch-size", str(images), *measured, "--rounds", "8"),
            (f"{folder}/sdr_step.py", "--batch-size", "2", "--image-size", "32", "--rounds", "1", "--sdr", wide),
            120,
            {
                "W_0": _row("W_0 / SimSiam"),
                "sub-network": _row("sub-network / SimSiam"),
                "average over phases": _row("mean over 5 phases / SimSiam"),
                "the same, one direction a step": _row("mean over 5 phases, one direction / SimSiam"),
                "SDR, images/s": _row("SDR: images/s, hours of a training", f"{_NUMBER}, "),
                "SimSiam, images/s": _row("SimSiam: images/s, hours of a training", f"{_NUMBER}, "),
                "memory of a sub-network's step, GiB": _row("peak memory, sub-network (GiB)", _NUMBER),
            },
        )
    yield Part(
        "DSPNet step over five BYOL steps",
        (f"{folder}/dspnet_step.py", "--batch-size", "128", *measured, "--rounds", "2"),
        (
            f"{folder}/dspnet_step.py", "--batch-size", "2", "--image-size", "32", "--rounds", "1", "--arch", "small",
            "--widths", "0.5", "1.0", "--num-networks", "2",
        ),
        200,
        {
            "compute": _row("both: DSPNet / BYOL, compute"),
            "with loading": _row("both: DSPNet / BYOL, with loading"),
            "compute, one direction a step": _row("alternate: DSPNet / BYOL, compute"),
            "memory": _row("peak memory, DSPNet / the largest BYOL", r"([\d.]+) \("),
        },
    )  # fmt: skip
    for network in ("sdr", "mobilenet"):
        yield Part(
            f"active over static twin, {network}",
            (f"{folder}/subnet_speed.py", "--network", network, "--batch-size", "64", *amp, "--rounds", "20"),
            (
                f"{folder}/subnet_speed.py",
                "--network",
                network,
                "--batch-size",
                "2",
                "--image-size",
                "32",
                "--rounds",
                "1",
            ),
            40,
            {"speed": r"speed of the active sub-network relative to its twin: " + _SUMMARY},
        )
    yield Part(
        "routing over 256 paths",
        (f"{folder}/route_speed.py", "--images", "256", "--size", "224", "--batch-size", "64", "--fast"),
        (
            f"{folder}/route_speed.py", "--depth", "18", "--stage-channels", "8", "8", "8", "8", "--stage-groups", "1",
            "1", "2", "2", "--size", "32", "--images", "16", "--fast", "--candidates", "2",
        ),
        90,
        {
            "shared prefixes": r"^time: one by one .* ratio ([\d.]+)",
            "halving over one by one": r"^halving: .*? s, ([\d.]+) times as fast as one by one",
        },
    )  # fmt: skip
    yield Part(
        "loader, and augmentation on the card",
        (f"{folder}/loader_throughput.py", "--num-images", "64", "--rounds", "3"),
        (f"{folder}/loader_throughput.py", "--num-images", "4", "--rounds", "1"),
        60,
        {
            "images/s a core": r"ms an image: (\d+) images/s a core",
            "the same, colours left to the card": r"ms an image: (\d+) a core",
            "colours of both views on the card, ms an image": r"^colours of both views, \w+ +" + _SUMMARY,
        },
    )
    # Alone, so that no graph costs a figure of above; the figures are of a column with everything at once.
    compiled = (*variants, "--compile", "--last-column", "--seconds", "30")
    traced = (*variants, "--compile", "eager", "--last-column")
    yield Part(
        "SDR step over SimSiam step, compiled",
        (f"{folder}/sdr_step.py", "--batch-size", "64", *compiled, "--both-directions", "--rounds", "8"),
        (
            f"{folder}/sdr_step.py", "--batch-size", "2", "--image-size", "32", "--rounds", "1", "--sdr", wide, *traced,
            "--both-directions",
        ),
        400,
        {
            "average over phases, compiled": _row("mean over 5 phases / SimSiam"),
            "SDR compiled, images/s": _row("SDR: images/s, hours of a training", f"{_NUMBER}, "),
            "SimSiam compiled, images/s": _row("SimSiam: images/s, hours of a training", f"{_NUMBER}, "),
        },
    )  # fmt: skip
    few = ("--arch", "small", "--widths", "0.5", "1.0", "--num-networks", "2", "--no-peer")
    yield Part(
        "DSPNet step over two BYOL steps, compiled",
        (f"{folder}/dspnet_step.py", "--batch-size", "128", *few, *compiled),
        (f"{folder}/dspnet_step.py", "--batch-size", "2", "--image-size", "32", "--rounds", "1", *few, *traced),
        200,
        {"compute, compiled": _row("both: DSPNet / BYOL, compute"), "DSPNet step compiled, s": _row("DSPNet step (s)")},
    )
    yield Part("tests of compiled steps", (*tests, compiling), (), 300)


def run(part: Part, folder: Path, dry: bool, left: float = _SECONDS) -> Outcome:
    """Run a part, in the seconds that are left, and read its figures out of what it printed, which is kept."""
    command = [sys.executable, *(part.tiny if dry and part.tiny else part.command)]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])}
    if dry:
        environment.update(CUDA_VISIBLE_DEVICES="", OMP_NUM_THREADS="1")
    start, message, limit = time.monotonic(), "", 600 if dry else max(1, round(min(part.seconds, left)))
    log = folder / f"{re.sub(r'[^a-z0-9]+', '-', part.name.lower())}.log"
    with log.open("w") as stream:
        try:
            done = subprocess.run(
                command,
                cwd=ROOT,
                env=environment,
                stdout=stream,
                stderr=subprocess.STDOUT,
                timeout=limit,
                check=False,
            )
            if done.returncode:
                message = f"status {done.returncode}"
        except subprocess.TimeoutExpired:
            message = f"took longer than {limit} s"
    printed = log.read_text(errors="replace")
    figures = {}
    for label, pattern in part.figures.items():
        match = re.search(pattern, printed, re.MULTILINE)
        if match is not None:
            figures[label] = [float(text.replace(",", "")) for text in match.groups()]
    missing = [label for label in part.figures if label not in figures]
    if missing and not message:
        message = f"does not say: {', '.join(missing)}"
    return Outcome(part.name, not message, round(time.monotonic() - start, 1), figures, message)


def machine() -> dict[str, Any]:
    """What the figures are of."""
    import torch

    device = torch.cuda.get_device_name() if torch.cuda.is_available() else "CPU"
    return {"device": device, "torch": torch.__version__, "cuda": torch.version.cuda, "cores": os.cpu_count()}


def table(of: dict[str, Any], outcomes: list[Outcome], dry: bool) -> str:
    """The outcomes in Markdown."""
    lines = [f"{of['device']}, torch {of['torch']}" + (" (a dry run: figures mean nothing)" if dry else ""), ""]
    lines += ["| part | figure | value | lowest to highest | seconds |", "|---|---|---|---|---|"]
    for outcome in outcomes:
        state = "passed" if outcome.passed else f"**failed**: {outcome.message}"
        lines.append(f"| {outcome.name} | {state} | | | {outcome.seconds:g} |")
        for label, values in outcome.figures.items():
            spread = f"{values[1]:g} to {values[2]:g}" if len(values) == 3 else ""
            lines.append(f"| | {label} | {values[0]:g} | {spread} | |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "out", nargs="?", default="work_dirs/gpu_acceptance", metavar="OUT", help="folder of the results"
    )
    parser.add_argument("--dry-run", action="store_true", help="on the CPU at tiny sizes")
    parser.add_argument("--seconds", type=int, default=_SECONDS, help=f"for all parts (default: {_SECONDS})")
    parser.add_argument("--only", metavar="WORD", help="only parts whose names have this word in them")
    args = parser.parse_args()
    folder = Path(args.out)
    folder.mkdir(parents=True, exist_ok=True)
    outcomes: list[Outcome] = []
    for part in parts():
        if args.only is None or args.only in part.name:
            left = args.seconds - sum(outcome.seconds for outcome in outcomes)
            outcomes.append(run(part, folder, args.dry_run, left))
            told = "passed" if outcomes[-1].passed else outcomes[-1].message
            print(f"{part.name}: {told}, {outcomes[-1].seconds:g} s", flush=True)
    of = machine()
    record = {"dry_run": args.dry_run, **of, "parts": [asdict(outcome) for outcome in outcomes]}
    (folder / "acceptance.json").write_text(json.dumps(record, indent=2))
    shown = table(of, outcomes, args.dry_run)
    (folder / "acceptance.md").write_text(f"{shown}\n")
    print(f"\n{shown}\n\nwritten to {folder}: acceptance.json, acceptance.md")
    sys.exit(0 if outcomes and all(outcome.passed for outcome in outcomes) else 1)


if __name__ == "__main__":
    cli.run(main)
