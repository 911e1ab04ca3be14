"""Works through the units of a study, several at a time, and goes on when one of them fails."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

from runs import ROOT, Folders, Step, Unit

from mmssl_dynamic.errors import ConfigError
from mmssl_dynamic.fileio import read_json
from mmssl_dynamic.writing import write_json


def perform(
    units: Sequence[Unit], folders: Folders, jobs: int = 1, on_finished: Callable[[], None] = lambda: None
) -> None:
    """Run what is not finished, in order, each after what it needs.

    Args:
        units: All that is wanted.
        folders: Of the study.
        jobs: Units at a time.
        on_finished: Called after each unit.

    Raises:
        ConfigError: steps failed; the message names their logs. Units that do not need them were run all the same.
    """
    waiting = [unit for unit in units if not unit.result(folders).is_file()]
    running: set[Unit] = set()
    failed: dict[Unit, str] = {}
    changed = threading.Condition()

    def ready() -> Unit | None:
        for unit in list(waiting):
            before = [other for other in (unit.needs, unit.base) if other is not None]
            broken = next((other for other in before if other in failed), None)
            if broken is not None:
                failed[unit] = f"{unit.run.name}, seed {unit.seed}, needs {broken.run.name}"
                waiting.remove(unit)
            elif not any(other in waiting or other in running for other in before):
                return unit
        return None

    def work() -> None:
        while True:
            with changed:
                unit = ready()
                while unit is None and waiting and running:
                    changed.wait()
                    unit = ready()
                if unit is None:
                    changed.notify_all()
                    return
                waiting.remove(unit)
                running.add(unit)
            error = _run_unit(unit, folders)
            with changed:
                running.remove(unit)
                if error is not None:
                    failed[unit] = error
                changed.notify_all()
                on_finished()

    with ThreadPoolExecutor(jobs) as pool:
        for future in [pool.submit(work) for _ in range(jobs)]:
            future.result()
    if failed:
        raise ConfigError("; ".join(failed.values()) + "; correct the cause and start the study again.")


def _run_unit(unit: Unit, folders: Folders) -> str | None:
    """All steps; what went wrong, if something did. Keeps how long each step took."""
    folder = unit.folder(folders)
    folder.mkdir(parents=True, exist_ok=True)
    timings = folder / "seconds.json"
    spent: dict[str, float] = read_json(timings, "timings") if timings.is_file() else {}
    for step in unit.steps(folders):
        if step.output.is_file():
            continue
        start = time.monotonic()
        error = run_step(step, folders, folder.name)
        # A training that was stopped and went on adds up.
        spent[step.tool] = round(spent.get(step.tool, 0.0) + time.monotonic() - start, 1)
        write_json(timings, spent)
        if error is not None:
            return f"{unit.run.name}, seed {unit.seed}: {error}"
    return None


def run_step(step: Step, folders: Folders, name: str) -> str | None:
    """Run one command; what went wrong, if something did."""
    line = step.line.replace(str(folders.out), "$OUT").replace(str(folders.data), "$DATA")
    print(f"{time.strftime('%H:%M:%S')} {name}: {line}", flush=True)
    with (folders.out / "commands.sh").open("a+") as file:
        file.seek(0)
        if f"{line}\n" not in file:  # as after an interruption
            file.write(f"{line}\n")
    log = step.output.parent / "log.txt"
    with log.open("a") as file:
        command = [sys.executable, str(ROOT / "tools" / step.tool), *step.arguments]
        done = subprocess.run(command, cwd=ROOT, stdout=file, stderr=file)
    if done.returncode or not step.output.is_file():
        return f"tools/{step.tool} failed, see the end of {log}"
    return None
