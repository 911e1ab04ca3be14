"""A shuffled order of N positions, computed where it is looked at and never laid out."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

_ROUNDS = 8
_GOLDEN, _MIX_1, _MIX_2 = (np.uint64(n) for n in (0x9E3779B97F4A7C15, 0xBF58476D1CE4E5B9, 0x94D049BB133111EB))


class ShuffledOrder:
    """A permutation of 0 ... N - 1 as a function of its key: any part of it costs as much as the part is long.

    A Feistel network permutes the numbers of as many bits as N - 1 has, and what falls on N or above goes through it
    again (cycle walking; Black and Rogaway, "Ciphers with Arbitrary Finite Domains", 2002).

    Args:
        count: N, at least 1.
        key: Numbers that decide the order.
    """

    def __init__(self, count: int, key: Sequence[int]) -> None:
        self.count = count
        bits = max(2, (count - 1).bit_length())
        self._low = np.uint64(bits // 2)
        self._masks = np.uint64((1 << (bits - bits // 2)) - 1), np.uint64((1 << (bits // 2)) - 1)
        self._keys = np.random.default_rng(list(key)).integers(2**64, size=_ROUNDS, dtype=np.uint64)

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, part: slice) -> NDArray[np.int64]:
        """What stands at the positions of a slice."""
        found = self._permuted(np.arange(*part.indices(self.count), dtype=np.uint64))
        outside = np.flatnonzero(found >= self.count)
        while len(outside):
            found[outside] = self._permuted(found[outside])
            outside = outside[found[outside] >= self.count]
        return found.astype(np.int64)

    def _permuted(self, numbers: NDArray[np.uint64]) -> NDArray[np.uint64]:
        high, low = numbers >> self._low, numbers & self._masks[1]
        for number, key in enumerate(self._keys):
            if number % 2:
                low = low ^ (_mixed(high, key) & self._masks[1])
            else:
                high = high ^ (_mixed(low, key) & self._masks[0])
        return (high << self._low) | low


def _mixed(numbers: NDArray[np.uint64], key: np.uint64) -> NDArray[np.uint64]:
    """The finaliser of SplitMix64: every bit of the result depends on every bit of number and key."""
    mixed = (numbers + _GOLDEN) ^ key
    mixed = (mixed ^ (mixed >> np.uint64(30))) * _MIX_1
    mixed = (mixed ^ (mixed >> np.uint64(27))) * _MIX_2
    return mixed ^ (mixed >> np.uint64(31))
