"""A list names the same images however it is written."""

import pytest

from mmssl_dynamic.errors import ArtifactError
from mmssl_dynamic.text_lists import find_name, find_names, read_lines

NAMES = ["c0/i000.jpg", "c0/größe 1.jpg", "c1/a,b.jpg", "c1/x;y.jpg", "d.jpg"]
KNOWN = dict.fromkeys(NAMES)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be"])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_encodings_and_ends_of_lines_make_no_difference(tmp_path, encoding, end):
    text = end.join([*NAMES, "", "  "]) + end
    (tmp_path / "list.txt").write_bytes(text.encode(encoding))
    assert read_lines(tmp_path / "list.txt", "label list") == NAMES


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is empty"),
        (b"\n \r\n", "is empty"),
        (b"a.jpg\ngr\xf6\xdfe.jpg\n", r"no text in UTF-8 \(line 2 holds the byte 0xf6\)"),
        (b"\xff\xd8\xff\xe0\x00\x10JFIF", "no text in UTF-8"),
        (b"a.jpg\0b.jpg\0", "is no text"),
        (b"\xff\xfea", "no text in UTF-8"),
    ],
)
def test_what_is_no_list_is_refused(tmp_path, content, message):
    (tmp_path / "list.txt").write_bytes(content)
    with pytest.raises(ArtifactError, match=rf"label list .*list\.txt {message}|label list .* {message}"):
        read_lines(tmp_path / "list.txt", "label list")


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(
    "form",
    ["{}", "./{}", "/data/task/train/{}", '"{}"', "{};3", "{},3", "{}\t3", "{} 3", "'{}' ; 3", "{};", '"{}",3'],
)
def test_a_name_is_found_in_whatever_surrounds_it(name, form):
    assert find_name(form.format(name), KNOWN) == name
    assert find_name(form.format(name).replace("/", "\\"), KNOWN) == name
    assert find_name("C:\\pictures\\" + name.replace("/", "\\"), KNOWN) == name


def test_names_that_are_not_known_are_not_found():
    for line in ("i000.jpg", "c9/i000.jpg.bak", "c0", "3", "", "c0/i000"):
        assert find_name(line, KNOWN) is None
    assert find_names("c9/none.jpg;3", KNOWN) == []


def test_several_names_can_stand_on_a_line():
    assert find_names("c0/i000.jpg;d.jpg;", KNOWN) == ["c0/i000.jpg", "d.jpg"]
    assert find_names("c0\\i000.jpg ; .\\d.jpg", KNOWN) == ["c0/i000.jpg", "d.jpg"]
    assert find_names("c1/x;y.jpg", KNOWN) == ["c1/x;y.jpg"]
    assert find_names("d.jpg;3", KNOWN) == ["d.jpg"]
