"""Kept results: nothing is computed twice, and nothing is taken for the result of anything else.

A result is kept under *everything* it depends on (:class:`Key`), so that whatever changes, it is computed anew: other
weights, the same weights with other BatchNorm statistics, an image that was replaced under its old name.

What a key leaves out on purpose: where files lie, numbers of loader processes, bounds on memory, the size of batches
in evaluation mode (BatchNorm uses stored statistics there), kinds of device and versions of torch (they change the last
bits; :func:`~mmssl_dynamic.fingerprints.precision` says what changes more).
"""

from __future__ import annotations

import glob
import hashlib
import json
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Generic, NamedTuple, TypeVar

from mmssl_dynamic.errors import ArtifactError, UserError, UserNotice
from mmssl_dynamic.fileio import read_json
from mmssl_dynamic.fingerprints import content_fingerprint, described
from mmssl_dynamic.writing import write_json

T = TypeVar("T")

SCHEMA_VERSION = 1
TIME_FORMAT = "%Y-%m-%d %H:%M"
NOT_USED = "not used"  # what a key says of something that the result does not depend on this time

_NETWORK = ("weights", "BN statistics", "architecture")
_IMAGES = ("images", "pipeline", "normalisation", "precision")


class Computation(NamedTuple):
    """A kind of computation.

    Attributes:
        version: Raised whenever its arithmetic changes, which makes all that was kept of it void.
        depends_on: What its results depend on.
    """

    version: int
    depends_on: tuple[str, ...]


COMPUTATIONS = {
    "features": Computation(1, ("sub-network", *_NETWORK, *_IMAGES)),
    "evaluation": Computation(1, ("network", *_NETWORK, *_IMAGES, "protocol")),
    "transfer": Computation(1, ("network", "data set", *_NETWORK, *_IMAGES, "protocol", "solver")),
    "object crops": Computation(1, ("images", "classes", "settings")),
    "detection candidate": Computation(
        1, ("sub-network", *_NETWORK, "detector", "images", "iterations", "seed", "precision")
    ),
    "shrunk images": Computation(1, ("images", "settings")),
    "training": Computation(2, ("config", "images", "clusters", "start", "seed", "precision")),
    "clusters": Computation(1, ("features", "settings", "precision")),
    "random weights": Computation(1, ("config", "images", "seed", "settings", "precision")),
    "routing": Computation(1, ("task", "sub-networks", "method", "clusters", *_NETWORK, *_IMAGES, "protocol")),
}


@dataclass(frozen=True)
class Key:
    """Everything that a result depends on.

    Args:
        computation: One of :data:`COMPUTATIONS`.
        inputs: All that it depends on, by name: plain data, fingerprints where it is much.

    Raises:
        ValueError: an input is missing, unknown or ``None``: a key with a hole returns wrong results.
        ConfigError: an input cannot be written down.
    """

    computation: str
    inputs: Mapping[str, Any]

    def __post_init__(self) -> None:
        expected = COMPUTATIONS[self.computation].depends_on
        unknown = [name for name, value in self.inputs.items() if value is None or name not in expected]
        missing = [name for name in expected if name not in self.inputs]
        if missing or unknown:
            raise ValueError(f"a key of '{self.computation}' lacks {missing}, or has unknown values {unknown}")
        object.__setattr__(self, "inputs", {name: described(self.inputs[name], name) for name in expected})

    def record(self) -> dict[str, Any]:
        """As plain data; two keys are the same if their records are."""
        return {"computation": f"{self.computation}, version {COMPUTATIONS[self.computation].version}", **self.inputs}

    @property
    def digest(self) -> str:
        """A short text for the names of files."""
        return _digest(self.record())[:16]

    def differences(self, record: Any) -> list[str]:
        """What differs from the record of another key, by name."""
        found = record if isinstance(record, Mapping) else {}
        own = self.record()
        return [name for name in dict.fromkeys([*own, *found]) if own.get(name) != found.get(name)]


@dataclass(frozen=True)
class Kept(Generic[T]):
    """A result that was kept.

    Attributes:
        value: The result.
        computed: When it was computed, such as ``'2025-03-01 14:05'``.
    """

    value: T
    computed: str


