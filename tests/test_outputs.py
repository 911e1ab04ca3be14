"""Outputs that cannot be written are refused before anything is computed, and the try leaves nothing behind."""

import os
from pathlib import Path

import pytest

from mmssl_dynamic.errors import ConfigError, OutputError
from mmssl_dynamic.outputs import check_output_file, check_output_folder


@pytest.fixture
def place(tmp_path) -> Path:
    (tmp_path / "file").write_text("text")
    (tmp_path / "folder").mkdir()
    (tmp_path / "broken").symlink_to(tmp_path / "nowhere" / "deep")
    (tmp_path / "link").symlink_to(tmp_path / "folder")
    (tmp_path / "results.json").mkdir()
    return tmp_path


def content(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


@pytest.mark.parametrize("name", ["new.npz", "file", "a/b/c/new.npz", "link/new.npz", "mit Leerzeichen, ü/f.npz"])
def test_a_file_that_can_be_written_passes_and_is_not_made(place, name):
    before = content(place)
    check_output_file(place / name)
    assert content(place) == before


@pytest.mark.parametrize("name", ["new", "folder", "link", "a/b/c", "folder/", "run.v2", "v1.0", "results.json"])
def test_so_does_a_folder(place, name):
    before = content(place)
    check_output_folder(f"{place}/{name}")
    assert content(place) == before


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("folder", "is a folder; give the name of the file"),
        ("file/new.npz", r"cannot be written: .*file is a file, not a folder"),
        ("file/a/b/new.npz", r"cannot be written: .*file is a file"),
        ("broken/new.npz", "is a link that leads nowhere"),
        ("n" * 300 + ".npz", "File name too long"),
    ],
)
def test_a_file_that_cannot_be_written_is_one_sentence(place, name, message):
    before = content(place)
    with pytest.raises(OutputError, match=message) as error:
        check_output_file(place / name)
    assert str(error.value).startswith(f"--out {place / name} ")
    assert "\n" not in str(error.value)
    assert content(place) == before


@pytest.mark.parametrize(("name", "message"), [("file", "it is a file"), ("file/x", "file is a file")])
def test_a_folder_below_a_file_is_refused(place, name, message):
    with pytest.raises(OutputError, match=rf"--work-dir .*{name} cannot be written: .*{message}, not a folder"):
        check_output_folder(place / name, "--work-dir")


def test_where_the_system_takes_no_files_is_told_with_its_reason(place):
    with pytest.raises(OutputError, match=r"--out /proc/c\.npz cannot be written \(.*permissions of /proc"):
        check_output_file("/proc/c.npz")
    if os.geteuid():  # the administrator may write anywhere
        (place / "folder").chmod(0o555)
        with pytest.raises(OutputError, match="Permission denied"):
            check_output_folder(place / "folder")


@pytest.mark.parametrize("name", ["F.npy", "clusters.npz", "net.pth", "bank.safetensors", "NET.ONNX", "a/new.json"])
def test_the_name_of_a_file_is_refused_where_a_folder_is_wanted(place, name):
    with pytest.raises(OutputError, match=rf"{name} has the name of a file; give the name of a folder, such as"):
        check_output_folder(place / name)


def test_a_folder_or_another_ending_is_refused_where_a_file_is_wanted(place):
    check_output_file(place / "F.npy", endings=(".npy",))
    with pytest.raises(OutputError, match="new/ is a folder; give the name of the file"):
        check_output_file(f"{place}/new/")
    with pytest.raises(ConfigError, match=r"--out .*net must end in \.pth or \.safetensors"):
        check_output_file(place / "net", endings=(".pth", ".safetensors"))
