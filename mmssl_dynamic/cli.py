"""How a command line ends: a user's error is one sentence, and what nobody can do anything about is not said."""

from __future__ import annotations

import os
import re
import shlex
import signal
import sys
import time
import warnings
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from mmssl_dynamic.cpu import prepared_cpu
from mmssl_dynamic.errors import LostProcessError, UserError, UserNotice, first_line
from mmssl_dynamic.interrupts import STATUS, Interrupts, close_progress_bars
from mmssl_dynamic.lost_workers import LOST, has_lost_worker

_as_ever = warnings.formatwarning
_PATIENCE = 2.0  # seconds in which a launcher ends the other processes when one has ended
# What imports of a correct installation say every time, and nobody at a command line can do anything about.
_UPSTREAM_WARNINGS = (
    "pkg_resources is deprecated",
    "Fail to import ``MultiScaleDeformableAttention``",  # mmcv-lite, which is enough for all but detection
)
# What a verb may find missing, and the extra of setup.py that brings it; ``None``: the distribution itself does.
_PACKAGES = {
    **dict.fromkeys(("torch", "torchvision", "numpy", "scipy", "sklearn", "faiss", "matplotlib", "safetensors"), None),
    **dict.fromkeys(("mmengine", "mmcv", "mmpretrain", "yaml"), "openmmlab"),  # mmengine brings PyYAML
    "mmdet": "mmdet",
}


def run(main: Callable[[], None]) -> None:
    """Call ``main``; turn a :class:`UserError` into one line on stderr and exit status 2, Ctrl-C into status 130.

    A file that the system does not let us open is a user's error, too, and so is a disk that is full.
    """
    interrupts = Interrupts()
    interrupts.install()
    for text in _UPSTREAM_WARNINGS:
        warnings.filterwarnings("ignore", message=text)
    before, warnings.formatwarning = warnings.formatwarning, _as_line
    arguments, sys.argv = sys.argv, [sys.argv[0], *map(_at_home, sys.argv[1:])]
    search, sys.path = sys.path, [*sys.path, os.getcwd()]  # modules of the user's own, as `python -m` finds them
    try:
        with prepared_cpu():
            main()
    except BaseException as error:
        # Whatever an interruption has become on its way: a failed import, a loader process that is gone.
        if interrupts.pressed or isinstance(error, KeyboardInterrupt):
            close_progress_bars()
            interrupts.tell()
            sys.exit(STATUS)
        sentence = _sentence_of(error)
        if sentence is None:
            raise
        close_progress_bars()
        _say(error, sentence)
        sys.exit(2)
    finally:
        interrupts.end()
        warnings.formatwarning, sys.argv, sys.path = before, arguments, search


def _say(error: BaseException, sentence: str) -> None:
    """Print it, of several processes once.

    What is wrong with the arguments, all of them find. The first one says it, and its launcher ends the others, which
    wait for that; what only one of the others finds, that one says in the end.
    """
    if isinstance(error, LostProcessError):
        if not error.says:
            return
    elif os.environ.get("RANK", "0") != "0":
        time.sleep(_PATIENCE)
    print(f"error: {sentence}", file=sys.stderr)


def _sentence_of(error: BaseException) -> str | None:
    """What to say of an error that a user can mend; ``None`` for others."""
    if isinstance(error, UserError):
        return one_sentence(error)
    if has_lost_worker(error):
        with suppress(ValueError):  # not the main thread
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)  # or PyTorch raises it again when the other ones end
        return LOST
    if isinstance(error, Exception) and "mmssl_dynamic.writing" in sys.modules:
        from mmssl_dynamic.writing import is_full, no_room

        if is_full(error):
            name = getattr(error, "filename", None)
            if name is None:
                return f"a disk that is written to is full ({first_line(error)}); free space or choose another one."
            return str(no_room(Path(os.fsdecode(name)), None, error))
    if isinstance(error, ModuleNotFoundError) and error.name is not None:
        return _not_installed(error.name.split(".")[0])
    if isinstance(error, OSError) and error.filename is not None:
        # A file of the user's that nobody thought of: its name says more than our lines would.
        return f"{error.filename}: {error.strerror}; correct the path or its permissions."
    return None


def _not_installed(package: str) -> str | None:
    """What to say of a package that is needed and not there; ``None`` if it is none of ours.

    The distribution itself forces no OpenMMLab stack on anybody, see setup.py.
    """
    if package not in _PACKAGES:
        return None
    extra = _PACKAGES[package]
    return (
        f"{package} is not installed in this environment; run `pip install mmssl-dynamic`."
        if extra is None
        else f"{package} is not installed in this environment; run `pip install 'mmssl-dynamic[{extra}]'`."
    )


def _at_home(argument: str) -> str:
    """An argument with the home folder in place of ``~``, which shells leave alone in quotes and behind ``=``."""
    option, path = re.fullmatch(r"([-\w.]+=)?(.*)", argument, re.DOTALL).groups()  # type: ignore[union-attr]
    return (option or "") + os.path.expanduser(path)


def _as_line(
    message: Warning | str, category: type[Warning], filename: str, lineno: int, line: str | None = None
) -> str:
    """A notice as one line, without the place in the code where it comes from; other warnings as ever."""
    if issubclass(category, UserNotice):
        return f"note: {message}\n"
    return _as_ever(message, category, filename, lineno, line)


def one_sentence(error: UserError) -> str:
    """The message alone: without a loader worker's traceback, or the classes mmengine was building around it."""
    message = str(error)
    if "Original Traceback" in message:
        last = [line for line in message.splitlines() if line.strip()][-1]
        message = last.split(": ", 1)[-1]
    return re.sub(r"^(class `\w+` in [\w/.-]+: )+", "", message)


def command_line() -> str:
    """The command that is running, as it can be typed again."""
    script = Path(sys.argv[0])
    called = ["python", sys.argv[0]] if script.suffix == ".py" and script.name != "__main__.py" else ["mmssl-dynamic"]
    return shlex.join([*called, *sys.argv[1:]])
