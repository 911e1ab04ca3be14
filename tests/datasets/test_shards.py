"""A folder of shards is the folder that it was made of: names, labels, pixels, clusters, draws and fingerprints."""

import os
import shutil
import tarfile
import warnings

import pytest
import torch

from mmssl_dynamic.commands.registry import run_verb
from mmssl_dynamic.datasets import ImageBatches, build_dataset
from mmssl_dynamic.datasets.fingerprint import images_record
from mmssl_dynamic.datasets.names import sample_names
from mmssl_dynamic.datasets.packed_folders import count_images, open_packed
from mmssl_dynamic.datasets.preparation import verify_images
from mmssl_dynamic.datasets.shards import ShardIndex, write_shards
from mmssl_dynamic.errors import ArtifactError, DataError, OutputError, UserNotice
from tests.datasets.same_images import (
    NORMALISATION,
    assert_an_unreadable_image_is_named,
    assert_found_by_name,
    assert_same_draws,
    assert_same_samples,
    config,
    write_folder,
)
from tests.helpers import write_images


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_folder(tmp_path_factory.mktemp("folder"))


@pytest.fixture(scope="module")
def shards(folder, tmp_path_factory):
    """Three of them: an image of noise has 3 kB, and a shard is closed after one megabyte."""
    out = tmp_path_factory.mktemp("shards")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("mmssl_dynamic.datasets.shards._MEGABYTE", 60_000)
        run_verb("data make-shards", [str(folder), "--out", str(out), "--megabytes", "1", "--no-progress"])
    assert len(list(out.glob("*.tar"))) > 2
    return out


@pytest.mark.parametrize("options", [{}, {"with_label": False}, {"indices": 7}, {"indices": -3}, {"indices": [9, 2]}])
def test_samples_are_those_of_the_folder(folder, shards, options):
    one, two = build_dataset(config(folder, **options)), build_dataset(config(shards, **options))
    assert_same_samples(one, two, workers=0)
    assert one.get_data_info(1)["sample_idx"] == two.get_data_info(1)["sample_idx"] == 1


def test_images_are_found_by_name(folder, shards):
    assert_found_by_name(folder, shards)


def test_it_is_said_when_images_in_files_beside_packed_ones_are_left_out(shards, tmp_path):
    both = shutil.copytree(shards, tmp_path / "both")
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserNotice)
        count = len(open_packed(both))
    write_images(both / "photos", 2)
    with pytest.warns(
        UserNotice, match=rf"both only the {count} images .* no files such as photos/class_\d/000\d\.png"
    ):
        assert count_images(both) == count


def test_a_tar_file_without_images_beside_images_in_files_is_to_be_moved(tmp_path):
    write_images(tmp_path / "photos", 2)
    (tmp_path / "note.txt").write_text("no image")
    with tarfile.open(tmp_path / "notes.tar", "w") as archive:
        archive.add(tmp_path / "note.txt", "note.txt")
    with pytest.raises(
        DataError, match=r"hold no image; correct data_root; or move .* files such as photos/class_\d/000"
    ):
        open_packed(tmp_path)
    shutil.rmtree(tmp_path / "photos")
    with pytest.raises(DataError, match=r"hold no image; correct data_root\.$"):
        open_packed(tmp_path)


def test_an_unreadable_image_is_named(tmp_path):
    assert_an_unreadable_image_is_named(
        lambda root, out: list(write_shards(root, out)), tmp_path, r"{root}/000000\.tar"
    )


def test_images_of_a_shard_that_is_cut_off_are_named(folder, tmp_path):
    list(write_shards(folder, tmp_path / "shards"))
    index, file = ShardIndex.open(tmp_path / "shards"), tmp_path / "shards/000000.tar"
    last = max(index.place(position).offset for position in range(len(index)))
    os.truncate(file, last + 10)
    report = verify_images(index, 2, progress=False)
    ((name, problem),) = report.unreadable
    assert name == f"{index.name(int(index.as_stored()[-1]))} in {file}"
    assert problem == (f"image {name} is lost: shard {file} is cut off; copy it again, and remove index/ beside it.")


def test_loader_processes_read_them_too(shards):
    plain, workers = (
        [batch.images for batch in ImageBatches(build_dataset(config(shards)), NORMALISATION, 16, num_workers=count)]
        for count in (0, 1)
    )
    assert all(map(torch.equal, plain, workers))


def test_clusters_and_draws_are_those_of_the_folder(folder, shards, tmp_path):
    assert_same_draws(folder, shards, tmp_path)


