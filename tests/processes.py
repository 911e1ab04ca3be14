"""Several gloo processes that share work, forked from that of the tests, which has imported everything."""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import NamedTuple

import torch.distributed as dist


class Ended(NamedTuple):
    """How a process ended.

    Attributes:
        status: Exit status; negative: of the signal that ended it.
        output: What it wrote to stdout.
        errors: And to stderr.
    """

    status: int
    output: str
    errors: str


def run_together(
    body: Callable[[int], object], place: Path, count: int = 2, wait: timedelta | None = None
) -> list[Ended]:
    """Call ``body(rank)`` in processes that have joined, as a launcher starts them.

    Args:
        body: What they do.
        place: A folder for what they write to stdout and stderr.
        count: How many.
        wait: How long trainings in them wait for each other; torch's own half an hour when left out.
    """
    place.mkdir(parents=True, exist_ok=True)
    pids = [_start(body, rank, count, place, wait) for rank in range(count)]
    statuses = [os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in pids]
    written = [[(place / f"{rank}.{name}").read_text() for name in ("out", "err")] for rank in range(count)]
    return [Ended(status, *texts) for status, texts in zip(statuses, written)]


def _start(body: Callable[[int], object], rank: int, count: int, place: Path, wait: timedelta | None) -> int:
    pid = os.fork()
    if pid:
        return pid
    status = 1
    try:
        for number, name in ((1, "out"), (2, "err")):
            os.dup2(os.open(place / f"{rank}.{name}", os.O_WRONLY | os.O_CREAT | os.O_TRUNC), number)
        sys.stdout, sys.stderr = open(1, "w", closefd=False), open(2, "w", closefd=False)  # noqa: SIM115  pytest's are gone
        os.environ.update(RANK=str(rank), WORLD_SIZE=str(count), LOCAL_RANK=str(rank), LOCAL_WORLD_SIZE=str(count))
        store = f"file://{place}/store"
        dist.init_process_group("gloo", init_method=store, rank=rank, world_size=count, timeout=wait)
        body(rank)
        status = 0
    except SystemExit as stop:
        status = stop.code if isinstance(stop.code, int) else 0 if stop.code is None else 1
    except BaseException:  # whatever it is, the test has to see it
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)
