"""How far a training is: a bar with the time left on a terminal, lines elsewhere."""

from __future__ import annotations

import logging
import sys
import time
from typing import Any, TextIO

import torch
from mmengine.dist import is_main_process
from mmengine.hooks import Hook, LoggerHook
from mmengine.runner import EpochBasedTrainLoop, Runner
from tqdm import tqdm

from mmssl_dynamic.registry import HOOKS

_LINES_PER_EPOCH = 4
_SECONDS_BETWEEN_LINES = 10.0
# What mmengine's LoggerHook says of the training, which the bar says, too.
_IN_THE_BAR = ("Epoch(train)", "Iter(train)", "Exp name: ")


@HOOKS.register_module()
class ProgressHook(Hook):
    """Shows step, loss and the time left, on the main process alone.

    On a terminal that is a bar, and what is logged stands above it. Elsewhere mmengine's log has a line every so many
    steps with the same figures; its interval is cut so that an epoch has a few of them also where it is shorter. If the
    log is too quiet for them, as with ``log_level='WARNING'``, lines are printed at most every ten seconds.

    :class:`~mmssl_dynamic.engine.runner.Runner` has this hook by default; ``default_hooks.progress=None`` leaves
    it out.

    Args:
        label: What stands before the bar.
    """

    def __init__(self, label: str = "training") -> None:
        self.label = label
        self._bar: tqdm | None = None
        self._logs: list[_AboveBar] = []
        self._lines: _Lines | None = None

    def before_train(self, runner: Runner) -> None:
        """Begin where the training goes on."""
        _log_often_enough(runner)
        if not is_main_process():
            return
        if sys.stderr.isatty():
            self._bar = tqdm(total=runner.max_iters, initial=runner.iter, desc=self.label, unit="step")
            self._logs = [_AboveBar(handler) for handler in _console(runner.logger)]
        elif not any(handler.level <= logging.INFO for handler in _console(runner.logger)):
            self._lines = _Lines(self.label, runner.iter, runner.max_iters)

    def after_train_iter(
        self, runner: Runner, batch_idx: int, data_batch: dict | None = None, outputs: dict[str, Any] | None = None
    ) -> None:
        """One step on."""
        if self._bar is None and self._lines is None:
            return
        loss = (outputs or {}).get("loss")
        value = None if loss is None else float(torch.as_tensor(loss).detach())
        if self._bar is not None:
            if value is not None:
                self._bar.set_postfix(loss=f"{value:.3f}", refresh=False)
            self._bar.update()
        elif self._lines is not None:
            self._lines.step(runner.iter + 1, value)

    def after_train(self, runner: Runner) -> None:
        """Close the bar."""
        self.close()

    def close(self) -> None:
        """Leave the bar's line, also where a training stops on the way: an error begins on a line of its own."""
        for log in self._logs:
            log.close()
        if self._bar is not None:
            self._bar.close()
        self._bar, self._lines, self._logs = None, None, []


class _Lines:
    """Progress as lines, at most one every ten seconds."""

    def __init__(self, label: str, first: int, total: int) -> None:
        self.label, self.first, self.total = label, first, total
        self.start = self.last = time.monotonic()

    def step(self, done: int, loss: float | None) -> None:
        """Say how far it is, unless that has just been said."""
        now = time.monotonic()
        if now - self.last < _SECONDS_BETWEEN_LINES:
            return
        self.last = now
        left = (now - self.start) / max(1, done - self.first) * (self.total - done)
        shown = "" if loss is None else f", loss {loss:.3f}"
        print(
            f"{self.label}: step {done} of {self.total}{shown}, {tqdm.format_interval(left)} left",
            file=sys.stderr,
            flush=True,
        )


class _AboveBar(logging.Filter):
    """Makes a log's console write above the bar, and leaves out what the bar says."""

    def __init__(self, handler: logging.StreamHandler) -> None:
        super().__init__()
        self.handler, self.stream = handler, handler.stream
        handler.setStream(_Above(self.stream))
        handler.addFilter(self)

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether to write a message."""
        return not record.getMessage().startswith(_IN_THE_BAR)

    def close(self) -> None:
        """Put the console back."""
        self.handler.removeFilter(self)
        self.handler.setStream(self.stream)


class _Above:
    """A stream whose text appears above the bars that are open."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        """Write text."""
        tqdm.write(text, file=self._stream, end="")
        return len(text)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


def _console(logger: logging.Logger) -> list[logging.StreamHandler]:
    """The handlers of a log that do not write into a file."""
    return [
        handler
        for handler in logger.handlers
        if isinstance(handler, logging.StreamHandler) and not isinstance(handler, logging.FileHandler)
    ]


def _log_often_enough(runner: Runner) -> None:
    """Let the log have a few lines per epoch; of a training without epochs, a few at all."""
    by_epoch = isinstance(runner.train_loop, EpochBasedTrainLoop)
    steps = len(runner.train_dataloader) if by_epoch else runner.max_iters
    for hook in runner.hooks:
        if isinstance(hook, LoggerHook):
            hook.interval = max(1, min(hook.interval, steps // _LINES_PER_EPOCH))