@pytest.mark.parametrize("indices", [None, 3, [5, 1, 2]])
def test_names_are_those_of_the_folder_and_come_from_the_index_alone(folder, shards, monkeypatch, indices):
    options = {} if indices is None else {"indices": indices}
    expected = sample_names(build_dataset(config(folder, **options)))
    packed = build_dataset(config(shards, **options))
    monkeypatch.setattr(type(packed), "get_data_info", lambda *_: pytest.fail("looked at an image"))
    assert sample_names(packed) == expected


def test_the_listing_is_the_folders_and_the_state_changes_with_a_shard(folder, shards, tmp_path):
    record = images_record(build_dataset(config(shards)))
    assert record.listing == images_record(build_dataset(config(folder))).listing
    copy = tmp_path / "copy"
    shutil.copytree(shards, copy)
    shard = next(copy.glob("*.tar"))
    shard.touch()
    other = images_record(build_dataset(config(copy)))
    assert other.listing == record.listing
    assert other.state != record.state


def test_an_index_is_made_once_and_anew_for_other_shards(shards, tmp_path, monkeypatch):
    copy = tmp_path / "copy"
    shutil.copytree(shards, copy, ignore=shutil.ignore_patterns("index"))
    scans = []
    monkeypatch.setattr(tarfile, "open", lambda *a, original=tarfile.open, **k: scans.append(a) or original(*a, **k))
    names = [ShardIndex.open(copy).name(i) for i in range(5)]
    count = len(scans)
    assert count == len(list(copy.glob("*.tar")))
    assert [ShardIndex.open(copy).name(i) for i in range(5)] == names
    assert len(scans) == count
    sorted(copy.glob("*.tar"))[-1].unlink()
    assert len(ShardIndex.open(copy)) < len(ShardIndex.open(shards))
    assert len(scans) == 2 * count - 1


def test_what_cannot_be_read_is_named(shards, tmp_path):
    copy = tmp_path / "copy"
    shutil.copytree(shards, copy)
    (copy / "index/offsets.npy").write_bytes(b"nothing")
    with pytest.raises(ArtifactError, match="the index .* is damaged"):
        ShardIndex.open(copy)
    shutil.rmtree(copy / "index")
    dataset = build_dataset(config(copy))
    first = sorted(copy.glob("*.tar"))[0]
    first.write_bytes(first.read_bytes()[:1024])
    with pytest.raises(DataError, match="is cut off"):
        dataset[0]
    first.write_bytes(b"no tar file at all" * 100)
    with pytest.raises(DataError, match="000000.tar cannot be read"):
        ShardIndex.open(copy)
    empty = tmp_path / "empty"
    empty.mkdir()
    with tarfile.open(empty / "0.tar", "w"):
        pass
    with pytest.raises(DataError, match="hold no image"):
        build_dataset(config(empty))
    twice = tmp_path / "twice"
    twice.mkdir()
    for name in ("a.tar", "b.tar"):
        shutil.copy(sorted(shards.glob("*.tar"))[0], twice / name)
    with pytest.raises(DataError, match="hold the image class_0/0000.png twice"):
        build_dataset(config(twice))


def test_shards_of_an_earlier_run_do_not_become_part_of_the_data_set(folder, shards):
    before = {file.name: file.read_bytes() for file in shards.glob("*.tar")}
    with pytest.raises(OutputError, match=r"holds shards already \(000000\.tar\); give another folder, or remove"):
        run_verb("data make-shards", [str(folder), "--out", str(shards), "--no-progress"])
    assert {file.name: file.read_bytes() for file in shards.glob("*.tar")} == before


def test_shards_of_a_run_that_was_stopped_are_no_data_set(folder, shards, tmp_path, monkeypatch):
    monkeypatch.setattr("mmssl_dynamic.datasets.shards._MEGABYTE", 60_000)
    stopped = write_shards(folder, tmp_path / "s", megabytes=1)
    for _ in range(30):  # of 42 images: the first shard is whole
        next(stopped)
    stopped.close()
    assert len(list((tmp_path / "s").glob("*.tar.part"))) == 1
    with pytest.raises(DataError, match="holds no image, only other files"):
        build_dataset(config(tmp_path / "s"))
    shutil.copy(shards / "000000.tar", tmp_path / "s/000007.tar")  # stopped while they got their names
    with pytest.raises(DataError, match=r"are not finished \(000000\.tar\.part\), so images would be missing"):
        build_dataset(config(tmp_path / "s"))
    (tmp_path / "s/000007.tar").unlink()
    assert sum(write_shards(folder, tmp_path / "s", megabytes=1)) == 42
    assert sample_names(build_dataset(config(tmp_path / "s"))) == sample_names(build_dataset(config(shards)))
    assert not list((tmp_path / "s").glob("*.part"))
