"""Names of many images in one array: as long as their letters, and not a hundred bytes more for each.

N images, T letters of all names in bytes.
"""

from __future__ import annotations

import operator
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, overload

import numpy as np
from numpy.typing import NDArray

from mmssl_dynamic.errors import ArtifactError

_BREAK = ord("\n")
_BLOCK_BYTES = 2**22  # what is compared at a time
_PRIME, _START = np.uint64(0x9E3779B97F4A7C15), np.uint64(0x632BE59BD9B4E019)


class ImageNames(Sequence[str]):
    """A list of names that is read like one of strings, and made into them one at a time.

    Args:
        letters: (T,) bytes of all names, UTF-8 (with surrogate escapes where a file system has other bytes), one name
            behind the other; it may be mapped from disk.
        ends: (N,) where each name ends.
        gap: Bytes between two names, 1 for lines.
        differ: Whether it is known that no name appears twice.
    """

    def __init__(self, letters: NDArray[np.uint8], ends: NDArray[Any], gap: int = 0, differ: bool = False) -> None:
        self._letters, self._gap, self._differ = letters, gap, differ
        small = ends.dtype.kind == "u" or len(letters) >= 2**32
        self._ends = ends if small else ends.astype(np.uint32)

    @classmethod
    def of(cls, names: Iterable[str], differ: bool = False) -> ImageNames:
        """Names out of strings, perhaps known to differ; those that are none any longer stay as they are."""
        if isinstance(names, cls):
            return names
        encoded = [name.encode("utf-8", "surrogateescape") for name in names]
        ends = np.cumsum(np.fromiter(map(len, encoded), dtype=np.int64, count=len(encoded)))
        return cls(np.frombuffer(b"".join(encoded), dtype=np.uint8), ends, differ=differ)

    @classmethod
    def from_lines(cls, lines: bytes) -> ImageNames:
        """Names out of a text with one in each line."""
        letters = np.frombuffer(lines, dtype=np.uint8)
        return cls(letters, np.append(np.flatnonzero(letters == _BREAK), len(letters)), gap=1)

    def lines(self) -> bytes:
        """A text with one name in each line.

        Raises:
            ArtifactError: a name holds a line break itself.
        """
        if not self._gap and bool((self._letters == _BREAK).any()):
            broken = next(name for name in self if "\n" in name)
            raise ArtifactError(f"image name {broken!r} holds a line break; rename the file and extract features anew.")
        return self._letters.tobytes() if self._gap else b"\n".join(self._encoded())

    def take(self, positions: Sequence[int]) -> ImageNames:
        """Some of the names, in the order of their positions."""
        if isinstance(positions, range) and positions == range(len(self)):
            return self
        return ImageNames.of(self[position] for position in positions)

    def twice(self) -> str | None:
        """The first name that has stood there before; ``None`` if there is none, as is remembered."""
        if self._differ:
            return None
        order, keys = self._sorted_keys()
        same = np.flatnonzero(keys[1:] == keys[:-1])
        if len(same):  # equal names, or different ones with the same key: strings tell them apart
            seen: set[str] = set()
            for position in np.unique(np.concatenate([order[same], order[same + 1]])):
                if (name := self[position]) in seen:
                    return name
                seen.add(name)
        self._differ = True
        return None

    def find(self, names: Iterable[str]) -> NDArray[np.int64]:
        """Where other names stand here, -1 where they do not; no name may stand here twice."""
        wanted = ImageNames.of(names)
        if self == wanted:
            return np.arange(len(self))
        if not len(self):
            return np.full(len(wanted), -1)
        order, keys = self._sorted_keys()
        if bool((keys[1:] == keys[:-1]).any()):  # different names with the same key, which hardly happens
            places = {name: position for position, name in enumerate(self)}
            return np.fromiter((places.get(name, -1) for name in wanted), dtype=np.int64, count=len(wanted))
        sought = wanted._keys()
        place = np.minimum(np.searchsorted(keys, sought), len(keys) - 1)
        found = np.where(keys[place] == sought, order[place], -1)
        there = np.flatnonzero(found >= 0)
        found[there[~self._equal(found[there], wanted, there)]] = -1
        return found

    @property
    def nbytes(self) -> int:
        """Bytes of memory, or of files where arrays are mapped."""
        return self._letters.nbytes + self._ends.nbytes

    def __len__(self) -> int:
        return len(self._ends)

    @overload
    def __getitem__(self, key: int) -> str: ...
    @overload
    def __getitem__(self, key: slice) -> ImageNames: ...
    def __getitem__(self, key: Any) -> Any:
        if isinstance(key, slice):
            return self.take(range(*key.indices(len(self))))
        position = operator.index(key)
        position += len(self) if position < 0 else 0
        if not 0 <= position < len(self):
            raise IndexError(f"there is no image {key} of {len(self)}")
        start = int(self._ends[position - 1]) + self._gap if position else 0
        return self._letters[start : int(self._ends[position])].tobytes().decode("utf-8", "surrogateescape")

    def __iter__(self) -> Iterator[str]:
        return (name.decode("utf-8", "surrogateescape") for name in self._encoded())

    def __eq__(self, other: object) -> bool:
        if isinstance(other, ImageNames):
            return np.array_equal(self._lengths, other._lengths) and np.array_equal(self._packed(), other._packed())
        return list(self) == list(other) if isinstance(other, list | tuple) else NotImplemented

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"ImageNames({len(self)} names)"

    @property
    def _starts(self) -> NDArray[np.int64]:
        starts = np.zeros(len(self), dtype=np.int64)
        starts[1:] = self._ends[:-1]
        starts[1:] += self._gap
        return starts

    @property
    def _lengths(self) -> NDArray[np.int64]:
        return self._ends.astype(np.int64) - self._starts

    def _packed(self) -> NDArray[np.uint8]:
        """The letters without what stands between names."""
        if not self._gap:
            return self._letters
        inside = np.ones(len(self._letters), dtype=bool)
        inside[self._ends[:-1].astype(np.int64)] = False
        return self._letters[inside]

    def _encoded(self) -> Iterator[bytes]:
        start, block = 0, 2**16
        for first in range(0, len(self), block):
            ends = self._ends[first : first + block].tolist()
            offset, letters = start, self._letters[start : ends[-1]].tobytes()
            for end in ends:
                yield letters[start - offset : end - offset]
                start = end + self._gap

    def _blocks(self, positions: NDArray[np.int64]) -> Iterator[tuple[slice, NDArray[np.uint8], NDArray[np.int64]]]:
        """Names side by side: a part of the positions, letters (n, W) with zeros behind, and lengths (n,)."""
        all_starts, all_lengths = self._starts, self._lengths
        done = 0
        while done < len(positions):
            some = positions[done : done + 2**14]
            width = int(max(8, -(-int(all_lengths[some].max()) // 8) * 8))
            some = some[: max(1, _BLOCK_BYTES // width)]
            starts, lengths = all_starts[some], all_lengths[some]
            columns = np.arange(width)
            letters = np.zeros((len(some), width), dtype=np.uint8)
            if len(self._letters):
                letters = np.asarray(self._letters[np.minimum(starts[:, None] + columns, len(self._letters) - 1)])
            letters[columns >= lengths[:, None]] = 0
            yield slice(done, done + len(some)), letters, lengths
            done += len(some)

    def _keys(self) -> NDArray[np.uint64]:
        """(N,) 64 bits for each name, that differ where names do, but for a few in 10^9 names."""
        keys = np.empty(len(self), dtype=np.uint64)
        for part, letters, lengths in self._blocks(np.arange(len(self))):
            key = lengths.astype(np.uint64) * _PRIME + _START
            for column in letters.view("<u8").T:
                # Zeros behind a name change nothing, so that keys do not depend on the width of a block.
                mixed = (key ^ column) * _PRIME
                key = np.where(column == 0, key, mixed ^ (mixed >> np.uint64(29)))
            keys[part] = key
        return keys

    def _sorted_keys(self) -> tuple[NDArray[np.int64], NDArray[np.uint64]]:
        """The order of the keys, and the keys in it."""
        keys = self._keys()
        order = np.argsort(keys, kind="stable")
        return order, keys[order]

    def _equal(self, own: NDArray[np.int64], other: ImageNames, others: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Whether names at some positions are those at others of another list, (n,)."""
        equal = self._lengths[own] == other._lengths[others]
        for part, letters, _ in self._blocks(own):
            for inner, theirs, _ in other._blocks(others[part]):
                mine, width = letters[inner], max(letters.shape[1], theirs.shape[1])
                equal[part][inner] &= (_wide(mine, width) == _wide(theirs, width)).all(axis=1)
        return equal


def _wide(letters: NDArray[np.uint8], width: int) -> NDArray[np.uint8]:
    """Letters (n, W) with zeros behind up to a width."""
    return np.pad(letters, ((0, 0), (0, width - letters.shape[1])))
