"""Ctrl-C ends a command in one line, whatever it is doing: importing, computing, or waiting for its workers.

Python's own handling falls short of that. The exception it raises may meet code that swallows it or turns it into
another one, such as an import that fails; while a library computes it is not raised at all; and every loader process
gets the signal, too, and answers with a traceback, often before the command itself does.
"""

from __future__ import annotations

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


class Interrupts:
    """Handles Ctrl-C for the rest of the process.

    The first one raises ``KeyboardInterrupt``; what it becomes on its way is left to :attr:`pressed`. The second one,
    or a command that has not ended ten seconds later, ends the process at once. In forked processes it does nothing:
    they end with their parent.

    Attributes:
        pressed: Whether there was one.
    """

    def __init__(self) -> None:
        self.pressed = False
        self._pid = os.getpid()
        self._told = False
        self._ending = False

    def install(self) -> None:
        """Take over the signal, unless it is ignored, as in a shell's background jobs; only the main thread can."""
        if threading.current_thread() is not threading.main_thread() or signal.getsignal(signal.SIGINT) in _LEFT_ALONE:
            return
        signal.signal(signal.SIGINT, self._on_signal)
        # Written to by the interpreter even while the main thread is inside of a library, and never sees the signal.
        reading, writing = os.pipe()
        os.set_blocking(writing, False)
        signal.set_wakeup_fd(writing, warn_on_full_buffer=False)
        os.register_at_fork(after_in_child=lambda: signal.set_wakeup_fd(-1))
        threading.Thread(target=self._watch, args=(reading,), daemon=True).start()

    def tell(self) -> None:
        """Say it, once; of several processes of a training the first one does."""
        if not self._told and os.environ.get("LOCAL_RANK", "0") == "0":
            with suppress(OSError):
                os.write(2, b"interrupted\n")
        self._told = True

    def end(self) -> None:
        """From here on nothing is worth waiting for."""
        self._ending = True

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        if os.getpid() != self._pid:
            return
        if self.pressed or self._ending:
            self._leave()
        self.pressed = True
        # What the exception breaks off in destructors, callbacks and threads.
        sys.unraisablehook = lambda unraisable: None
        threading.excepthook = lambda arguments: None
        raise KeyboardInterrupt

    def _watch(self, reading: int) -> None:
        while True:
            received = os.read(reading, 1)
            if not received:
                return
            if received[0] == signal.SIGINT:
                threading.Event().wait(_GRACE)
                self._leave()

    def _leave(self) -> None:
        self.tell()
        os._exit(STATUS)


def close_progress_bars() -> None:
    """End the lines of open progress bars, so that a message begins on a line of its own."""
    tqdm = sys.modules.get("tqdm")
    if tqdm is None:
        return
    with suppress(Exception):  # nothing is more important now than the message
        for bar in list(getattr(tqdm.tqdm, "_instances", ())):
            bar.close()


def is_command(main: Callable[[], None]) -> bool:
    """Whether a function is that of the script which the process runs, and not called from a test or a notebook."""
    return main.__module__ == "__main__"
