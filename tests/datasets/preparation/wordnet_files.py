"""A small ``data.noun`` with words of everyday and offsets that are none of WordNet's, except for ``organism``."""

from __future__ import annotations

from pathlib import Path

# At depth four: living_thing, artifact, food, shore and cliff.
TREE = {
    "entity": (),
    "physical_entity": ("entity",),
    "object": ("physical_entity",),
    "matter": ("physical_entity",),
    "whole": ("object",),
    "formation": ("object",),
    "substance": ("matter",),
    "living_thing": ("whole",),
    "organism": ("living_thing",),
    "dog": ("organism",),
    "oak": ("organism",),
    "artifact": ("whole",),
    "hammer": ("artifact",),
    "violin": ("artifact",),
    "food": ("substance",),
    "bread": ("food",),
    "plate": ("food", "artifact"),
    "statue_of_a_dog": ("artifact", "organism"),
    "shore": ("formation",),
    "lakeside": ("shore",),
    "cliff": ("formation",),
    "lump": ("object",),
}


def wnid(name: str) -> str:
    """The WNID of a noun of :data:`TREE`."""
    return "n00004475" if name == "organism" else f"n{10_000_001 + list(TREE).index(name):08d}"


def noun(name: str, hypernyms: tuple[str, ...], words: tuple[str, ...] = (), symbol: str = "@") -> str:
    """A line of the file."""
    spelled = " ".join(f"{word} 0" for word in (name, *words))
    pointers = [f"{symbol} {wnid(above)[1:]} n 0000" for above in hypernyms] + [
        "+ 00002137 v 0101",
        "#p 00001740 n 0000",
    ]
    count = f"{1 + len(words):02x}"
    head = f"{wnid(name)[1:]} 03 n {count} {spelled} {len(pointers):03d} {' '.join(pointers)}"
    return f"{head} | a gloss; @ 00001740 n 0000 | in it means nothing  \n"


def write_nouns(path: Path, tree: dict[str, tuple[str, ...]] = TREE) -> Path:
    """Write the file, with a licence of two lines on top."""
    lines = ["  1 A licence  \n", "  2   \n", *(noun(name, above) for name, above in tree.items())]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(lines))
    return path
