"""Files that claim more than they hold are refused before anything is allocated, and pickles are named, not run."""

import argparse
import os
import pickle
import zipfile

import numpy as np
import pytest
import torch

from mmssl_dynamic.errors import ArtifactError
from mmssl_dynamic.file_checks import check_archive, check_torch_archive, existing_file, foreign_object


class Program:
    """Runs a command when it is unpickled."""

    def __reduce__(self):
        return os.system, ("exit 1",)


def test_only_regular_files_are_opened(tmp_path):
    os.mkfifo(tmp_path / "pipe.json")
    (tmp_path / "file").write_text("x")
    assert existing_file(tmp_path / "file", "list") == tmp_path / "file"
    for path, message in (
        (tmp_path / "missing", "does not exist; check the path"),
        (tmp_path / "file" / "below", "does not exist"),
        (tmp_path, "is a folder"),
        (tmp_path / "pipe.json", "is a device or a pipe"),
        ("/dev/zero", "is a device or a pipe"),
        (tmp_path / ("n" * 300), "cannot be opened"),
    ):
        with pytest.raises(ArtifactError, match=message):
            existing_file(path, "list")


def zip_of(path, size, method=zipfile.ZIP_DEFLATED):
    with zipfile.ZipFile(path, "w", method) as archive, archive.open("zeros", "w", force_zip64=True) as entry:
        for _ in range(size // 2**20):
            entry.write(bytes(2**20))
    return path


def test_an_archive_that_unpacks_to_fifty_times_its_size_is_refused(tmp_path):
    with zipfile.ZipFile(zip_of(tmp_path / "small.zip", 8 * 2**20)) as archive:
        check_archive(archive, packed=True)
        with pytest.raises(ValueError, match="'zeros' is compressed, which PyTorch never does"):
            check_archive(archive, packed=False)
    bomb = zip_of(tmp_path / "bomb.zip", 80 * 2**20)
    with zipfile.ZipFile(bomb) as archive, pytest.raises(ValueError, match="more than 50 times"):
        check_archive(archive, packed=True)


def test_entries_larger_than_the_file_are_refused(tmp_path):
    path = zip_of(tmp_path / "a.zip", 2**20, zipfile.ZIP_STORED)
    data = bytearray(path.read_bytes())
    place = data.rfind(b"PK\x01\x02")
    for offset in (20, 24):  # compressed and real size in the directory
        data[place + offset : place + offset + 4] = (2**31 - 1).to_bytes(4, "little")
    path.write_bytes(data)
    with zipfile.ZipFile(path) as archive, pytest.raises(ValueError, match="larger than the file"):
        check_archive(archive, packed=True)


def test_what_torch_writes_passes(tmp_path):
    torch.save({"a": torch.zeros(3)}, tmp_path / "zip.pth")
    torch.save({"a": torch.zeros(3)}, tmp_path / "old.pth", _use_new_zipfile_serialization=False)
    for name in ("zip.pth", "old.pth"):
        check_torch_archive(tmp_path / name)
        assert foreign_object(tmp_path / name) is None


@pytest.mark.parametrize("protocol", [0, 1, 2, 3, 4, 5])
def test_the_object_that_a_pickle_would_run_is_named_without_running_it(tmp_path, protocol):
    (tmp_path / "a.pth").write_bytes(pickle.dumps({"weights": np.float64(1), "x": Program()}, protocol))
    assert foreign_object(tmp_path / "a.pth") in ("posix.system", "numpy._core.multiarray.scalar")
    (tmp_path / "b.pth").write_bytes(pickle.dumps(Program(), protocol))
    assert foreign_object(tmp_path / "b.pth") == "posix.system"


def test_the_object_in_a_file_of_torch_is_named(tmp_path):
    for new in (True, False):
        state = {"state_dict": {"a": torch.zeros(2)}, "args": argparse.Namespace(lr=1)}
        torch.save(state, tmp_path / "a.pth", _use_new_zipfile_serialization=new)
        assert foreign_object(tmp_path / "a.pth") == "argparse.Namespace"


def test_damaged_pickles_have_no_name(tmp_path):
    for content in (b"", b"hello", b"PK\x03\x04", pickle.dumps(Program())[:8]):
        (tmp_path / "a").write_bytes(content)
        assert foreign_object(tmp_path / "a") is None
