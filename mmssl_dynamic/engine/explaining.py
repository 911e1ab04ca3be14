"""One sentence for what goes wrong while a Runner is built or runs."""

from __future__ import annotations

import logging
import sys
import threading
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

from mmssl_dynamic.datasets.shared_memory import is_short_of_shared_memory, shared_memory_left
from mmssl_dynamic.errors import ArtifactError, ConfigError, DataError, UserError, first_line
from mmssl_dynamic.writing import is_full, no_room


@contextmanager
def building(what: str) -> Iterator[None]:
    """Turn the errors of a part that cannot be built into one sentence that names it.

    Raises:
        DataError: a file is missing.
        ConfigError: an unknown type, or arguments that it does not take.
        ArtifactError: a file of weights holds code.
    """
    try:
        yield
    except UserError:
        raise
    except FileNotFoundError as error:
        raise DataError(
            f"{what} needs {error.filename or first_line(error)}, which does not exist; correct the config."
        ) from error
    except UnpicklingError as error:
        raise ArtifactError(
            f"{what} of the config loads a file by itself that holds more than tensors and plain data, which could run "
            "code; name a file of the weights alone."
        ) from error
    except (KeyError, TypeError, AssertionError, ValueError, AttributeError) as error:
        raise ConfigError(f"{what} of the config cannot be built: {first_line(error)}") from error


@contextmanager
def running(work_dir: str) -> Iterator[None]:
    """Turn the errors of a run that its user can mend into one sentence.

    Args:
        work_dir: Folder of the run, for messages.

    Raises:
        ConfigError: a batch of one image where BatchNorm needs two, or loader workers without shared memory.
        OutputError: the disk is full, and what was writing is not of this package.
    """
    try:
        with _errors_of_writing_threads():
            yield
    except UserError:
        raise
    except Exception as error:
        if "Expected more than 1 value per channel" in str(error):
            raise ConfigError(
                "a batch of one image has no variance for BatchNorm; set train_dataloader.batch_size (--batch-size) to "
                "at least 2 for each process, and so that no single image is left for the last batch "
                "(train_dataloader.drop_last=True leaves it out)."
            ) from error
        if is_short_of_shared_memory(error):
            raise ConfigError(
                f"{shared_memory_left()}, too little for the loader workers; set num_workers=0 (--workers 0, or "
                "--cfg-options train_dataloader.num_workers=0), or give it more (docker run --shm-size=8g)."
            ) from error
        if is_full(error):
            name = getattr(error, "filename", None)
            raise no_room(Path(str(name or work_dir)), None, error) from error
        raise


@contextmanager
def _errors_of_writing_threads() -> Iterator[None]:
    """Leave a full disk that TensorBoard's thread meets to the run, which gets the error when it writes next."""
    before = threading.excepthook

    def hook(arguments: threading.ExceptHookArgs) -> None:
        if not is_full(arguments.exc_value):
            before(arguments)

    threading.excepthook = hook
    try:
        yield
    finally:
        threading.excepthook = before


def tell_of_full_logs(logger: logging.Logger) -> None:
    """Let a log file that cannot grow end the run in one sentence; ``logging`` prints a traceback for every message."""
    for handler in logger.handlers:
        if isinstance(handler, logging.FileHandler):
            handler.handleError = partial(_tell, handler)  # type: ignore[method-assign]


def _tell(handler: logging.FileHandler, record: logging.LogRecord) -> None:
    error = sys.exc_info()[1]
    if error is not None and is_full(error):
        raise no_room(Path(handler.baseFilename), None, error) from error
    logging.Handler.handleError(handler, record)


def check_fits(state: Mapping[str, Any], own: Mapping[str, Any], source: str, whole: bool) -> None:
    """Refuse weights that mmengine would pass over with a warning.

    Args:
        state: The weights of a file.
        own: The model's.
        source: The file, for messages.
        whole: Whether they must be the model's, each of them; otherwise one that fits is enough.

    Raises:
        ArtifactError: the message names keys or shapes.
    """

    def fits(key: str) -> bool:
        return key in state and getattr(state[key], "shape", None) == own[key].shape

    misfit = next((key for key in own if not fits(key)), None)
    if whole and (misfit is not None or (misfit := next((key for key in state if key not in own), None)) is not None):
        has = f"shape {tuple(state[misfit].shape)}" if misfit in state else "nothing"
        wanted = f"shape {tuple(own[misfit].shape)}" if misfit in own else "nothing"
        raise ArtifactError(
            f"checkpoint {source} is of another model: for '{misfit}' it has {has}, this config's model {wanted}; give "
            "the config that it was written with."
        )
    if any(fits(key) for key in own):
        return
    known = next((key for key in own if key in state), None)
    if known is not None:
        raise ArtifactError(
            f"checkpoint {source} has no weight of the model's shapes: '{known}' is {tuple(state[known].shape)}, and "
            f"the config's {tuple(own[known].shape)}; give weights of this architecture."
        )
    raise ArtifactError(
        f"checkpoint {source} has no weight of this model: its keys begin with {_prefixes(state)}, the model's with "
        f"{_prefixes(own)}; rename them, or give a backbone's weights alone by model.backbone.init_cfg=dict("
        "type='Pretrained', checkpoint=..., prefix=...)."
    )


def _prefixes(keys: Mapping[str, Any]) -> str:
    """First parts of keys, the most frequent ones first."""
    found = [f"'{name}.'" for name, _ in Counter(key.split(".")[0] for key in keys).most_common()]
    return ", ".join([*found[:4], *(["..."] if len(found) > 4 else [])])
