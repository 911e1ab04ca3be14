"""WordNet's database file is read as it is meant, wherever it lies, and a broken one is refused."""

from __future__ import annotations

import zipfile

import pytest

from mmssl_dynamic.datasets.preparation import wordnet as module
from mmssl_dynamic.datasets.preparation.wordnet import WordNet, read_wordnet, usual_places
from mmssl_dynamic.errors import DataError
from tests.datasets.preparation.wordnet_files import TREE, noun, wnid, write_nouns


@pytest.fixture
def file(tmp_path):
    return write_nouns(tmp_path / "wordnet" / "data.noun")


def test_words_and_hypernyms_are_those_of_the_lines(file):
    found = read_wordnet(file)
    assert found.hypernyms == {wnid(name): tuple(map(wnid, above)) for name, above in TREE.items()}
    assert found.words[wnid("statue_of_a_dog")] == ("statue of a dog",)
    assert wnid("oak") in found
    assert "n00000001" not in found
    assert set(found.hyponyms[wnid("food")]) == {wnid("bread"), wnid("plate")}


def test_the_number_of_words_is_hexadecimal_and_instances_are_kinds(tmp_path):
    words = tuple(f"word{index}" for index in range(16))
    (tmp_path / "data.noun").write_text(noun("entity", ()) + noun("dog", ("entity",), words, symbol="@i"))
    found = read_wordnet(tmp_path)
    assert found.words[wnid("dog")] == ("dog", *words)
    assert found.hypernyms[wnid("dog")] == (wnid("entity"),)


def test_the_file_its_folder_and_nltks_zip_hold_the_same(file):
    with zipfile.ZipFile(file.parent / "wordnet.zip", "w") as archive:
        archive.write(file, "wordnet/data.noun")
    expected = read_wordnet(file)
    for path in (file.parent, file.parent / "wordnet.zip"):
        found = read_wordnet(path)
        assert (found.words, found.hypernyms) == (expected.words, expected.hypernyms)


def test_the_first_usual_place_that_is_there_is_read(tmp_path, monkeypatch):
    monkeypatch.setenv("NLTK_DATA", str(tmp_path / "nltk"))
    monkeypatch.setenv("WNHOME", str(tmp_path / "WordNet"))
    monkeypatch.delenv("WNSEARCHDIR", raising=False)
    places = [place for place in usual_places() if tmp_path in place.parents]
    names = ["WordNet/dict/data.noun", "nltk/corpora/wordnet/data.noun", "nltk/corpora/wordnet.zip"]
    assert places == [tmp_path / name for name in names]
    monkeypatch.setattr(module, "usual_places", lambda: places)
    with pytest.raises(DataError, match="usual places; get WordNet 3.0 with `apt-get install wordnet-base`"):
        read_wordnet()
    write_nouns(places[1])
    assert read_wordnet().path == str(places[1])


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "holds no noun"),
        (noun("dog", ("organism",)), "names n00004475 and does not hold it"),
        ("some text\n", "line 1 of .* is no noun"),
        (noun("entity", ()) + noun("dog", ("entity",))[:40], "line 2 of .* is no noun"),
        (noun("entity", ()).replace(" n 01 ", " v 01 "), "line 1 of .* is no noun"),
    ],
)
def test_what_is_no_list_of_nouns_is_refused_in_one_sentence(tmp_path, content, message):
    (tmp_path / "data.noun").write_text(content)
    with pytest.raises(DataError, match=message):
        read_wordnet(tmp_path)


def test_a_missing_file_and_another_zip_are_refused(tmp_path):
    with pytest.raises(DataError, match="data.noun does not exist; get WordNet 3.0"):
        read_wordnet(tmp_path)
    with zipfile.ZipFile(tmp_path / "other.zip", "w") as archive:
        archive.writestr("readme", "nothing")
    with pytest.raises(DataError, match="other.zip cannot be read"):
        read_wordnet(tmp_path / "other.zip")


def test_depth_counts_steps_from_the_root_on_every_path(file):
    nouns = read_wordnet(file)
    four = {"living_thing", "artifact", "food", "shore", "cliff"}
    assert nouns.at_depth(0) == {wnid("entity")}
    assert nouns.at_depth(4) == {wnid(name) for name in four}
    assert nouns.at_depth(50) == set()
    paths = list(nouns.paths(wnid("plate")))
    assert sorted(path[4] for path in paths) == sorted([wnid("artifact"), wnid("food")])
    assert all(path[0] == wnid("entity") and path[-1] == wnid("plate") for path in paths)
    assert nouns.ancestors(wnid("plate")) == {one for path in paths for one in path}


def test_a_circle_of_hypernyms_ends():
    nouns = WordNet("", {"r": ("r",), "a": ("a",), "b": ("b",)}, {"r": (), "a": ("r", "b"), "b": ("a",)})
    assert nouns.ancestors("b") == {"r", "a", "b"}
    assert list(nouns.paths("b")) == [("r", "a", "b")]
    assert nouns.at_depth(3) == {"a"}


def test_offsets_of_the_real_file_are_imagenets_wnids():
    if not any(place.is_file() for place in usual_places()):
        pytest.skip("no WordNet is installed")
    nouns = read_wordnet()
    assert nouns.words["n01440764"] == ("tench", "Tinca tinca")
    assert nouns.words["n02084071"][0] == "dog"
    assert {nouns.words[one][0] for one in nouns.at_depth(0)} == {"entity"}
    assert {"living thing", "artifact"} <= {nouns.words[one][0] for one in nouns.at_depth(4)}
    assert "whole" in {nouns.words[one][0] for one in nouns.at_depth(3)}