class ResultCache(Generic[T]):
    """A folder with one file per result.

    Args:
        folder: The folder.
        parse: Makes a result of its record; raises KeyError, TypeError, ValueError or UserError if it is none.
        again: Compute everything anew: nothing is found, and what is saved takes the place of what was there.
    """

    def __init__(self, folder: Path, parse: Callable[[Any], T], again: bool = False) -> None:
        self.folder, self.parse, self.again = folder, parse, again

    def file(self, key: Key, name: str) -> Path:
        """The file of a result that people call ``name``."""
        return self.folder / f"{name}-{key.digest}.json"

    def load(self, key: Key, name: str) -> Kept[T] | None:
        """The result, or ``None`` if it has to be computed: a file that is damaged is not trusted, with a warning."""
        file = self.file(key, name)
        if self.again or not file.is_file():
            return None
        try:
            found = read_json(file, "kept result")
            if found["schema_version"] != SCHEMA_VERSION or key.differences(found["inputs"]):
                raise ArtifactError("it is of something else than its name says")
            if found["digest"] != _digest(found["result"]):
                raise ArtifactError("it is not what was written")
            return Kept(self.parse(found["result"]), str(found["computed"]))
        except (KeyError, TypeError, ValueError, AttributeError, UserError) as error:
            warnings.warn(f"{file} is damaged ({error}), so its result is computed anew.", UserNotice, stacklevel=2)
            return None

    def save(self, key: Key, name: str, record: Any) -> None:
        """Write a result, atomically, beside what it depends on."""
        now = datetime.now().strftime(TIME_FORMAT)
        result = described(record, "a result")
        content = {"inputs": key.record(), "result": result, "digest": _digest(result)}
        write_json(self.file(key, name), {"schema_version": SCHEMA_VERSION, "computed": now, **content})

    def changed(self, key: Key, name: str) -> list[str]:
        """What has changed since the last result that people call ``name``, if there is one."""
        files = [path for path in self.folder.glob(f"{glob.escape(name)}-*.json") if path != self.file(key, name)]
        try:
            newest = max(files, key=lambda path: path.stat().st_mtime_ns, default=None)
            return [] if newest is None else key.differences(read_json(newest, "kept result").get("inputs"))
        except (OSError, AttributeError, UserError):
            return []


class KeptFiles:
    """Steps that write files, each done once as long as nothing has changed that it depends on.

    Args:
        folder: Where is noted what was done.
        again: Do every step anew.
        say: Is told what was kept, and why something is done anew.

    Attributes:
        made: How many steps were done, and not kept.
    """

    def __init__(self, folder: Path, again: bool = False, say: Callable[[str], object] = print) -> None:
        self.folder, self.say, self.made = folder, say, 0
        self.cache: ResultCache[list[str]] = ResultCache(folder, _texts, again)

    def __call__(
        self,
        name: str,
        key: Key,
        files: Sequence[Path],
        make: Callable[[], object],
        clear: Callable[[], object] | None = None,
    ) -> None:
        """Do a step, unless it has been done and its files are as it left them.

        Args:
            name: Of the step, for messages and for the notes.
            key: What its files depend on.
            files: Files or folders that it writes.
            make: Does it, and goes on with what lies there.
            clear: Throws away what lies there, where that is not the beginning of the same step, which was stopped. May
                refuse to: the beginning of another step is then not taken for one of this.
        """
        kept = self.cache.load(key, name)
        if kept is not None and kept.value == _contents(files):
            self.say(kept_line(f"{name} is", [kept], key))
            return
        begun = self.folder / f"{name}.begun.json"
        going_on = not self.cache.again and begun.is_file() and not key.differences(_read(begun))
        changed = [] if self.cache.again else self.cache.changed(key, name)
        if changed:
            self.say(f"{name} is done anew, for other {', '.join(changed)} than the last time")
        if clear is not None and not going_on:
            begun.unlink(missing_ok=True)
            clear()
        write_json(begun, key.record())
        make()
        self.made += 1
        self.cache.save(key, name, _contents(files))
        begun.unlink()


def _contents(files: Sequence[Path]) -> list[str]:
    return [content_fingerprint(file) or "missing" for file in files]


def _texts(record: Any) -> list[str]:
    if not isinstance(record, list) or not all(isinstance(text, str) for text in record):
        raise ValueError("no list of fingerprints")
    return record


def _read(file: Path) -> Any:
    try:
        return read_json(file, "note of a step")
    except UserError:
        return None


def kept_line(what: str, kept: Iterable[Kept[Any]], key: Key) -> str:
    """One line that says what was not computed again.

    Args:
        what: What was kept, such as ``'the ranking for pets is'`` or ``'3 of 4 networks are'``.
        kept: The results.
        key: Of one of them.
    """
    dates = sorted({entry.computed for entry in kept})
    when = dates[0] if len(dates) == 1 else f"{dates[0]} to {dates[-1]}"
    names = ", ".join(COMPUTATIONS[key.computation].depends_on)
    return f"{what} kept from {when}, its inputs are unchanged: {names} (--again computes anew)"


def _digest(data: Any) -> str:
    return hashlib.sha256(json.dumps(data, sort_keys=True).encode()).hexdigest()
