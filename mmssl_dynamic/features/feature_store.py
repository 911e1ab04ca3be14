"""Writing ``F.npy`` row by row, so that a run killed at any moment can be resumed.

While it is written the array is called ``F.npy.partial`` and ``F.npy.progress.json`` counts the rows that are safely
on disk; ``F.npy`` appears under its own name, after its sidecar, only when the last row is there.

N images, D feature dimension.
"""

from __future__ import annotations

import os
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np

from mmssl_dynamic.arrays import ArrayKind, map_array
from mmssl_dynamic.errors import ArtifactError, ConfigError, UserNotice
from mmssl_dynamic.features.feature_file import SCHEMA_VERSION, Features, features_sidecar, partial_path, read_sidecar
from mmssl_dynamic.fileio import read_json
from mmssl_dynamic.records import Count, RecordError, read_record
from mmssl_dynamic.result_cache import TIME_FORMAT, Kept, Key
from mmssl_dynamic.rows import Rows
from mmssl_dynamic.writing import flush, is_full, no_room, write_json


@dataclass(frozen=True)
class _Progress:
    """What ``F.npy.progress.json`` holds."""

    identity: dict[str, Any]
    feature_dim: Count
    rows_done: Count


class OtherFeaturesError(ArtifactError):
    """A file holds features that depend on something else."""


class _DamagedError(Exception):
    """What an earlier run left cannot be used."""


