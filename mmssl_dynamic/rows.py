"""Reading the rows of a feature file in pieces: normalised, sampled, and in shuffled mini-batches.

N images, D feature dimension, B batch, n any number of rows.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

Rows = NDArray[np.float32]  # (N, D), in memory or memory-mapped

# A block is read in one go, so it should be worth a seek of a disk; a window is held in memory and mixed.
BLOCK_BYTES = 128 * 1024
WINDOW_BYTES = 256 * 1024 * 1024


def normalise(rows: Rows, mean: NDArray[np.float32] | None = None) -> Rows:
    """(n, D) rows, less ``mean`` (D,) if given, at unit L2 norm; a zero row stays zero."""
    rows = np.asarray(rows, dtype=np.float32)
    if mean is not None:
        rows = rows - mean
    norms = np.linalg.norm(rows, axis=1, keepdims=True)
    return rows / np.maximum(norms, 1e-12)


def chunks(num_rows: int, dim: int, chunk_bytes: int = WINDOW_BYTES // 4) -> Iterator[slice]:
    """Slices over N rows, each of at most ``chunk_bytes`` of float32 (at least one row)."""
    step = max(1, chunk_bytes // (4 * dim))
    for start in range(0, num_rows, step):
        yield slice(start, min(start + step, num_rows))


def sample_rows(rows: Rows, count: int, rng: np.random.Generator) -> Rows:
    """(min(count, N), D) rows drawn at random without repetition, in file order; read block by block from disk."""
    if count >= len(rows):
        return np.asarray(rows, dtype=np.float32)
    picked = np.sort(rng.choice(len(rows), size=count, replace=False))
    return np.asarray(rows[picked], dtype=np.float32)


class ShuffledBatches:
    """Mini-batches of rows in a random order that suits a memory-mapped file: every row once per epoch.

    Reading single rows at random from a disk is slow, and reading in file order gives batches of one class (image
    folders are sorted by class). So small contiguous blocks are drawn at random into a window held in memory, and
    rows are shuffled inside the window. Data that fits one window is shuffled perfectly.

    Args:
        rows: (N, D) array or memory map.
        batch_size: B rows per batch, cut to N. A last batch of less than B / 2 rows is left out of the epoch: a
            balance over a handful of rows would be forced. Which rows those are differs from epoch to epoch.
        seed: with the epoch's number it fixes the order.
        block_bytes: size of a block.
        window_bytes: size of the window.
    """

    def __init__(
        self,
        rows: Rows,
        batch_size: int,
        seed: int = 0,
        block_bytes: int = BLOCK_BYTES,
        window_bytes: int = WINDOW_BYTES,
    ) -> None:
        row_bytes = 4 * rows.shape[1]
        self.rows = rows
        self.batch_size = min(batch_size, len(rows))
        self.seed = seed
        self.window_rows = max(self.batch_size, window_bytes // row_bytes)
        fits = len(rows) <= self.window_rows
        self.block_rows = 1 if fits else max(1, min(block_bytes // row_bytes, self.window_rows))

    def __len__(self) -> int:
        """Batches per epoch."""
        full, rest = divmod(len(self.rows), self.batch_size)
        return full + (2 * rest >= self.batch_size)

    def epoch(self, number: int) -> Iterator[Rows]:
        """Batches (B, D) of an epoch."""
        rng = np.random.default_rng((self.seed, number))
        if len(self.rows) <= self.window_rows:
            windows: Sequence[NDArray[np.int64]] = [np.arange(len(self.rows))]
        else:
            starts = rng.permutation(np.arange(0, len(self.rows), self.block_rows))
            per_window = max(1, self.window_rows // self.block_rows)
            windows = [starts[i : i + per_window] for i in range(0, len(starts), per_window)]
        left: Rows = np.empty((0, self.rows.shape[1]), dtype=np.float32)
        for window in windows:
            held = self._read(window)
            if len(left):
                held = np.concatenate([left, held])
            order = rng.permutation(len(held))
            end = len(held) - len(held) % self.batch_size
            for start in range(0, end, self.batch_size):
                yield held[order[start : start + self.batch_size]]
            left = held[order[end:]]
        if 2 * len(left) >= self.batch_size:
            yield left

    def _read(self, starts: NDArray[np.int64]) -> Rows:
        if len(self.rows) <= self.window_rows:
            return np.asarray(self.rows, dtype=np.float32)
        # In file order, so that the disk moves one way.
        parts = [np.asarray(self.rows[s : s + self.block_rows]) for s in np.sort(starts)]
        return np.concatenate(parts).astype(np.float32, copy=False)
