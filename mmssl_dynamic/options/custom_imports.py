"""Modules of the user's own: those in ``custom_imports`` of a config, and those that an option names."""

from __future__ import annotations

import traceback
import warnings
from importlib import import_module
from types import ModuleType

from mmengine.config import Config

from mmssl_dynamic.errors import ConfigError, first_line


def import_custom_modules(config: Config) -> None:
    """Import the modules that a config names in ``custom_imports``.

    Raises:
        ConfigError: a module cannot be imported, and ``allow_failed_imports`` is not set.
    """
    entry = config.get("custom_imports") or {}
    names = entry.get("imports") or ()
    for name in [names] if isinstance(names, str) else names:
        try:
            import_own(name)
        except ConfigError as error:
            text = f"custom_imports: {error}"
            if not entry.get("allow_failed_imports"):
                raise ConfigError(f"config {config.filename}: {text}") from error.__cause__
            warnings.warn(text, stacklevel=2)


def import_own(name: str) -> ModuleType:
    """Import a module of the user's own.

    mmengine says of one that fails only that it failed, and lists ``sys.path``. A module that is there and needs
    something that is not there is another matter than one that cannot be found.

    Raises:
        ConfigError: it cannot be imported; the sentence begins with its name.
    """
    try:
        return import_module(name)
    except Exception as error:  # whatever a user's module raises
        text = f"{name} cannot be imported: {type(error).__name__}: {first_line(error)}"
        if isinstance(error, ModuleNotFoundError) and error.name == name.split(".")[0]:
            text += "; put the folder that holds it on PYTHONPATH."
        else:
            text += f"{_place(error)}; correct the module."
        raise ConfigError(text) from error


def _place(error: BaseException) -> str:
    """Where an error was raised, if that is in a file of the user's."""
    if isinstance(error, SyntaxError) and error.filename:
        return f" ({error.filename}, line {error.lineno})"
    frames = [f for f in traceback.extract_tb(error.__traceback__) if "importlib" not in f.filename]
    return f" ({frames[-1].filename}, line {frames[-1].lineno})" if len(frames) > 1 else ""
