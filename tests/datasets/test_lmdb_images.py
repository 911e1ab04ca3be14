"""An LMDB is the folder that it was made of: names, labels, pixels, clusters, draws and fingerprints."""

import os
import sys

import pytest
import torch

from mmssl_dynamic.datasets import (
    build_dataset,
    lmdb_images,
)
from mmssl_dynamic.datasets.fingerprint import images_record
from mmssl_dynamic.datasets.names import image_names, sample_names
from mmssl_dynamic.downstream.folders import labelled_folders
from mmssl_dynamic.errors import ConfigError, DataError
from tests.datasets.same_images import (
    assert_an_unreadable_image_is_named,
    assert_found_by_name,
    assert_same_draws,
    assert_same_samples,
    config,
    write_folder,
)
from tests.helpers import touch, write_images

lmdb = pytest.importorskip("lmdb")


def write(out, contents):
    with lmdb.open(str(out), map_size=2**24) as environment, environment.begin(write=True) as transaction:
        for name, data in contents.items():
            transaction.put(name.encode(), data)


def packed(root, out):
    files = {path.relative_to(root).as_posix(): path.read_bytes() for path in root.rglob("*.*")}
    write(out, files)
    return out


@pytest.fixture(autouse=True)
def _close():
    yield
    for environment in lmdb_images._opened.values():
        environment.close()
    lmdb_images._opened.clear()


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_folder(tmp_path_factory.mktemp("folder"))


@pytest.fixture(scope="module")
def database(folder, tmp_path_factory):
    return packed(folder, tmp_path_factory.mktemp("packed") / "images")


def test_images_are_found_by_name(folder, database):
    assert_found_by_name(folder, database)


def test_an_unreadable_image_is_named(tmp_path):
    assert_an_unreadable_image_is_named(packed, tmp_path, "{root}")


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("options", [{}, {"with_label": False}, {"indices": [9, 2, 30]}])
def test_samples_are_those_of_the_folder(folder, database, options, workers):
    one, two = build_dataset(config(folder, **options)), build_dataset(config(database, **options))
    two.get_data_info(0)["shard"].read()  # opened before loader processes are forked
    assert_same_samples(one, two, workers)


def test_clusters_and_draws_are_those_of_the_folder(folder, database, tmp_path):
    assert_same_draws(folder, database, tmp_path)


@pytest.mark.parametrize("indices", [7, -3, [30, 2, 30]])
def test_parts_of_the_data_set_are_those_of_the_folder(folder, database, indices):
    files, images = (build_dataset(config(root)) for root in (folder, database))
    wanted, found = files.get_subset(indices), images.get_subset(indices)
    assert list(image_names(found)) == list(image_names(wanted))
    labels = [[part.get_data_info(i)["gt_label"] for i in range(len(part))] for part in (wanted, found)]
    assert labels[0] == labels[1]
    assert torch.equal(found[1]["inputs"], wanted[1]["inputs"])
    assert len(images) == len(files)  # they stay as they are
    images.get_subset_([4, 5, 6])
    images.get_subset_([2, 0])
    files.get_subset_([6, 4])
    assert list(sample_names(images)) == list(sample_names(files))


def test_the_listing_is_the_folders_and_the_state_changes_with_the_file(folder, database):
    one, two = (images_record(build_dataset(config(root))) for root in (folder, database))
    assert one.listing == two.listing
    assert one.record() == two.record()
    touch(database / "data.mdb")
    assert images_record(build_dataset(config(database))).state != two.state


def test_parts_of_a_task_are_found(tmp_path):
    (tmp_path / "task").mkdir()
    for part in ("train", "test"):
        packed(write_images(tmp_path / "files" / part, 6, classes=2), tmp_path / "task" / part)
    folders, classes = labelled_folders(tmp_path / "task")
    assert (sorted(folders), classes) == (["test", "train"], ("class_0", "class_1"))


def test_what_cannot_be_read_is_one_sentence(database, tmp_path, monkeypatch):
    write(tmp_path / "empty", {"note.txt": b"no image"})
    with pytest.raises(DataError, match=r"LMDB .*empty holds no key that ends as an image file; correct data_root"):
        len(build_dataset(config(tmp_path / "empty")))
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken/data.mdb").write_bytes(os.urandom(10_000))
    with pytest.raises(DataError, match=r"LMDB .*broken cannot be read \(.*\); copy it again"):
        len(build_dataset(config(tmp_path / "broken")))
    write(tmp_path / "odd", {"a\nb.png": b""})
    with pytest.raises(DataError, match=r"key 'a\\nb.png' is no line of text"):
        len(build_dataset(config(tmp_path / "odd")))
    with pytest.raises(DataError, match=r"has lost image other.png"):
        lmdb_images.LmdbPlace(str(database), "other.png").read()
    monkeypatch.setitem(sys.modules, "lmdb", None)  # as if it were not installed
    with pytest.raises(
        ConfigError, match=r"is an LMDB, and the package .* run `pip install 'mmssl-dynamic\[lmdb\]'`\."
    ):
        len(build_dataset(config(database)))
