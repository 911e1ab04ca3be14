"""mmengine's log without what is the same in every run, and without what has a file of its own.

A run of one epoch logged 380 lines: 290 of them were the config, which is written to the work dir anyway, and the hooks
of every stage.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from mmengine.dist import is_main_process
from mmengine.utils.dl_utils import collect_env

_SAME_EVERY_TIME = (
    '"FileClient" will be deprecated',  # mmengine's own hooks use it
    '"HardDiskBackend" is the alias',
    "paramwise_options -- ",  # three lines for every parameter
    "requires_grad=False",  # a line for every parameter that does not train
)


def keep_brief(logger: logging.Logger) -> None:
    """Drop messages that every run would log."""
    if not any(isinstance(entry, _Brief) for entry in logger.filters):
        logger.addFilter(_Brief())


class _Brief(logging.Filter):
    def filter(self, record: logging.LogRecord) -> bool:
        """Whether to log a message."""
        text = record.getMessage()
        return not any(part in text for part in _SAME_EVERY_TIME)


def environment(*more: Mapping[str, Any]) -> str:
    """Versions, devices and settings that a result may depend on, a line each."""
    found = {key: value for key, value in collect_env().items() if key != "PyTorch compiling details"}
    for part in more:
        found.update(part)
    return "\n    ".join(["Environment:", *(f"{key}: {value}" for key, value in found.items())])


@contextmanager
def initialization_log(logger: logging.Logger, file: Path) -> Iterator[None]:
    """While this holds, what would go into the log file goes into another: where every parameter's values are from."""
    handlers: list[logging.Handler] = [h for h in logger.handlers if isinstance(h, logging.FileHandler)]
    if not handlers or not is_main_process():
        yield
        return
    own = logging.FileHandler(file, mode="a", delay=False)
    own.setLevel(handlers[0].level)
    own.setFormatter(handlers[0].formatter)
    logger.handlers = [entry for entry in logger.handlers if entry not in handlers] + [own]
    try:
        yield
    finally:
        logger.handlers = [entry for entry in logger.handlers if entry is not own] + handlers
        own.close()
