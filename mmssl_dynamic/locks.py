"""One process at a time writes into an output: a second one is told at once who does, and stops.

The lock is the operating system's (``filelock``): it ends with the process that holds it, however that ends.
"""

from __future__ import annotations

import functools
import inspect
import json
import os
import shlex
import shutil
import socket
import sys
import time
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext, suppress
from datetime import datetime
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

from filelock import FileLock, Timeout

from mmssl_dynamic.errors import LockedError, OutputError, UserNotice
from mmssl_dynamic.launchers import rank_of
from mmssl_dynamic.outputs import beside, check_output_file, check_output_folder

P = ParamSpec("P")
T = TypeVar("T")
PathLike = str | os.PathLike[str]

LOCK = ".lock"
_OWNER = ".owner"
#: What a lock leaves in a folder if its process is killed.
LEFT = frozenset({LOCK, LOCK + _OWNER})

_ORPHANS_SECONDS = 15.0  # loader processes notice within five that the process which started them was killed


@contextmanager
def locked_folder(
    folder: PathLike, option: str = "--out", launcher: str = "none", instead: str | None = None
) -> Iterator[None]:
    """Keep other processes from writing into a folder for the length of the block; makes it if it is not there.

    Args:
        folder: The folder.
        option: What named it, for the message.
        launcher: Of several processes that a launcher started together, the first one holds the lock for all.
        instead: The option to give another value of, where that is not ``option``.

    Raises:
        LockedError: another process writes into it.
        OutputError: nothing can be written into it.
    """
    if rank_of(launcher) > 0:
        yield
        return
    check_output_folder(folder, option)
    with _locked(Path(folder), Path(folder) / LOCK, option, instead or option):
        yield


@contextmanager
def locked_file(file: PathLike, option: str = "--out", launcher: str = "none") -> Iterator[None]:
    """Keep other processes from writing a file, and what belongs to it, for the length of the block.

    Args:
        file: The file; it need not be there.
        option: What named it, for the message.
        launcher: As of :func:`locked_folder`.

    Raises:
        LockedError: another process writes it.
        OutputError: nothing can be written there.
    """
    if rank_of(launcher) > 0:
        yield
        return
    check_output_file(file, option)
    target = Path(file)
    with _locked(target, target.with_name(f".{target.name}.lock"), option, option):
        yield


def empty_folders(folders: Iterable[PathLike], option: str = "--out", instead: str | None = None) -> None:
    """Remove all that folders hold, none of which another process may be writing into; else nothing is removed.

    Args:
        folders: The folders, which need not be there.
        option: What they are, as of :func:`locked_folder`.
        instead: As of :func:`locked_folder`.

    Raises:
        LockedError: another process writes into one of them.
        OutputError: something cannot be removed.
    """
    there = [Path(folder) for folder in folders if Path(folder).is_dir()]
    with ExitStack() as stack:
        for folder in there:
            stack.enter_context(locked_folder(folder, option, instead=instead))
        for folder in there:
            for entry in [entry for entry in folder.iterdir() if entry.name not in LEFT]:
                _remove(entry)


def _remove(path: Path) -> None:
    try:
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink()
    except OSError as error:
        raise OutputError(
            f"{path} cannot be removed ({error.strerror or error}); remove it, or leave --again out."
        ) from error


def locks_folder(
    argument: str = "out", option: str = "--out", default: str | None = None
) -> Callable[[Callable[P, T]], Callable[P, T]]:
    """Let a function hold :func:`locked_folder` as long as it runs, from before it looks at anything else.

    Args:
        argument: Its argument that names the folder. An argument ``launcher``, or ``execution`` that has one, is
            understood.
        option: What that is called on the command line.
        default: Folder beside its argument ``checkpoint`` where the folder is ``None``; nothing is locked without one.
    """

    def lock(given: Mapping[str, Any]) -> AbstractContextManager[None]:
        folder = given[argument]
        if folder is None and default is None:
            return nullcontext()
        target = folder if default is None else beside(folder, given["checkpoint"], default)
        return locked_folder(target, option, _launcher(given))

    return locks(lock)


