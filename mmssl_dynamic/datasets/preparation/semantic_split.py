"""Two halves of ImageNet's classes that have nothing in common in WordNet (SDR Sec. 3, after Huh et al. 2016).

The paper: "searching the WordNet hierarchy to avoid two splits having the same ancestor at depth four", Subset-A
"primarily inanimate objects", Subset-B "mainly contains organisms". It does not list the classes. Our reading:

* The root, ``entity``, has depth 0. Then depth four is where ``living_thing`` and ``artifact`` lie, and the organisms
  come apart from all else. With the root at depth 1, ``whole`` would lie there, an ancestor of artefacts and organisms
  alike, and nearly all classes would be in one piece.
* A class has all ancestors that any path from the root meets at that depth. Classes with one in common belong together,
  and so do all that such classes join: connected components.
* A component goes to Subset-B if more than half of its classes descend from ``organism``, otherwise to Subset-A.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from mmssl_dynamic.datasets.load_image import printable
from mmssl_dynamic.datasets.preparation.wordnet import WNID, WordNet
from mmssl_dynamic.errors import ConfigError, DataError

#: ``organism``, the kind that living things are of.
ORGANISM = "n00004475"


@dataclass(frozen=True)
class Component:
    """Classes that belong together.

    Attributes:
        classes: WNIDs, sorted.
        ancestors: Number of these classes below each of their ancestors at the depth of the split.
        organisms: Number of classes that descend from ``organism``.
    """

    classes: tuple[str, ...]
    ancestors: Mapping[str, int]
    organisms: int

    @property
    def subset(self) -> str:
        """'b' if most classes are organisms, else 'a'."""
        return "b" if 2 * self.organisms > len(self.classes) else "a"


@dataclass(frozen=True)
class SemanticSplit:
    """The components at a depth, largest first."""

    depth: int
    components: tuple[Component, ...]

    def classes(self, subset: str) -> list[str]:
        """WNIDs of subset 'a' or 'b', sorted."""
        return sorted(wnid for part in self.components if part.subset == subset for wnid in part.classes)


def split_classes(wordnet: WordNet, classes: Iterable[str], depth: int = 4) -> SemanticSplit:
    """Split classes into components, and these into Subset-A and Subset-B; the order of the classes does not matter.

    Args:
        wordnet: The nouns.
        classes: WNIDs.
        depth: Steps down from the root at which the subsets may share no ancestor.

    Raises:
        ConfigError: ``depth`` is below 1.
        DataError: a class is not a WNID or not in this WordNet, or one subset is empty.
    """
    if depth < 1:
        raise ConfigError(f"depth {depth} must be at least 1: all classes share the root.")
    wnids = sorted(set(classes))
    for wnid in wnids:
        if WNID.fullmatch(wnid) is None:
            raise DataError(
                f"class {printable(wnid)} is no WNID ('n' and 8 digits); give the folder whose folders are named so, "
                "such as data/imagenet/train, and move others out of it."
            )
    unknown = next((wnid for wnid in (*wnids, ORGANISM) if wnid not in wordnet), None)
    if unknown is not None:
        raise DataError(
            f"{unknown} is not in {wordnet.path}; WNIDs are those of WordNet 3.0, so correct the name or give that "
            "release with --wordnet."
        )
    split = SemanticSplit(depth, find_components(wordnet, wnids, depth))
    for subset in "ab":
        if not split.classes(subset):
            raise DataError(
                f"at depth {depth} all {len(wnids)} classes come to Subset-{'B' if subset == 'a' else 'A'}; give "
                "classes of both organisms and things, or another --depth."
            )
    return split


def find_components(wordnet: WordNet, classes: Sequence[str], depth: int) -> tuple[Component, ...]:
    """The connected components of ``classes``, which differ, with an edge where two share an ancestor at ``depth``.

    A class that lies above the depth has no ancestor there and is on its own.

    Returns:
        The components, largest first.
    """
    level = wordnet.at_depth(depth)
    above = {wnid: wordnet.ancestors(wnid) for wnid in classes}
    groups: list[tuple[list[str], frozenset[str]]] = []  # classes, and the ancestors of any of them
    for wnid in classes:
        own = above[wnid] & level
        touching = [group for group in groups if group[1] & own]
        groups = [group for group in groups if not group[1] & own]
        members = [wnid, *(member for members, _ in touching for member in members)]
        groups.append((members, own.union(*(found for _, found in touching))))
    parts = []
    for members, _ in groups:
        ancestors = Counter(ancestor for wnid in sorted(members) for ancestor in sorted(above[wnid] & level))
        organisms = sum(ORGANISM in above[wnid] for wnid in members)
        parts.append(Component(tuple(sorted(members)), dict(ancestors.most_common()), organisms))
    return tuple(sorted(parts, key=lambda part: (-len(part.classes), part.classes)))


def shared_ancestors(
    wordnet: WordNet, first: Iterable[str], second: Iterable[str], depth: int
) -> list[tuple[str, str, str]]:
    """Check two sets of classes: every ancestor at ``depth`` that they share.

    Goes through each path from the root to each class, unlike :func:`split_classes`.

    Returns:
        (ancestor, one class of ``first`` below it, one of ``second``), sorted; nothing if the sets may be the two
        subsets of a split. A class that is in both sets is its own evidence.
    """

    def met(classes: Iterable[str]) -> dict[str, str]:
        return {
            path[depth]: wnid
            for wnid in sorted(classes, reverse=True)
            for path in wordnet.paths(wnid)
            if len(path) > depth
        }

    first, second = set(first), set(second)
    ours, theirs = met(first), met(second)
    both = {(wnid, wnid, wnid) for wnid in first & second}
    return sorted(both | {(shared, ours[shared], theirs[shared]) for shared in ours.keys() & theirs.keys()})


def describe(split: SemanticSplit, wordnet: WordNet, images: Mapping[str, int] | None = None) -> list[str]:
    """Lines that tell the sizes of the subsets and of their components, and where in WordNet these lie.

    Args:
        split: The split.
        wordnet: The nouns.
        images: Number of images by class, if there are any.
    """
    lines = []
    for subset in "ab":
        classes = split.classes(subset)
        pictures = f", {sum(images.get(wnid, 0) for wnid in classes):,} images" if images is not None else ""
        lines.append(f"Subset-{subset.upper()}: {_number_of(classes)}{pictures}")
        lines += [f"  {_describe(part, wordnet)}" for part in split.components if part.subset == subset]
    return lines


def _describe(part: Component, wordnet: WordNet) -> str:
    size = f"{_number_of(part.classes):>12}, {part.organisms} organisms"
    kinds = [f"{'/'.join(wordnet.words[wnid][:2])} {count}" for wnid, count in part.ancestors.items()]
    below = f", below {_some(kinds, 6)}" if kinds else ""
    return f"{size}{below}: {_some([wordnet.words[wnid][0] for wnid in part.classes], 3)}"


def _number_of(classes: Sequence[str]) -> str:
    return f"{len(classes)} class{'es' * (len(classes) != 1)}"


def _some(names: Sequence[str], most: int) -> str:
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")
