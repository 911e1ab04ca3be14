"""Command lines in forked processes, which end at a moment that is drawn, or on a disk that fills up.

The test process has imported everything and never trains, so a run costs what it computes and finds
no state of another.
"""

from __future__ import annotations

import ctypes
import os
import resource
import shutil
import signal
import sys
import time
import traceback
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.faults.test_bad_input import run

# What a process does to files, by the names of Python's audit events; ``open`` counts where it is for writing.
_CHANGES = ("os.rename", "os.remove", "os.rmdir", "os.mkdir", "os.link", "os.symlink", "os.truncate")
_WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT
_CLONE_NEWNS, _CLONE_NEWUSER = 0x20000, 0x10000000
_MS_READ_ONLY, _MS_REMOUNT, _MS_BIND, _MS_REC, _MS_PRIVATE = 1, 32, 1 << 12, 1 << 14, 1 << 18


@dataclass(frozen=True)
class Ended:
    """How a run ended.

    Attributes:
        status: Exit status; negative: of the signal that ended it.
        errors: What it wrote to stderr.
        seconds: Of CPU.
        changes: To files in its folder.
    """

    status: int
    errors: str
    seconds: float
    changes: int


@dataclass(frozen=True)
class Moment:
    """When a run is killed: before the change to a file with this number, from 1, or after so many seconds of CPU."""

    change: int | None = None
    seconds: float | None = None

    def __str__(self) -> str:
        return f"change {self.change}" if self.change is not None else f"{self.seconds:.2f} s"


def run_forked(
    command: str,
    place: Path,
    moment: Moment | None = None,
    largest_file: int | None = None,
    prepare: Callable[[], object] | None = None,
) -> Ended:
    """Run a command line in a folder, to its end or to the moment at which it gets SIGKILL.

    Args:
        command: As typed there.
        place: The folder.
        moment: When it is killed.
        largest_file: Bytes that a file may have.
        prepare: Called first, in the process and the folder.
    """
    log, counted = place.parent / f"{place.name}.stderr", place.parent / f"{place.name}.changes"
    counted.unlink(missing_ok=True)

    def body() -> None:
        if prepare is not None:
            prepare()
        if largest_file is not None:
            signal.signal(signal.SIGXFSZ, signal.SIG_IGN)  # as Python has it: the write fails
            resource.setrlimit(resource.RLIMIT_FSIZE, (largest_file, resource.RLIM_INFINITY))
        _watch_changes(place, None if moment is None else moment.change, counted)
        run(command)

    pid = in_child(body, place, log)
    if moment is not None and moment.seconds is not None:
        _kill_after(pid, moment.seconds)
    _, status, usage = os.wait4(pid, 0)
    changes = int(counted.read_text()) if counted.exists() else 0
    errors = log.read_text(errors="replace")
    return Ended(os.waitstatus_to_exitcode(status), errors, usage.ru_utime + usage.ru_stime, changes)


def in_child(body: Callable[[], object], place: Path, log: Path) -> int:
    """Start a forked process that does something in a folder, and ends there; returns its number."""
    pid = os.fork()
    if pid:
        return pid
    status = 1
    try:
        os.chdir(place)
        handle = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        nothing = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nothing, 1)
        os.dup2(handle, 2)
        sys.stdout, sys.stderr = open(1, "w", closefd=False), open(2, "w", closefd=False)  # noqa: SIM115  # pytest's are gone
        body()
        status = 0
    except SystemExit as stop:
        status = stop.code if isinstance(stop.code, int) else 0 if stop.code is None else 1
    except BaseException:  # whatever it is, the test has to see it
        traceback.print_exc()
    finally:
        with suppress(Exception):
            sys.stderr.flush()
        os._exit(status)


