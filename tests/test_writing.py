import errno
import json
import os
import resource
import subprocess
import sys
from contextlib import contextmanager

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from mmssl_dynamic import writing
from mmssl_dynamic.errors import OutputError
from mmssl_dynamic.writing import (
    atomic_folder,
    atomic_path,
    save_safetensors,
    save_torch,
    write_bytes,
    write_json,
    write_stream,
    write_text,
)


@pytest.fixture(autouse=True)
def fresh_process():
    """As at the start of a process, which looks through every folder once."""
    writing._tidied.clear()


@contextmanager
def largest_file(size):
    """Files cannot grow beyond ``size`` bytes, as on a disk that is full."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def names(folder):
    return sorted(entry.name for entry in folder.iterdir())


def write_half(target, error=None):
    with atomic_path(target) as temporary:
        temporary.write_text("half")
        raise error or RuntimeError("no")


def write_half_a_folder(target):
    with atomic_folder(target) as folder:
        (folder / "a").mkdir()
        raise RuntimeError


def test_an_error_leaves_neither_a_new_file_nor_a_changed_one(tmp_path):
    target = tmp_path / "deep" / "file.txt"
    with pytest.raises(RuntimeError):
        write_half(target)
    assert names(target.parent) == []
    target.write_text("old")
    with pytest.raises(RuntimeError):
        write_half(target)
    assert target.read_text() == "old"
    with atomic_path(target) as temporary:
        assert temporary.suffix == ".txt"
        temporary.write_text("new")
    assert names(target.parent) == ["file.txt"]
    assert target.read_text() == "new"
    assert target.stat().st_mode & 0o777 == 0o666 & ~current_umask()


def current_umask():
    mask = os.umask(0)
    os.umask(mask)
    return mask


def test_a_folder_appears_with_all_it_holds_and_replaces_the_old_one(tmp_path):
    target = tmp_path / "images"
    with pytest.raises(RuntimeError):
        write_half_a_folder(target)
    assert names(tmp_path) == []
    for content in ("old", "new"):
        with atomic_folder(target) as folder:
            (folder / "sub").mkdir()
            (folder / "sub" / content).write_text(content)
    assert names(tmp_path) == ["images"]
    assert names(target / "sub") == ["new"]


def test_the_data_are_on_disk_before_the_name_is_given(tmp_path, monkeypatch):
    events = []
    fsync, replace = os.fsync, type(tmp_path).replace
    monkeypatch.setattr(os, "fsync", lambda fd: (events.append(os.readlink(f"/proc/self/fd/{fd}")), fsync(fd)))
    monkeypatch.setattr(type(tmp_path), "replace", lambda a, b: (events.append("rename"), replace(a, b))[1])
    write_text(tmp_path / "file.txt", "text")
    assert [event == "rename" for event in events] == [False, True, False]
    assert "/.file.txt." in events[0]
    assert events[2] == str(tmp_path)


KILLED = """
import os, signal, sys
from mmssl_dynamic.writing import atomic_folder, atomic_path
with {kind}({target!r}) as temporary:
    {write}
    os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.parametrize(
    ("kind", "write"), [("atomic_path", "temporary.write_text('half')"), ("atomic_folder", "(temporary / 'a').mkdir()")]
)
def test_the_next_run_removes_what_a_killed_one_left_but_not_what_a_living_one_writes(tmp_path, kind, write):
    code = KILLED.format(kind=kind, target=str(tmp_path / "file.txt"), write=write)
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode < 0
    left = names(tmp_path)
    assert len(left) == 1
    assert left[0].startswith(".file.txt.")
    (tmp_path / ".file.txt.swp").touch()  # not ours
    with atomic_path(tmp_path / "living.txt") as living:
        writing._tidied.clear()
        living.write_text("half")
        write_text(tmp_path / "other.txt", "text")
        assert living.exists()
    assert names(tmp_path) == [".file.txt.swp", "living.txt", "other.txt"]


WRITERS = {
    "bytes": lambda path: write_bytes(path, bytes(100_000)),
    "json": lambda path: write_json(path, ["x" * 1000] * 100),
    "torch": lambda path: save_torch({"w": torch.zeros(25_000)}, path),
    "safetensors": lambda path: save_safetensors({"w": torch.zeros(25_000)}, path),
    "npz": lambda path: write_stream(path, lambda stream: np.savez(stream, a=np.zeros(25_000, np.float32))),
}


@pytest.mark.parametrize("kind", WRITERS)
def test_no_room_is_one_sentence_with_the_size_and_leaves_the_old_file(tmp_path, kind):
    target = tmp_path / "file"
    target.write_text("old")
    with (
        largest_file(20_000),
        pytest.raises(OutputError, match=rf"no room for {target}: it takes 9\d\.\d KiB") as error,
    ):
        WRITERS[kind](target)
    assert "\n" not in str(error.value)
    assert names(tmp_path) == ["file"]
    assert target.read_text() == "old"


@pytest.mark.parametrize(
    "error",
    [
        OSError(errno.ENOSPC, "No space left on device"),
        OSError(errno.EDQUOT, "Disk quota exceeded"),
        OSError("25000 requested and 512 written"),  # NumPy
        RuntimeError("Error while serializing: I/O error: No space left on device (os error 28)"),  # safetensors
        RuntimeError("[enforce fail at inline_container.cc] . PytorchStreamWriter failed writing file data/0"),
    ],
)
def test_whatever_a_library_says_of_a_full_disk_the_room_left_is_named(tmp_path, error):
    with pytest.raises(OutputError, match=rf"no room for {tmp_path}/a: .* [GTM]iB are left on its disk"):
        write_half(tmp_path / "a", error)
    assert names(tmp_path) == []


def test_torch_save_into_a_file_that_cannot_grow_is_told_too(tmp_path):
    with largest_file(20_000), pytest.raises(OutputError, match="no room"), atomic_path(tmp_path / "a", 1) as temporary:
        torch.save({"w": torch.zeros(100_000)}, temporary)


def test_a_place_that_cannot_be_written_is_one_sentence(tmp_path):
    (tmp_path / "file").touch()
    (tmp_path / "folder").mkdir()
    for target in (tmp_path / "file" / "a.txt", tmp_path / "folder", tmp_path / ("x" * 300)):
        with pytest.raises(OutputError, match="cannot be written"):
            write_text(target, "text")


def test_json_knows_no_nan(tmp_path):
    def refuse(word):
        raise AssertionError(word)

    write_json(
        tmp_path / "a.json",
        {"x": [1.5, float("nan"), np.float64("inf")], "y": (float("-inf"), np.float32(0.5), np.int64(3))},
    )
    found = json.loads((tmp_path / "a.json").read_text(), parse_constant=refuse)
    assert found == {"x": [1.5, None, None], "y": [None, 0.5, 3]}


def test_safetensors_keep_tensors_and_metadata(tmp_path):
    save_safetensors({"w": torch.arange(3)}, tmp_path / "a.safetensors", {"k": "v"})
    assert torch.equal(load_file(tmp_path / "a.safetensors")["w"], torch.arange(3))