def locks_file(
    argument: str | Callable[[Mapping[str, Any]], PathLike] = "out", option: str = "--out"
) -> Callable[[Callable[P, T]], Callable[P, T]]:
    """Let a function hold :func:`locked_file` as long as it runs, from before it looks at anything else.

    Args:
        argument: Its argument that names the file, or what tells the file by all arguments. ``launcher`` is understood
            as in :func:`locks_folder`.
        option: What that is called on the command line.
    """

    def lock(given: Mapping[str, Any]) -> AbstractContextManager[None]:
        file = given[argument] if isinstance(argument, str) else argument(given)
        return locked_file(file, option, _launcher(given))

    return locks(lock)


def _launcher(given: Mapping[str, Any]) -> str:
    """Of a function's arguments: that of the processes which it runs in."""
    return str(given.get("launcher") or getattr(given.get("execution"), "launcher", "none"))


def locks(
    lock: Callable[[Mapping[str, Any]], AbstractContextManager[None]],
) -> Callable[[Callable[P, T]], Callable[P, T]]:
    """Let a function hold a lock as long as it runs.

    Args:
        lock: Makes the lock of a call, from the function's arguments by their names.
    """

    def decorate(function: Callable[P, T]) -> Callable[P, T]:
        signature = inspect.signature(function)

        @functools.wraps(function)
        def locking(*args: P.args, **kwargs: P.kwargs) -> T:
            given = signature.bind(*args, **kwargs)
            given.apply_defaults()
            with lock(given.arguments):
                return function(*args, **kwargs)

        return locking

    return decorate


@contextmanager
def _locked(target: Path, path: Path, option: str, instead: str) -> Iterator[None]:
    owner = path.with_name(f"{path.name}{_OWNER}")
    lock = FileLock(path)
    made = [folder for folder in (path.parent, *path.parent.parents) if not folder.exists()]
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        held = _acquire(lock, target, owner, option, instead)
        owner.write_text(json.dumps(_this_process()), encoding="utf-8")
    except OSError as error:
        _remove_empty(made)
        from mmssl_dynamic.writing import is_full, no_room  # imports torch

        if is_full(error):
            raise no_room(target, None, error) from error
        raise OutputError(f"{option} {target} cannot be written ({error.strerror or error}); give another.") from error
    try:
        yield
    finally:
        if held:
            # While the lock is held: whoever has opened the file meanwhile finds that it is gone, and makes another.
            for file in (owner, path):
                with suppress(OSError):
                    file.unlink()
            lock.release()
        _remove_empty(made)  # for nothing, if nothing was written


def _remove_empty(folders: list[Path]) -> None:
    with suppress(OSError):  # it is not empty
        for folder in folders:
            folder.rmdir()


def _acquire(lock: FileLock, target: Path, owner: Path, option: str, instead: str) -> bool:
    """Whether the lock is held; not every file system has locks."""
    deadline = time.monotonic() + _ORPHANS_SECONDS
    while True:
        try:
            lock.acquire(timeout=0)
            return True
        except Timeout:
            found = _read(owner)
            if not _has_ended(found) or time.monotonic() > deadline:
                raise LockedError(
                    f"{option} {target} is being written by {_in_words(found)}; wait until it has ended, or give "
                    f"another {instead}."
                ) from None
            time.sleep(0.2)
        except (OSError, NotImplementedError) as error:
            from mmssl_dynamic.writing import is_full  # imports torch

            if isinstance(error, PermissionError | FileNotFoundError | NotADirectoryError) or is_full(error):
                raise
            warnings.warn(
                f"{target} is on a file system without locks ({error}): see to it that nothing else writes there.",
                UserNotice,
                stacklevel=5,
            )
            return False


def _this_process() -> dict[str, Any]:
    since = datetime.now().strftime("%Y-%m-%d %H:%M:%S")
    return {"pid": os.getpid(), "host": socket.gethostname(), "since": since, "command": shlex.join(sys.argv)}


def _read(owner: Path) -> dict[str, Any]:
    """What the process that holds the lock wrote of itself; nothing if it has not come to that yet."""
    try:
        found = json.loads(owner.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) and isinstance(found.get("pid"), int) else {}


def _has_ended(owner: dict[str, Any]) -> bool:
    """Whether the process that took the lock is no more, and only what it started holds it still."""
    if owner.get("host") != socket.gethostname():
        return False
    try:
        os.kill(owner["pid"], 0)
    except ProcessLookupError:
        return True
    except OSError:
        return False
    return False


def _in_words(owner: dict[str, Any]) -> str:
    if not owner:
        return "another process"
    return f"process {owner['pid']} on {owner.get('host')} since {owner.get('since')} ({owner.get('command')})"