def _watch_changes(place: Path, last: int | None, counted: Path) -> None:
    """Count changes to files below ``place``, and kill the process before the last one that it is to see."""
    number, inside = 0, str(place)
    out = os.open(counted, os.O_WRONLY | os.O_CREAT)

    def watch(event: str, arguments: tuple[Any, ...]) -> None:
        nonlocal number
        if event == "open":
            if not isinstance(arguments[2], int) or not arguments[2] & _WRITES:
                return
        elif event not in _CHANGES:
            return
        path = arguments[0]
        if isinstance(path, bytes):
            path = os.fsdecode(path)
        if not isinstance(path, str | os.PathLike) or not os.path.abspath(path).startswith(inside):
            return
        number += 1
        os.pwrite(out, b"%d" % number, 0)
        if number == last:
            os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(watch)


def _kill_after(pid: int, seconds: float) -> None:
    """Kill a process when it has computed for so long, however busy the machine is."""
    clock = (~pid << 3) | 2  # what clock_getcpuclockid(3) returns on Linux
    with suppress(OSError):  # it has ended before
        while time.clock_gettime(clock) < seconds:
            if os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT):
                return
            time.sleep(0.002)
        os.kill(pid, signal.SIGKILL)


def on_small_disk(command: str, place: Path, folder: str, size: int, again: Path) -> tuple[int, str] | None:
    """Run a command line whose output folder is a file system of its own, which is too small.

    The file system is mounted for a process of its own, and goes with it. It is enlarged then and the command is run
    once more.

    Args:
        command: As typed in ``place``.
        place: The working directory.
        folder: The output folder in it.
        size: Bytes that the file system has.
        again: Gets a copy of the output folder after the second run, which succeeded.

    Returns:
        Exit status and stderr of the first run; ``None`` where nothing can be mounted.
    """
    first, second = place.parent / "small.stderr", place.parent / "large.stderr"
    report = place.parent / "status"
    report.unlink(missing_ok=True)

    def body() -> None:
        target = place / folder
        target.mkdir()
        if not (alone() and mount_memory(target, size)):
            sys.exit(77)
        _, status = os.waitpid(in_child(lambda: run(command), place, first), 0)
        report.write_text(str(os.waitstatus_to_exitcode(status)))
        mount_memory(target, 1 << 28, _MS_REMOUNT)
        _, status = os.waitpid(in_child(lambda: run(command), place, second), 0)
        if os.waitstatus_to_exitcode(status) == 0:
            shutil.copytree(target, again)

    log = place.parent / "mounting.stderr"
    _, status = os.waitpid(in_child(body, place, log), 0)
    if os.waitstatus_to_exitcode(status) == 77:
        (place / folder).rmdir()
        return None
    assert again.exists(), second.read_text()[-2000:] + log.read_text()
    return int(report.read_text()), first.read_text()


def alone() -> bool:
    """Let this process mount what it alone sees, and those it starts; says whether the system allows it."""
    user, group = os.getuid(), os.getgid()
    if _libc().unshare(_CLONE_NEWNS | (0 if user == 0 else _CLONE_NEWUSER)):
        return False
    if user:
        Path("/proc/self/setgroups").write_text("deny")
        Path("/proc/self/uid_map").write_text(f"{user} {user} 1")
        Path("/proc/self/gid_map").write_text(f"{group} {group} 1")
    return _mount(b"none", Path("/"), None, _MS_REC | _MS_PRIVATE)


def mount_memory(target: Path, size: int, flags: int = 0) -> bool:
    """Put a file system of so many bytes in memory there."""
    return _mount(b"none", target, b"tmpfs", flags, b"size=%d" % size)


def make_read_only(folder: Path) -> bool:
    """Nothing can be written there from here on, whoever tries."""
    path = os.fsencode(folder)
    return _mount(path, folder, None, _MS_BIND) and _mount(path, folder, None, _MS_BIND | _MS_REMOUNT | _MS_READ_ONLY)


def _mount(source: bytes, target: Path, kind: bytes | None, flags: int, data: bytes | None = None) -> bool:
    return _libc().mount(source, os.fsencode(target), kind, ctypes.c_ulong(flags), data) == 0


def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)
