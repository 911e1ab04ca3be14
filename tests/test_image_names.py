"""Names in one array are those names: the same letters, the same order, found where they stand."""

import numpy as np
import pytest

from mmssl_dynamic.errors import ArtifactError
from mmssl_dynamic.image_names import ImageNames

LATIN = b"caf\xe9.png".decode("utf-8", "surrogateescape")  # a name that is not UTF-8
NAMES = ["b/1.png", "ä/3 4.png", "", LATIN, "a" * 300, "b/10.png"]


def some(count, seed=0):
    """Different names of 1 to 40 letters, many with a common beginning."""
    rng = np.random.default_rng(seed)
    found = {"".join(rng.choice(list("ab/é"), rng.integers(1, 41))) for _ in range(2 * count)}
    return sorted(found)[:count]


@pytest.fixture(params=["strings", "lines"])
def names(request):
    text = "\n".join(NAMES).encode("utf-8", "surrogateescape")
    return ImageNames.of(NAMES) if request.param == "strings" else ImageNames.from_lines(text)


def test_they_are_read_like_a_list(names):
    assert list(names) == NAMES
    assert [names[i] for i in range(-6, 6)] == NAMES * 2
    assert names[np.int64(2)] == ""
    assert len(names) == 6
    assert names[1:4] == NAMES[1:4]
    assert names[::-2] == NAMES[::-2]
    assert names.take([5, 0, 0]) == ["b/10.png", "b/1.png", "b/1.png"]
    assert LATIN in names
    with pytest.raises(IndexError):
        names[6]


def test_they_equal_the_same_names_and_no_others(names):
    assert names == NAMES
    assert NAMES == names  # noqa: SIM300  a list asks the other side
    assert names == ImageNames.of(NAMES) == ImageNames.from_lines(names.lines())
    for other in (NAMES[:-1], [*NAMES[:-1], "b/11.png"], ["b/1.pn", "gä/3 4.png", *NAMES[2:]]):
        assert names != ImageNames.of(other)
        assert names != other


def test_a_line_break_in_a_name_is_refused_where_lines_are_made():
    with pytest.raises(ArtifactError, match=r"image name 'a\\nb' holds a line break"):
        ImageNames.of(["c", "a\nb"]).lines()


@pytest.fixture(params=[False, True], ids=["keys", "equal keys"])
def keys(request, monkeypatch):
    """Whether different names have the same key, as hardly ever happens."""
    if request.param:
        own = ImageNames._keys
        monkeypatch.setattr(ImageNames, "_keys", lambda names: own(names) % np.uint64(3))


@pytest.mark.usefixtures("keys")
def test_they_are_found_where_they_stand_and_others_are_not():
    listed = some(500)
    order = np.random.default_rng(1).permutation(500)
    shuffled = ImageNames.of(listed[i] for i in order)
    assert ImageNames.of(listed).find(shuffled).tolist() == order.tolist()
    assert ImageNames.of(listed).find(listed).tolist() == list(range(500))
    others = [name + "x" for name in listed[:5]] + listed[40:42] + [listed[7] + "b" * 100]
    expected = [listed.index(name) if name in listed else -1 for name in others]
    assert ImageNames.of(listed).find(others).tolist() == expected
    assert ImageNames.of([]).find(["a"]).tolist() == [-1]
    assert ImageNames.of(["a"]).find([]).tolist() == []


@pytest.mark.usefixtures("keys")
def test_a_name_that_stands_there_twice_is_told():
    listed = some(200)
    assert ImageNames.of(listed).twice() is None
    assert ImageNames.of([*listed, listed[30], listed[2]]).twice() == listed[30]


def test_different_names_have_different_keys_however_long_their_neighbours_are():
    listed = some(2000)
    keys = ImageNames.of(listed)._keys()
    assert len(set(keys.tolist())) == 2000
    beside = ImageNames.of([*listed, "z" * 5000])._keys()
    assert np.array_equal(beside[:-1], keys)


def test_a_million_names_take_their_letters_and_four_bytes_each():
    names = ImageNames.of(f"n{i // 1000:08d}/{i:08d}.JPEG" for i in range(1000))
    assert names.nbytes == 1000 * (len("n00000000/00000000.JPEG") + 4)
