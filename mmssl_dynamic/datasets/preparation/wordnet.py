"""WordNet's nouns and what they are kinds of, read from its database file ``data.noun``.

A WNID, the name of an ImageNet class, is 'n' and the 8 digits at the start of a line of WordNet 3.0's file: where the
line begins, in bytes. Other releases have other numbers. The format is WordNet's wndb(5).
"""

from __future__ import annotations

import os
import re
import sys
import zipfile
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from mmssl_dynamic.errors import DataError, first_line

#: A WNID.
WNID = re.compile(r"n\d{8}")
_FILE = "data.noun"
_IN_ZIP = "wordnet/data.noun"
_HYPERNYM = ("@", "@i")  # of a kind, and of an instance
_REMEDY = (
    "get WordNet 3.0 with `apt-get install wordnet-base`, or NLTK's with `python -m nltk.downloader wordnet`, and give "
    "its data.noun with --wordnet"
)


@dataclass(frozen=True, eq=False)
class WordNet:
    """Noun synsets.

    A synset can be of several kinds, so several paths lead to it from the root, ``entity``. The depth of a synset on a
    path is the number of steps from the root, which has depth 0.

    Attributes:
        path: The file.
        words: Words of each synset by WNID, with spaces.
        hypernyms: WNIDs of what each synset is a kind or an instance of, none for the root.
    """

    path: str
    words: Mapping[str, tuple[str, ...]]
    hypernyms: Mapping[str, tuple[str, ...]]

    def __contains__(self, wnid: str) -> bool:
        return wnid in self.words

    @cached_property
    def hyponyms(self) -> Mapping[str, tuple[str, ...]]:
        """WNIDs of the kinds and instances of each synset that has any."""
        below: dict[str, list[str]] = defaultdict(list)
        for wnid, above in self.hypernyms.items():
            for hypernym in above:
                below[hypernym].append(wnid)
        return {wnid: tuple(found) for wnid, found in below.items()}

    def at_depth(self, depth: int) -> frozenset[str]:
        """Synsets that some path reaches after ``depth`` steps down from the root."""
        level = frozenset(wnid for wnid, above in self.hypernyms.items() if not above)
        for _ in range(depth):
            level = frozenset(below for wnid in level for below in self.hyponyms.get(wnid, ()))
        return level

    def ancestors(self, wnid: str) -> frozenset[str]:
        """The synset itself and all that it is a kind of, on any path."""
        found, new = {wnid}, {wnid}
        while new:
            new = {above for one in new for above in self.hypernyms[one]} - found
            found |= new
        return frozenset(found)

    def paths(self, wnid: str) -> Iterator[tuple[str, ...]]:
        """Every path from the root down to the synset, both included."""
        unfinished: list[tuple[str, ...]] = [(wnid,)]
        while unfinished:
            path = unfinished.pop()
            above = self.hypernyms[path[0]]
            if not above:
                yield path
            unfinished.extend((hypernym, *path) for hypernym in above if hypernym not in path)


def read_wordnet(path: str | os.PathLike[str] | None = None) -> WordNet:
    """Read the nouns.

    Args:
        path: ``data.noun``, the folder that holds it, or NLTK's ``wordnet.zip``. Defaults to the first of
            :func:`usual_places` that is there.

    Raises:
        DataError: there is no such file, or it is not WordNet's.
    """
    file = _find(path)
    try:
        if zipfile.is_zipfile(file):
            with zipfile.ZipFile(file) as archive:
                content = archive.read(_IN_ZIP)
        else:
            content = file.read_bytes()
    except (OSError, KeyError, zipfile.BadZipFile) as error:
        raise DataError(f"WordNet's {file} cannot be read ({first_line(error)}); {_REMEDY}.") from error
    return _parse(content.decode("latin-1"), str(file))


def usual_places() -> list[Path]:
    """Where Debian's ``wordnet-base``, WordNet's own installation and NLTK's downloader put the nouns."""
    home = os.environ.get("WNHOME", "/usr/local/WordNet-3.0")
    folders = ["/usr/share/wordnet", os.environ.get("WNSEARCHDIR", f"{home}/dict")]
    nltk = [part for part in os.environ.get("NLTK_DATA", "").split(os.pathsep) if part]
    nltk += [f"{base}/nltk_data" for base in (Path.home(), sys.prefix)]
    nltk += [f"{base}/nltk_data" for base in ("/usr/share", "/usr/local/share", "/usr/lib", "/usr/local/lib")]
    places = [Path(folder) / _FILE for folder in folders]
    for folder in nltk:
        places += [Path(folder) / "corpora/wordnet" / _FILE, Path(folder) / "corpora/wordnet.zip"]
    return places


def _find(path: str | os.PathLike[str] | None) -> Path:
    if path is None:
        found = next((place for place in usual_places() if place.is_file()), None)
        if found is None:
            raise DataError(f"WordNet is in none of the usual places; {_REMEDY}.")
        return found
    given = Path(path).expanduser()
    file = given / _FILE if given.is_dir() else given
    if not file.is_file():
        raise DataError(f"WordNet's {file} does not exist; {_REMEDY}.")
    return file


def _parse(text: str, path: str) -> WordNet:
    words, hypernyms = {}, {}
    for number, line in enumerate(text.split("\n"), 1):
        if line.startswith("  ") or not line:  # the licence
            continue
        try:
            wnid, words[wnid], hypernyms[wnid] = _synset(line)
        except (IndexError, ValueError) as error:
            raise DataError(f"line {number} of {path} is no noun of WordNet's database; {_REMEDY}.") from error
    missing = next((above for found in hypernyms.values() for above in found if above not in words), None)
    if missing is not None or not words:
        lacks = f"names {missing} and does not hold it" if missing else "holds no noun"
        raise DataError(f"{path} is incomplete: it {lacks}; {_REMEDY}.")
    return WordNet(path, words, hypernyms)


def _synset(line: str) -> tuple[str, tuple[str, ...], tuple[str, ...]]:
    """WNID, words and hypernyms of a line.

    The line is ``offset lex_filenum ss_type w_cnt word lex_id ... p_cnt symbol offset pos source/target ... | gloss``;
    ``w_cnt`` is hexadecimal, ``p_cnt`` decimal.
    """
    fields = line.split(" | ", 1)[0].split()
    count = int(fields[3], 16)
    words = tuple(word.replace("_", " ") for word in fields[4 : 4 + 2 * count : 2])
    first = 5 + 2 * count
    pointers = [fields[first + 4 * index : first + 4 * index + 4] for index in range(int(fields[first - 1]))]
    wnid = f"n{fields[0]}"
    if WNID.fullmatch(wnid) is None or fields[2] != "n" or any(len(pointer) < 4 for pointer in pointers):
        raise ValueError(line)
    return wnid, words, tuple(f"n{offset}" for symbol, offset, _, _ in pointers if symbol in _HYPERNYM)
