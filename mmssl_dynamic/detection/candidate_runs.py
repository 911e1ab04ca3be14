"""Running candidates: one after the other in this process, or each in a process of its own on the next free device.

Processes of a launcher share candidates out. They have joined each other, so that mmengine would take them for one
training; the training of a candidate is started from them as a process of its own.
"""

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

from mmssl_dynamic.detection.candidate import CANDIDATE_FOLDER, CandidateJob, run_candidate
from mmssl_dynamic.errors import ConfigError, UserError
from mmssl_dynamic.launchers import not_among_them
from mmssl_dynamic.locks import locked_folder
from mmssl_dynamic.processes import Processes
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
    jobs: Sequence[CandidateJob], devices: Sequence[str], bar: tqdm, kind: str, processes: Processes | None = None
) -> Iterator[tuple[str, dict[str, Any]]]:
    """Results by name as they come: in turn in this process on one device, else one process per device.

    Args:
        jobs: What to do; what has been done is not done again.
        devices: Where; of several processes, the one device of this.
        bar: Moves on with every result.
        kind: AP that the bar shows.
        processes: Those that share the candidates out; every one gets all results, in the end.

    Raises:
        UserError: a candidate failed; the message names its log. Of several processes, all finish what is theirs first.
    """
    processes = processes or Processes()
    before = processes.made_once(lambda: {job.name: job.finished() for job in jobs})
    kept = {job: found for job in jobs if (found := before[job.name]) is not None}
    todo = [job for job in jobs if job not in kept]
    if kept and not bar.disable:
        what = f"{len(kept)} of {len(jobs)} candidates with {jobs[0].iterations} iterations are"
        bar.write(kept_line(what, kept.values(), jobs[0].key))
    for job, found in kept.items():
        bar.update()
        yield job.name, found.value
    if processes.count > 1:
        yield from _shared(todo, devices[0], bar, kind, processes)
        return
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
        waiting: set[Future] = {pool.submit(_on_the_next, free, job) for job in todo}
        try:
            while waiting:
                done, waiting = wait(waiting, return_when=FIRST_COMPLETED)
                for future in done:
                    name, result = future.result()
                    _show(bar, name, result, kind)
                    yield name, result
        finally:
            for future in waiting:
                future.cancel()


def _shared(
    jobs: Sequence[CandidateJob], device: str, bar: tqdm, kind: str, processes: Processes
) -> Iterator[tuple[str, dict[str, Any]]]:
    """Results of candidates that processes of a launcher share out: neighbours, which are alike, to different ones."""
    found: list[tuple[str, dict[str, Any]]] = []
    failed: list[str] = []
    for position in processes.own([1.0] * len(jobs)):
        try:
            name, result = _run_process(jobs[position], device)
        except UserError as error:
            failed.append(str(error))
            continue
        found.append((name, result))
        _show(bar, name, result, kind)
    parts = processes.gathered((found, failed))
    everything = [entry for part, _ in parts for entry in part]
    sentences = [sentence for _, part in parts for sentence in part]
    bar.update(len(everything) - len(found))
    if sentences:
        raise UserError(sentences[0])
    yield from everything


def _show(bar: tqdm, name: str, result: dict[str, Any], kind: str) -> None:
    bar.update()
    bar.set_postfix_str(f"{name}: AP {result['AP'][kind]['AP']:.1f}")


@contextmanager
def _only(device: str) -> Iterator[None]:
    """Train on one device, where several would be visible."""
    import torch

    if device == "cpu":
        yield
        return
    with torch.cuda.device(device):
        yield


def _on_the_next(free: Queue[str], job: CandidateJob) -> tuple[str, dict[str, Any]]:
    """One candidate on the next free device."""
    device = free.get()
    try:
        return _run_process(job, device)
    finally:
        free.put(device)


def _run_process(job: CandidateJob, device: str) -> tuple[str, dict[str, Any]]:
    """One candidate in a process of its own; what it prints goes into a log file."""
    folder = job.work_dir
    log = folder / "process.log"
    with locked_folder(folder, CANDIDATE_FOLDER, instead="--out"):  # or the log of another process is lost
        job.write(folder / "job.txt")
        with making(log):
            log.write_bytes(b"")
    environment = {**not_among_them(), "CUDA_VISIBLE_DEVICES": _visible(device)}
    with making(log), log.open("a") as file:
        command = [sys.executable, "-m", "mmssl_dynamic.detection.candidate", str(folder / "job.txt")]
        done = subprocess.run(command, stdout=file, stderr=subprocess.STDOUT, env=environment, check=False)
    found = job.finished()
    if done.returncode or found is None:
        lines = [line for line in log.read_text(errors="replace").splitlines() if line.startswith("error: ")]
        reason = lines[-1].removeprefix("error: ") if lines else f"status {done.returncode}"
        raise UserError(f"candidate '{job.name}' failed: {reason} See {log}; run again to go on from here.")
    return job.name, found.value


def _visible(device: str) -> str:
    """What shows a process one device alone: ``cuda:1`` is the second one of those that this process sees."""
    index = device.partition(":")[2]
    seen = [name for name in os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",") if name]
    return seen[int(index)] if index and seen else index  # none on the CPU