class FeatureStore:
    """An array on disk that grows row by row; use as a context manager.

    Args:
        path: ``F.npy``.
        num_rows: N.
        key: what the rows depend on. A run resumes only with the same key.
        again: throw away what an earlier run wrote instead of resuming it.
        flush_seconds: how much work a kill may cost.

    Attributes:
        done: rows on disk.
        finished: whether ``F.npy`` of this key is there already.

    Raises:
        ConfigError: ``path`` does not end in ``.npy``.
        ArtifactError: ``path`` holds, or an unfinished run was writing, features of another key. They may have taken
            hours, so they are not thrown away unasked. Those that are damaged are, with a warning.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        num_rows: int,
        key: Key,
        again: bool = False,
        flush_seconds: float = 20.0,
    ) -> None:
        self.path = Path(path)
        if self.path.suffix != ".npy":
            raise ConfigError(f"--out {path} must end in .npy, such as features.npy.")
        self.partial = partial_path(self.path)
        self.progress = self.path.with_name(self.path.name + ".progress.json")
        self.num_rows = num_rows
        self.key = key
        self.flush_seconds = flush_seconds
        self.done = 0
        self.finished = False
        self._written = 0
        self._map: np.memmap[Any, Any] | None = None
        if again:
            self._throw_away()
        elif self.path.exists():
            self._take_up(self._find)
        elif self.progress.is_file() and self.partial.is_file():
            self._take_up(self._resume)

    @property
    def kept(self) -> Kept[Path]:
        """The array that was there already, and when it was finished."""
        written = datetime.fromtimestamp(self.path.stat().st_mtime)
        return Kept(self.path, written.strftime(TIME_FORMAT))

    def _throw_away(self) -> None:
        for file in (self.path, features_sidecar(self.path), self.partial, self.progress):
            file.unlink(missing_ok=True)

    def _take_up(self, find: Callable[[], None]) -> None:
        try:
            find()
        except _DamagedError as error:
            warnings.warn(f"{error}, so it is computed anew.", UserNotice, stacklevel=3)
            self._throw_away()

    def _find(self) -> None:
        """``F.npy`` is there."""
        sidecar = features_sidecar(self.path)
        if not sidecar.is_file():
            raise ArtifactError(
                f"{self.path} is there and has no sidecar {sidecar.name}, so it may be anything; give another --out, "
                "or --again to throw it away."
            )
        try:
            identity = read_sidecar(self.path, self.num_rows).get("identity")
        except (ArtifactError, AttributeError) as error:
            raise _DamagedError(f"features sidecar {sidecar} is damaged") from error
        self._compare(identity, f"features file {self.path}")
        try:
            if Features.load(self.path).num_images != self.num_rows:
                raise _DamagedError(f"features file {self.path} has rows that are not its own")
        except ArtifactError as error:
            raise _DamagedError(f"features file {self.path} is damaged") from error
        self.done, self.finished = self.num_rows, True

    def _resume(self) -> None:
        """An unfinished ``F.npy.partial`` is there."""
        try:
            state = read_record(_Progress, read_json(self.progress, "progress file"))
        except (ArtifactError, RecordError) as error:
            raise _DamagedError(f"the progress file {self.progress} is damaged") from error
        self._compare(state.identity, f"the unfinished {self.partial}")
        try:
            rows = map_array(self.partial, ArrayKind("f", 2))
            fits = rows.shape == (self.num_rows, state.feature_dim) and rows.dtype == np.float32
        except Exception:  # damaged headers raise nearly anything
            fits = False
        if not fits or state.rows_done > self.num_rows:
            raise _DamagedError(f"the unfinished {self.partial} is damaged")
        self.done = self._written = state.rows_done

    def _compare(self, found: Any, what: str) -> None:
        other = self.key.differences(found)
        if other:
            raise OtherFeaturesError(
                f"{what} was made with a different {' and a different '.join(other)}; give another --out, or --again "
                "to throw it away."
            )

    def __enter__(self) -> FeatureStore:
        self._flushed_at = time.monotonic()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.flush()
        self._map = None

    def append(self, rows: Rows) -> None:
        """Write the next (n, D) rows.

        Raises:
            ArtifactError: D differs from that of earlier rows.
            OutputError: there is no room for all rows.
        """
        if self._map is None:
            self._map = self._open(rows.shape[1])
        if rows.shape[1] != self._map.shape[1]:
            raise ArtifactError(
                f"{self.partial} holds {self._map.shape[1]} features per image, not {rows.shape[1]}; give --again."
            )
        self._map[self._written : self._written + len(rows)] = rows
        self._written += len(rows)
        if time.monotonic() - self._flushed_at >= self.flush_seconds:
            self.flush()
            # A new map, so that pages written long ago do not count as this process's memory.
            self._map = np.lib.format.open_memmap(self.partial, mode="r+")

    def _open(self, dim: int) -> np.memmap[Any, Any]:
        if self._written:
            return np.lib.format.open_memmap(self.partial, mode="r+")
        self.partial.parent.mkdir(parents=True, exist_ok=True)
        self.progress.unlink(missing_ok=True)
        try:
            rows = np.lib.format.open_memmap(self.partial, mode="w+", dtype=np.float32, shape=(self.num_rows, dim))
            self._reserve()
        except OSError as error:
            if not is_full(error):
                raise
            sentence = no_room(self.path, 4 * self.num_rows * dim, error, self.partial)
            self.partial.unlink()
            raise sentence from error
        return rows

    def _reserve(self) -> None:
        # Writing to a mapped hole of a full disk would kill the process with SIGBUS instead of an error.
        if not hasattr(os, "posix_fallocate"):
            return
        with self.partial.open("r+b") as file:
            try:
                os.posix_fallocate(file.fileno(), 0, self.partial.stat().st_size)
            except OSError as error:
                if is_full(error):
                    raise
                # a file system that cannot reserve space

    def flush(self) -> None:
        """Bring the rows to disk, and only then count them as done."""
        self._flushed_at = time.monotonic()
        if self._map is None or self._written == self.done:
            return
        self._map.flush()
        self.done = self._written
        state = {"identity": self.key.record(), "feature_dim": self._map.shape[1], "rows_done": self.done}
        write_json(self.progress, state)

    def finish(self, sidecar: dict[str, Any]) -> Features:
        """Give the complete array its name; ``sidecar`` holds what :meth:`Features.sidecar` does beyond shapes."""
        if self.done != self.num_rows:
            raise ArtifactError(f"{self.partial} has {self.done} of {self.num_rows} rows; run it again to resume.")
        if not self.finished:
            dim = np.load(self.partial, mmap_mode="r", allow_pickle=False).shape[1]
            header = {"schema_version": SCHEMA_VERSION, "complete": True, "num_rows": self.num_rows, "feature_dim": dim}
            # In this order a kill in between leaves either a resumable or a finished file, never a wrong pair.
            write_json(features_sidecar(self.path), {**header, "identity": self.key.record(), **sidecar})
            flush(self.partial)
            self.partial.replace(self.path)
            flush(self.path.parent)
            self.progress.unlink(missing_ok=True)
            self.finished = True
        return Features.load(self.path)
