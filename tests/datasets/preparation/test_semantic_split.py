"""No class of one subset shares an ancestor at the depth with a class of the other, whatever the hierarchy."""

from __future__ import annotations

import random
import tarfile

import pytest

from mmssl_dynamic.datasets.preparation.semantic_split import describe, find_components, shared_ancestors, split_classes
from mmssl_dynamic.datasets.preparation.wordnet import WordNet, read_wordnet, usual_places
from mmssl_dynamic.errors import ConfigError, DataError
from tests.datasets.preparation.wordnet_files import wnid, write_nouns


@pytest.fixture(scope="module")
def nouns(tmp_path_factory):
    return read_wordnet(write_nouns(tmp_path_factory.mktemp("wordnet") / "data.noun"))


def ids(*names):
    return [wnid(name) for name in names]


def components(split):
    return {frozenset(part.classes): part.subset for part in split.components}


def test_classes_below_one_synset_go_together_and_organisms_to_b(nouns):
    split = split_classes(nouns, ids("dog", "oak", "hammer", "violin", "bread", "lakeside"))
    assert components(split) == {
        frozenset(ids("dog", "oak")): "b",
        frozenset(ids("hammer", "violin")): "a",
        frozenset(ids("bread")): "a",
        frozenset(ids("lakeside")): "a",
    }
    assert split.classes("b") == sorted(ids("dog", "oak"))
    assert [part.organisms for part in split.components if part.subset == "b"] == [2]


def test_a_class_of_two_kinds_joins_the_classes_of_both(nouns):
    split = split_classes(nouns, ids("dog", "hammer", "bread", "plate"))
    assert components(split) == {frozenset(ids("hammer", "bread", "plate")): "a", frozenset(ids("dog")): "b"}
    (part,) = (part for part in split.components if part.subset == "a")
    assert part.ancestors == {wnid("artifact"): 2, wnid("food"): 2}


def test_a_mixed_component_goes_where_most_of_its_classes_belong_and_a_tie_to_a(nouns):
    mixed = split_classes(nouns, ids("dog", "statue_of_a_dog", "hammer", "lakeside"))
    assert components(mixed)[frozenset(ids("dog", "statue_of_a_dog", "hammer"))] == "b"
    with pytest.raises(DataError, match="all 3 classes come to Subset-A"):  # two of four are no majority
        split_classes(nouns, ids("statue_of_a_dog", "hammer", "lakeside"))


def test_a_class_above_the_depth_is_on_its_own(nouns):
    split = split_classes(nouns, ids("lump", "cliff", "lakeside", "dog"))
    assert components(split) == {
        frozenset(ids(name)): "b" if name == "dog" else "a" for name in ("lump", "cliff", "lakeside", "dog")
    }


def test_the_order_and_repetition_of_classes_change_nothing(nouns):
    names = ids("dog", "oak", "hammer", "violin", "bread", "plate", "lakeside", "cliff")
    expected = split_classes(nouns, names)
    for seed in range(5):
        shuffled = [*names, names[0]]
        random.Random(seed).shuffle(shuffled)
        assert split_classes(nouns, shuffled) == expected


def test_the_check_finds_every_ancestor_that_two_sets_share(nouns):
    assert shared_ancestors(nouns, ids("dog", "oak"), ids("hammer", "bread"), 4) == []
    assert shared_ancestors(nouns, ids("dog", "bread"), ids("oak", "plate"), 4) == sorted(
        [
            (wnid("living_thing"), wnid("dog"), wnid("oak")),
            (wnid("food"), wnid("bread"), wnid("plate")),
        ]
    )
    assert shared_ancestors(nouns, ids("dog"), ids("hammer"), 3) == [(wnid("whole"), wnid("dog"), wnid("hammer"))]
    assert shared_ancestors(nouns, ids("lump"), ids("lump"), 4) == [(wnid("lump"),) * 3]


