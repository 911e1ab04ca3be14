"""Ctrl-C ends a command in one line, whatever it is doing: importing, computing, or waiting for its workers.

Python's own handling falls short of that. The exception it raises may meet code that swallows it or turns it into
another one, such as an import that fails; while a library computes it is not raised at all; and every loader process
gets the signal, too, and answers with a traceback, often before the command itself does.
"""

from __future__ import annotations

import atexit
import functools
import os
import signal
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from types import FrameType

STATUS = 130  # of a command that a signal 2 has ended, as shells count
# Handlers that say it is not ours: ignored, or set by something that is not Python.
_LEFT_ALONE = (signal.SIG_IGN, None)
_GRACE = 10.0  # seconds to tidy up before the process is ended
_STOP = b"\0"  # in place of a signal's number: ends the watch


class Interrupts:
    """Handles Ctrl-C while a command runs, and at the end of its process.

    The first one raises ``KeyboardInterrupt``; what it becomes on its way is left to :attr:`pressed`. The second one,
    or a command that has not ended ten seconds later, ends the process and its workers at once. In forked processes it
    does nothing: they end with their parent.

    Attributes:
        pressed: Whether there was one.
    """

    def __init__(self) -> None:
        self.pressed = False
        self._pid = os.getpid()
        self._told = False
        self._ending = False
        self._put_back: Callable[[], None] | None = None

    def install(self) -> None:
        """Take over the signal, unless it is ignored, as in a shell's background jobs; only the main thread can."""
        before = signal.getsignal(signal.SIGINT)
        if threading.current_thread() is not threading.main_thread() or before in _LEFT_ALONE:
            return
        signal.signal(signal.SIGINT, self._on_signal)
        # Written to by the interpreter even while the main thread is inside of a library, and never sees the signal.
        reading, writing = os.pipe()
        os.set_blocking(writing, False)
        woken_before = signal.set_wakeup_fd(writing, warn_on_full_buffer=False)
        _take_wakeups_from_children()
        watch = threading.Thread(target=self._watch, args=(reading,), daemon=True)
        watch.start()

        def put_back() -> None:
            signal.set_wakeup_fd(woken_before, warn_on_full_buffer=False)
            signal.signal(signal.SIGINT, before)
            os.write(writing, _STOP)
            watch.join()
            os.close(reading)
            os.close(writing)

        self._put_back = put_back

    def end(self) -> None:
        """The command is done: give the signal back, except for what the interpreter does when the process ends.

        After Ctrl-C nothing is given back: the process is ending, and nothing is worth waiting for.
        """
        self._ending = True
        if self._put_back is None or self.pressed:
            return
        put_back, self._put_back = self._put_back, None
        put_back()
        _leave_at_once_later()

    def tell(self) -> None:
        """Say it, once; of several processes of a training the first one does."""
        if not self._told and os.environ.get("LOCAL_RANK", "0") == "0":
            with suppress(OSError):
                os.write(2, b"interrupted\n")
        self._told = True

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        if os.getpid() != self._pid:
            _be_quiet()  # a worker, whose connections may end with its parent while it uses them
            return
        if self.pressed or self._ending:
            self._leave()
        self.pressed = True
        _be_quiet()
        raise KeyboardInterrupt

    def _watch(self, reading: int) -> None:
        while True:
            received = os.read(reading, 1)
            if received == _STOP:
                return
            if received[0] == signal.SIGINT:
                threading.Event().wait(_GRACE)
                self._leave()

    def _leave(self) -> None:
        self.tell()
        _end_workers()
        os._exit(STATUS)


def _be_quiet() -> None:
    """Print no traceback of what an interruption breaks off: destructors, callbacks, threads, connections.

    The command itself says how it ends, see :func:`mmssl_dynamic.cli.run`.
    """
    sys.unraisablehook = lambda unraisable: None
    threading.excepthook = lambda arguments: None
    # multiprocessing's thread that hands file descriptors over calls it when the other side is gone.
    sys.excepthook = lambda kind, error, trace: None


@functools.cache
def _leave_at_once_later() -> None:
    """For the rest of the process, in which the interpreter takes its modules down."""

    def listen() -> None:
        interrupts = Interrupts()
        interrupts.end()
        if signal.getsignal(signal.SIGINT) not in _LEFT_ALONE:
            signal.signal(signal.SIGINT, interrupts._on_signal)

    atexit.register(listen)


def _end_workers() -> None:
    """Loaders' processes would look for their parent every five seconds only."""
    processes = sys.modules.get("multiprocessing.process")
    if processes is None:
        return
    with suppress(Exception):  # whatever state the command was in
        for process in processes.active_children():
            process.kill()


@functools.cache
def _take_wakeups_from_children() -> None:
    """A forked process writes nothing into the pipe of its parent."""
    os.register_at_fork(after_in_child=lambda: signal.set_wakeup_fd(-1))


def close_progress_bars() -> None:
    """End the lines of open progress bars, so that a message begins on a line of its own."""
    tqdm = sys.modules.get("tqdm")
    if tqdm is None:
        return
    with suppress(Exception):  # nothing is more important now than the message
        for bar in list(getattr(tqdm.tqdm, "_instances", ())):
            bar.close()
