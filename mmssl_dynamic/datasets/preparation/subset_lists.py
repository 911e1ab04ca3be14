"""File lists of the two subsets of a semantic split, checked before they get their names.

A line is the name of an image relative to the folder of classes, and its label: the ``ann_file`` of mmpretrain's
``CustomDataset`` and ``ImageNet``. Labels are positions among all classes in order, so those of the full data set.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mmssl_dynamic.datasets.image_folder import ImageFolder
from mmssl_dynamic.datasets.names import sample_names
from mmssl_dynamic.datasets.preparation.semantic_split import SemanticSplit, shared_ancestors, split_classes
from mmssl_dynamic.datasets.preparation.wordnet import WNID, WordNet
from mmssl_dynamic.errors import DataError
from mmssl_dynamic.outputs import check_output_folder
from mmssl_dynamic.text_lists import read_lines
from mmssl_dynamic.writing import atomic_path, write_json


@dataclass(frozen=True)
class WrittenSplit:
    """A split and what was written of it: files, and the number of images by class if there are any."""

    split: SemanticSplit
    images: Mapping[str, int] | None
    files: tuple[Path, ...]


def split_folder(
    root: str | os.PathLike[str], wordnet: WordNet, out: str | os.PathLike[str], depth: int = 4
) -> WrittenSplit:
    """Split a folder of class folders; write ``subset_a.txt``, ``subset_b.txt`` and ``split.json``.

    Args:
        root: Holds a folder for every class, named by its WNID; images lie in it, or in folders in it.
        wordnet: The nouns.
        out: Folder to write into.
        depth: See :func:`~mmssl_dynamic.datasets.preparation.semantic_split.split_classes`.

    Raises:
        DataError: there are no images, or see :func:`~mmssl_dynamic.datasets.preparation.semantic_split.split_classes`.
    """
    check_output_folder(out)
    dataset = ImageFolder(data_root=os.fspath(root), with_label=True)
    names = sample_names(dataset)
    split = split_classes(wordnet, dataset.CLASSES, depth)
    images = Counter(_class_of(name) for name in names)
    files = {subset: Path(out) / f"subset_{subset}.txt" for subset in "ab"}
    labels = {wnid: label for label, wnid in enumerate(dataset.CLASSES)}
    with ExitStack() as stack:  # both lists get their names, or none
        lists = {}
        for subset, path in files.items():
            classes = set(split.classes(subset))
            lines = [f"{name} {labels[_class_of(name)]}\n" for name in names if _class_of(name) in classes]
            data = "".join(lines).encode("utf-8")
            lists[subset] = stack.enter_context(atomic_path(path, len(data)))
            lists[subset].write_bytes(data)
        check_lists(wordnet, lists["a"], lists["b"], depth, names)
    record = Path(out) / "split.json"
    write_json(record, _record(split, wordnet, images))
    return WrittenSplit(split, images, (*files.values(), record))


def split_class_list(
    path: str | os.PathLike[str], wordnet: WordNet, out: str | os.PathLike[str], depth: int = 4
) -> WrittenSplit:
    """Split the classes of a text file, a WNID in each line; write ``split.json``, as there are no images.

    Raises:
        DataError: the file is missing or is no text, a line has no WNID, or see
            :func:`~mmssl_dynamic.datasets.preparation.semantic_split.split_classes`.
    """
    check_output_folder(out)
    lines = read_lines(path, "list of classes", DataError)
    found = {number: WNID.search(line) for number, line in enumerate(lines, 1)}
    without = next((number for number, match in found.items() if match is None), None)
    if without is not None:
        raise DataError(f"line {without} of {path} names no WNID ('n' and 8 digits); correct it.")
    split = split_classes(wordnet, [match[0] for match in found.values() if match], depth)
    _refuse_shared(wordnet, split.classes("a"), split.classes("b"), depth)
    record = Path(out) / "split.json"
    write_json(record, _record(split, wordnet, None))
    return WrittenSplit(split, None, (record,))


def check_lists(
    wordnet: WordNet,
    first: str | os.PathLike[str],
    second: str | os.PathLike[str],
    depth: int,
    names: Sequence[str],
) -> None:
    """Read two lists back and check the classes of their images against WordNet.

    Args:
        wordnet: The nouns.
        first: A list.
        second: The other.
        depth: Of the split.
        names: All images, each of which must be in one of the lists, once.

    Raises:
        DataError: the lists share an ancestor at ``depth``, or do not hold all images once.
    """
    listed = [
        [line.rsplit(" ", 1)[0] for line in Path(path).read_text(encoding="utf-8").split("\n") if line]
        for path in (first, second)
    ]
    ours, theirs = ({_class_of(name) for name in part} for part in listed)
    _refuse_shared(wordnet, ours, theirs, depth)
    if sorted(listed[0] + listed[1]) != sorted(names):
        raise DataError(
            f"lists {first} and {second} do not hold each of the {len(names)} images once; write them anew."
        )


def _refuse_shared(wordnet: WordNet, first: Iterable[str], second: Iterable[str], depth: int) -> None:
    shared = shared_ancestors(wordnet, first, second, depth)
    if shared:
        ancestor, ours, theirs = shared[0]
        raise DataError(
            f"classes {ours} and {theirs} of different subsets are both {wordnet.words[ancestor][0]} at depth {depth} "
            f"({len(shared)} such ancestors); write the lists anew."
        )


def _class_of(name: str) -> str:
    return name.split("/", 1)[0]


def _record(split: SemanticSplit, wordnet: WordNet, images: Mapping[str, int] | None) -> dict[str, Any]:
    """What split.json holds."""

    def subset(key: str) -> dict[str, Any]:
        classes = split.classes(key)
        counted = {} if images is None else {"images": sum(images[wnid] for wnid in classes)}
        return {
            "num_classes": len(classes),
            **counted,
            "classes": {wnid: ", ".join(wordnet.words[wnid]) for wnid in classes},
        }

    return {
        "depth": split.depth,
        "root_depth": 0,
        "rule": "a component goes to Subset-B if more than half of its classes descend from organism, else to Subset-A",
        "shared_ancestors": 0,
        "subset_a": subset("a"),
        "subset_b": subset("b"),
        "components": [
            {
                "subset": part.subset,
                "num_classes": len(part.classes),
                "organisms": part.organisms,
                "ancestors": {
                    wnid: {"name": wordnet.words[wnid][0], "classes": count} for wnid, count in part.ancestors.items()
                },
                "classes": list(part.classes),
            }
            for part in split.components
        ],
    }
