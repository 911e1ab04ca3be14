"""Arguments of command lines that are checked where they are read: in a fraction of a second, and in one sentence.

What torch, mmengine and mmpretrain are imported for takes five seconds; what the arguments alone decide needs none of
them.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from mmssl_dynamic.config_names import config_file
from mmssl_dynamic.errors import ArtifactError, ConfigError, DataError, UserError
from mmssl_dynamic.file_checks import existing_file
from mmssl_dynamic.outputs import check_output_file

Check = Callable[[Any, str], object]


class Found(str):
    """What a check puts in place of the value that was given."""


class Checked(argparse.Action):
    """Stores a value, or several, after a check of it; in place of a name, the file that the check found.

    Args:
        check: Called with the value and the name of the argument; raises a UserError, which argparse would swallow in a
            ``type=``.
        append: Collect the values of an argument that is given more than once.
        options: As of :class:`argparse.Action`.
    """

    def __init__(self, *args: Any, check: Check, append: bool = False, **options: Any) -> None:
        super().__init__(*args, **options)
        self.check, self.append = check, append

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: str | Sequence[Any] | None,
        option_string: str | None = None,
    ) -> None:
        """Check and store.

        Raises:
            UserError: as the check.
        """
        if values is not None:
            found = self.check(values, option_string or self.dest.upper())
            values = found if isinstance(found, Found) else values
        if self.append:
            values = [*(getattr(namespace, self.dest) or ()), values]
        setattr(namespace, self.dest, values)


def existing(what: str, remedy: str = "check the path", error: type[UserError] = ArtifactError) -> Check:
    """A file that must be there; arguments as of :func:`~mmssl_dynamic.file_checks.existing_file`."""

    def check(path: str, _: str) -> None:
        if "://" in path:
            raise error(f"{what} {path} is an address; download it and give the file.")
        existing_file(path, what, remedy, error)

    return check


def config_or_name(name: str, _: str) -> Found:
    """A config file, or the name of one that ships with the package, see :mod:`mmssl_dynamic.config_names`."""
    return Found(config_file(name))


def existing_folder(what: str, remedy: str = "correct the path") -> Check:
    """A folder of images that must be there.

    Args:
        what: Its role, for the message.
        remedy: What to do where it is missing.
    """

    def check(path: str, _: str) -> None:
        if not os.path.isdir(os.path.expanduser(path)):
            kind = "is a file" if os.path.exists(os.path.expanduser(path)) else "does not exist"
            raise DataError(f"{what} {path} {kind}; {remedy}.")

    return check


def file_ending(*endings: str) -> Check:
    """A file for a result, see :func:`~mmssl_dynamic.outputs.check_output_file`."""
    return lambda path, name: check_output_file(path, name, endings)


def at_least(least: float) -> Check:
    """A number of at least so much."""

    def check(value: float, name: str) -> None:
        if not value >= least:
            raise ConfigError(f"{name} {value} must be at least {least}.")

    return check


def positive(value: float, name: str) -> None:
    """A number above 0."""
    if not value > 0:
        raise ConfigError(f"{name} {value} must be positive.")


def refuse_idle(args: argparse.Namespace, names: Iterable[str], where: str) -> None:
    """Refuse arguments that were given and do nothing.

    Args:
        args: What was parsed; what was not given is ``None``, empty or ``False``.
        names: The arguments.
        where: In which case they do nothing, such as ``'--method knn'``.

    Raises:
        ConfigError: naming the first of them.
    """
    for name in names:
        value = getattr(args, name)
        if value is not None and value is not False and value != [] and value != {}:
            raise ConfigError(f"--{name.replace('_', '-')} has no effect with {where}; leave it out.")


def names(text: str) -> list[str] | None:
    """``NAME,NAME,...``; ``None`` for ``'all'``."""
    return None if text == "all" else [name.strip() for name in text.split(",")]
