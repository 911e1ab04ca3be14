"""Headers of arrays are compared with their files before anything is allocated."""

import io
import resource
import zipfile

import numpy as np
import pytest

from mmssl_dynamic.arrays import ArrayKind, map_array, read_arrays

KINDS = {"a": ArrayKind("f", 2), "b": ArrayKind("iu", 1)}


def header(shape, descr="<f4"):
    buffer = io.BytesIO()
    np.lib.format.write_array_header_1_0(buffer, {"descr": descr, "fortran_order": False, "shape": shape})
    return buffer.getvalue()


def npz(path, **entries):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in entries.items():
            archive.writestr(f"{name}.npy", content)
    return path


def test_arrays_come_back_as_they_were(tmp_path):
    a, b = np.random.default_rng(0).random((3, 2)), np.asfortranarray(np.arange(4))
    for write in (np.savez, np.savez_compressed):
        write(tmp_path / "x.npz", a=a, b=b, other=np.zeros(3))
        found = read_arrays(tmp_path / "x.npz", KINDS)
        assert set(found) == {"a", "b"}
        assert np.array_equal(found["a"], a)
        assert np.array_equal(found["b"], b)
    np.save(tmp_path / "x.npy", a)
    assert np.array_equal(map_array(tmp_path / "x.npy", KINDS["a"]), a)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (header((10**6, 10**6)), "header tells of 4,000,000,000,000 bytes of values, and it has 0"),
        (header((10**30, 10**30)), "header tells"),
        (header((2, 2)) + bytes(12), "header tells of 16 bytes of values, and it has 12"),
        (header((2, 2)) + bytes(20), "header tells of 16 bytes of values, and it has 20"),
        (header((-1, -4)) + bytes(16), "it holds float32 of shape"),
        (header((2,)) + bytes(8), r"'a' is float32 of shape \(2,\)|'x.npy' is float32 of shape \(2,\)"),
        (header((1, 1), "|O") + bytes(8), "it holds object"),
        (header((1, 1), "<i4") + bytes(4), "is int32"),
        (b"", ""),
        (b"\x93NUMPY\x03\x00\x10\x00\x00\x00{}", "version"),
        (b"\x93NUMPY\x01\x00\xff\xff", ""),
    ],
)
def test_headers_that_do_not_fit_the_file_are_refused(tmp_path, content, message):
    with pytest.raises(ValueError, match=message):
        read_arrays(npz(tmp_path / "x.npz", a=content), KINDS)
    (tmp_path / "x.npy").write_bytes(content)
    with pytest.raises(ValueError, match=message):
        map_array(tmp_path / "x.npy", KINDS["a"])


def test_a_bomb_takes_no_memory(tmp_path):
    rows = 2**15
    path = tmp_path / "bomb.npz"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive, archive.open("a.npy", "w") as entry:
        entry.write(header((rows, 1024)))
        for _ in range(rows // 2**8):
            entry.write(bytes(2**20))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(ValueError, match="unpack to"):
        read_arrays(path, KINDS)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 20 * 1024  # KiB; the array has 128 MiB
