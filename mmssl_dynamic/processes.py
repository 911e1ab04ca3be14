"""Several processes of one command, started by a launcher: how they find each other, and how they share work.

A command that runs in P processes divides what it goes through, batches of images or sub-networks, and brings the
parts together in the order that one process would have had (:class:`Processes`). What is divided are whole batches and
whole sub-networks, so that every number comes of the same arithmetic as in one process. The first process holds the
lock on what is written, and writes all of it but for results of hours (:meth:`Processes.own`), each of which is kept at
once by the process that it took them of.
"""

from __future__ import annotations

import os
import signal
import socket
import threading
import time
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from types import FrameType
from typing import Any, NoReturn, TypeVar, cast
from weakref import WeakKeyDictionary

import torch
import torch.distributed as dist
from torch import Tensor

from mmssl_dynamic.errors import ConfigError, LostProcessError, UserNotice, first_line
from mmssl_dynamic.launchers import LAUNCHERS

T = TypeVar("T")

_GO_ON = "start the same command again, with as many processes as you like: what is finished is kept"
_DYING = 0.5  # seconds that a killed process needs to be gone, on a busy machine
# What one process works on may take hours in which the others wait; one that is killed is noticed by its connection.
_RESULTS_WAIT = timedelta(days=7)
# Results travel as bytes in main memory, whatever trainings use: NCCL knows only what lies on GPUs.
_results_groups: WeakKeyDictionary[Any, Any] = WeakKeyDictionary()


