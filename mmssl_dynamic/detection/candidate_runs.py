"""Running candidates: one after the other in this process, or each in a process of its own on the next free device."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from queue import Queue
from typing import Any

from tqdm import tqdm

from mmssl_dynamic.detection.candidate import CandidateJob, run_candidate
from mmssl_dynamic.errors import ConfigError, UserError
from mmssl_dynamic.result_cache import kept_line
from mmssl_dynamic.writing import making


def devices_of(given: Sequence[str] | None) -> list[str]:
    """The devices to train on; all GPUs, or the CPU, when left out.

    Raises:
        ConfigError: one of them is not there.
    """
    import torch

    if given is None:
        count = torch.cuda.device_count()
        return [f"cuda:{i}" for i in range(count)] or ["cpu"]
    if not given:
        raise ConfigError("--devices is empty; name at least one, such as cuda:0 or cpu.")
    for name in given:
        if name != "cpu" and name not in [f"cuda:{i}" for i in range(torch.cuda.device_count())]:
            raise ConfigError(f"--devices {name} is not there; this machine has {torch.cuda.device_count()} GPUs.")
    return list(given)


def run_all(
    jobs: Sequence[CandidateJob], devices: Sequence[str], bar: tqdm, kind: str
) -> Iterator[tuple[str, dict[str, Any]]]:
    """Results by name as they come: in turn in this process on one device, else one process per device.

    Args:
        jobs: What to do; what has been done is not done again.
        devices: Where.
        bar: Moves on with every result.
        kind: AP that the bar shows.

    Raises:
        UserError: a candidate failed; the message names its log.
    """
    kept = {job: found for job in jobs if (found := job.finished()) is not None}
    todo = [job for job in jobs if job not in kept]
    if kept and not bar.disable:
        what = f"{len(kept)} of {len(jobs)} candidates with {jobs[0].iterations} iterations are"
        bar.write(kept_line(what, kept.values(), jobs[0].key))
    for job, found in kept.items():
        bar.update()
        yield job.name, found.value
    if len(devices) == 1:
        for job in todo:
            bar.set_postfix_str(job.name)
            with _only(devices[0]):
                result = run_candidate(job)
            bar.update()
            yield job.name, result
        return
    free: Queue[str] = Queue()
    for device in devices:
        free.put(device)
    with ThreadPoolExecutor(len(devices)) as pool:
        waiting: set[Future] = {pool.submit(_run_process, job, free) for job in todo}
        try:
            while waiting:
                done, waiting = wait(waiting, return_when=FIRST_COMPLETED)
                for future in done:
                    name, result = future.result()
                    bar.update()
                    bar.set_postfix_str(f"{name}: AP {result['AP'][kind]['AP']:.1f}")
                    yield name, result
        finally:
            for future in waiting:
                future.cancel()


@contextmanager
def _only(device: str) -> Iterator[None]:
    """Train on one device, where several would be visible."""
    import torch

    if device == "cpu":
        yield
        return
    with torch.cuda.device(device):
        yield


def _run_process(job: CandidateJob, free: Queue[str]) -> tuple[str, dict[str, Any]]:
    """One candidate in a process of its own on the next free device; what it prints goes into a log file."""
    device = free.get()
    folder = job.work_dir
    try:
        job.write(folder / "job.txt")
        visible = device.partition(":")[2]  # none on the CPU
        environment = {**os.environ, "CUDA_VISIBLE_DEVICES": visible}
        log = folder / "process.log"
        with making(log), log.open("w") as file:
            command = [sys.executable, "-m", "mmssl_dynamic.detection.candidate", str(folder / "job.txt")]
            done = subprocess.run(command, stdout=file, stderr=subprocess.STDOUT, env=environment, check=False)
        found = job.finished()
        if done.returncode or found is None:
            lines = [line for line in log.read_text(errors="replace").splitlines() if line.startswith("error: ")]
            reason = lines[-1].removeprefix("error: ") if lines else f"status {done.returncode}"
            raise UserError(f"candidate '{job.name}' failed: {reason} See {log}; run again to go on from here.")
        return job.name, found.value
    finally:
        free.put(device)