@pytest.mark.parametrize("seed", range(20))
def test_components_of_any_hierarchy_share_nothing_and_cannot_be_split_further(seed):
    rng = random.Random(seed)
    names = [f"n{index:08d}" for index in range(150)]
    kinds = (rng.choice((1, 1, 1, 2)) for _ in names)
    above = {
        name: tuple(rng.sample(names[max(0, index - 40) : index], min(index, count)))
        for index, (name, count) in enumerate(zip(names, kinds))
    }
    nouns = WordNet("", {name: (name,) for name in names}, above)
    classes = rng.sample(names, 40)
    found = find_components(nouns, classes, 4)
    assert sorted(wnid for part in found for wnid in part.classes) == sorted(classes)
    assert len(found) > 1
    for part in found:
        assert shared_ancestors(nouns, part.classes, set(classes) - set(part.classes), 4) == []
        for _ in range(5 * (len(part.classes) > 1)):
            some = rng.sample(part.classes, rng.randrange(1, len(part.classes)))
            assert shared_ancestors(nouns, some, set(part.classes) - set(some), 4)


@pytest.mark.parametrize(
    ("classes", "depth", "message"),
    [
        (ids("dog", "hammer"), 3, "at depth 3 all 2 classes come to Subset-A"),
        (ids("dog", "oak"), 4, "all 2 classes come to Subset-B"),
        ([*ids("dog", "hammer"), "n99999999"], 4, "n99999999 is not in .*data.noun; WNIDs are those of WordNet 3.0"),
        ([*ids("dog", "hammer"), "val"], 4, "class val is no WNID"),
        ([], 4, "all 0 classes"),
    ],
)
def test_classes_that_cannot_be_split_are_refused(nouns, classes, depth, message):
    with pytest.raises(DataError, match=message):
        split_classes(nouns, classes, depth)


def test_a_depth_at_or_above_the_root_is_refused(nouns):
    with pytest.raises(ConfigError, match="depth 0 must be at least 1"):
        split_classes(nouns, ids("dog", "hammer"), 0)


def test_another_release_of_wordnet_is_noticed_by_its_organism():
    other = WordNet("wn31/data.noun", {"n00000001": ("entity",)}, {"n00000001": ()})
    with pytest.raises(DataError, match="n00004475 is not in wn31/data.noun"):
        split_classes(other, ["n00000001"])


def test_the_description_names_sizes_kinds_and_images(nouns):
    split = split_classes(nouns, ids("dog", "oak", "hammer", "plate"))
    images = {wnid(name): 600 for name in ("dog", "oak", "hammer", "plate")}
    assert describe(split, nouns, images) == [
        "Subset-A: 2 classes, 1,200 images",
        "     2 classes, 0 organisms, below artifact 2, food 1: hammer, plate",
        "Subset-B: 2 classes, 1,200 images",
        "     2 classes, 2 organisms, below living thing 2: dog, oak",
    ]
    assert describe(split, nouns)[0] == "Subset-A: 2 classes"


def test_imagenets_classes_come_apart_into_590_and_410(shared_dir):
    archive = shared_dir / "data/pretrain/imagenet1k_one_per_class_112px.tar.gz"
    if not archive.is_file() or not any(place.is_file() for place in usual_places()):
        pytest.skip("no WordNet is installed, or ImageNet's classes are not at hand")
    with tarfile.open(archive) as members:
        lines = members.extractfile("classes.txt").read().decode().splitlines()
    classes = [line.split()[1] for line in lines if line.strip()]
    assert len(classes) == 1000
    nouns = read_wordnet()
    split = split_classes(nouns, classes)
    assert [len(split.classes(subset)) for subset in "ab"] == [590, 410]
    assert all(part.organisms in (0, len(part.classes)) for part in split.components)
    assert shared_ancestors(nouns, split.classes("a"), split.classes("b"), 4) == []
    with pytest.raises(DataError, match="come to Subset-A"):  # with the root at depth 1, four is what is three here
        split_classes(nouns, classes, 3)