@dataclass(frozen=True)
class Processes:
    """The processes that run a command together, as one of them sees it. Without arguments: one, alone.

    Every process has to call the methods that exchange something, in the same order.

    Attributes:
        rank: Place of this process, from 0.
        count: P, how many there are.
        on_first_host: Whether the first process runs on the machine of this one.
        first_pid: Process number of the first one, on its machine.
    """

    rank: int = 0
    count: int = 1
    on_first_host: bool = True
    first_pid: int = 0

    @classmethod
    def now(cls) -> Processes:
        """Those of the process group that there is."""
        if not dist.is_available() or not dist.is_initialized() or dist.get_world_size() == 1:
            return cls()
        alone = cls(dist.get_rank(), dist.get_world_size())
        host, pid = alone.told((socket.gethostname(), os.getpid()))
        return cls(alone.rank, alone.count, host == socket.gethostname(), pid)

    @property
    def first(self) -> bool:
        """Whether this is the one that writes."""
        return self.rank == 0

    def share(self, total: int) -> range:
        """The part of ``total`` things that is this process's: consecutive ones, as many as the others' or one more."""
        return self._shares(0, total)[self.rank]

    def turns(self, total: int, most: int = 8) -> Iterator[range]:
        """As :meth:`share`, in turns after each of which results can be brought together.

        Args:
            total: Number of things; those of a turn come before those of the next one.
            most: Things of a process in a turn, at most. One process alone takes one.
        """
        size = 1 if self.count == 1 else most * self.count
        for start in range(0, total, size):
            yield self._shares(start, min(start + size, total))[self.rank]

    def own(self, costs: Sequence[float]) -> list[int]:
        """Positions of this process's things, where they take unequally long: all processes are busy for as long.

        Args:
            costs: What each thing takes, in any unit. The largest go first, each to whoever has the least to do.
        """
        loads, own = [0.0] * self.count, []
        for position in sorted(range(len(costs)), key=lambda position: -costs[position]):
            rank = loads.index(min(loads))
            loads[rank] += costs[position]
            if rank == self.rank:
                own.append(position)
        return sorted(own)

    def _shares(self, start: int, stop: int) -> list[range]:
        # Rounded up: the first ones get more.
        cuts = [start - (start - stop) * rank // self.count for rank in range(self.count + 1)]
        return [range(*pair) for pair in zip(cuts, cuts[1:])]

    def told(self, value: T) -> T:
        """What the first process calls this with, in all of them."""
        if self.count == 1:
            return value
        box = [value]
        with self._exchange():
            dist.broadcast_object_list(box, src=0, group=_results_group(), device=torch.device("cpu"))
        return box[0]

    def made_once(self, make: Callable[[], T]) -> T:
        """What the first process makes, in all of them; the others do not call ``make``."""
        if self.count == 1:
            return make()
        return cast(T, self.told(make() if self.first else None))

    def gathered(self, value: T, to: int | None = None) -> list[T]:
        """What all processes call this with, in their order.

        Args:
            value: Of this process; anything that can be pickled.
            to: Rank of the one process that gets them; the others get an empty list. All do when left out.
        """
        if self.count == 1:
            return [value]
        found: list[Any] = [None] * self.count
        with self._exchange():
            if to is None:
                dist.all_gather_object(found, value, group=_results_group())
            else:
                dist.gather_object(value, found if self.rank == to else None, dst=to, group=_results_group())
        return found if to in (None, self.rank) else []

    def reduced(self, values: Tensor, largest: bool = False) -> Tensor:
        """The sum over what all processes call this with, entry by entry, on the device of the values.

        Args:
            values: Of the same shape in all of them; they stay as they are.
            largest: Take the largest, and not the sum.
        """
        if self.count == 1:
            return values
        found = values.detach().to("cpu", copy=True)
        with self._exchange():
            dist.all_reduce(found, dist.ReduceOp.MAX if largest else dist.ReduceOp.SUM, group=_results_group())
        return found.to(values.device)

    def wait(self) -> None:
        """Until all processes are here."""
        self.told(None)

    @contextmanager
    def _exchange(self) -> Iterator[None]:
        try:
            yield
        except RuntimeError as error:
            self.lost(first_line(error), error)

    def lost(self, reason: str, error: BaseException | None = None) -> NoReturn:
        """Another process is gone, and this one cannot go on.

        Raises:
            LostProcessError: always. The first process says it; where that is the one which is gone, the second.
        """
        says = self.first or (self.rank == 1 and not (self.on_first_host and _stays_alive(self.first_pid)))
        raise LostProcessError(
            f"another one of the {self.count} processes has ended, or all were told to ({reason}), so this one stops, "
            f"too; {_GO_ON}.",
            says,
        ) from error


@contextmanager
def joined(launcher: str, wait: timedelta | None = None) -> Iterator[Processes]:
    """Join the processes of a launcher for the length of the block.

    Args:
        launcher: ``'none'`` or one of :data:`~mmssl_dynamic.launchers.LAUNCHERS`.
        wait: As of :func:`start_processes`.

    Raises:
        ConfigError: as :func:`start_processes`.
        LostProcessError: another process has ended before its time.
    """
    if launcher == "none":
        yield Processes()
        return
    own = not dist.is_initialized()  # or who has joined them leaves them
    start_processes(launcher, wait)
    _results_group()
    processes = Processes.now()
    with warnings.catch_warnings(), _told_to_end(processes):
        if not processes.first:  # what there is to know, the first one says
            warnings.simplefilter("ignore", UserNotice)
        try:
            yield processes
        except LostProcessError:
            raise  # leaving takes an answer of the others
        except BaseException:
            if own:
                stop_processes()
            raise
        if own:
            stop_processes()


@contextmanager
def _told_to_end(processes: Processes) -> Iterator[None]:
    """Launchers tell the processes that are left to end (SIGTERM): they do in a sentence, and undo their locks."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def stop(number: int, frame: FrameType | None) -> None:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        processes.lost("SIGTERM")

    before = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _stays_alive(pid: int) -> bool:
    """Whether a process of this machine runs on; one that is killed lets go of its connections before it has ended."""
    deadline = time.monotonic() + _DYING
    while _is_alive(pid):
        if time.monotonic() > deadline:
            return True
        time.sleep(0.02)
    return False


def _is_alive(pid: int) -> bool:
    """Whether a process has not ended; one that has, and that nobody has asked after yet, is none that lives."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


def _results_group() -> Any:
    """The group over which results travel, of the same processes as the trainings' own."""
    world = dist.group.WORLD
    if world not in _results_groups:
        _results_groups[world] = dist.new_group(backend="gloo", timeout=_RESULTS_WAIT)
    return _results_groups[world]


def wait_of(config: Mapping[str, Any]) -> timedelta | None:
    """How long a process of a run waits for the others, ``env_cfg.dist_cfg.timeout``; ``None``: as long as torch's own.

    Args:
        config: Config of the run.
    """
    seconds = ((config.get("env_cfg") or {}).get("dist_cfg") or {}).get("timeout")
    return None if seconds is None else timedelta(seconds=int(seconds))


def start_processes(launcher: str, wait: timedelta | None = None) -> None:
    """Join the processes of a launcher, with NCCL where there is CUDA, else with gloo.

    Args:
        launcher: ``'none'`` or one of :data:`~mmssl_dynamic.launchers.LAUNCHERS`.
        wait: How long each waits for the others, see :func:`wait_of`; torch's own when left out.

    Raises:
        ConfigError: the launcher is not known, or did not start this process.
    """
    if launcher == "none" or dist.is_initialized():
        return
    if launcher not in LAUNCHERS:
        raise ConfigError(f"--launcher {launcher} is not known; use one of none, {', '.join(LAUNCHERS)}.")
    names, call = LAUNCHERS[launcher]
    if any(name not in os.environ for name in names[:2]):
        raise ConfigError(f"--launcher {launcher} needs {call.split()[0]}: {call} tools/... --launcher {launcher}")
    if torch.cuda.is_available():
        from mmengine.dist import init_dist

        init_dist(launcher, backend="nccl", **({} if wait is None else {"timeout": wait.total_seconds()}))
        return
    for own, name in zip(("RANK", "WORLD_SIZE", "LOCAL_RANK"), names):
        os.environ[own] = os.environ.get(name, "0")
    os.environ.setdefault("MASTER_PORT", "29500")
    if "MASTER_ADDR" not in os.environ:
        raise ConfigError(f"--launcher {launcher} needs MASTER_ADDR, the host of the first process; export it.")
    dist.init_process_group("gloo", timeout=wait)


def stop_processes() -> None:
    """Leave them."""
    if dist.is_initialized():
        dist.destroy_process_group()
