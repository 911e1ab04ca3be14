"""A Hugging Face data set is the folder it was made of: names, labels, pixels, clusters, draws and fingerprints."""

import json
import sys

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader, Dataset

from mmssl_dynamic.datasets import (
    build_dataset,
    table_files,
)
from mmssl_dynamic.datasets.fingerprint import images_record
from mmssl_dynamic.datasets.names import sample_names
from mmssl_dynamic.datasets.packed_folders import open_packed
from mmssl_dynamic.downstream.folders import labelled_folders
from mmssl_dynamic.errors import ConfigError, DataError
from tests.datasets.same_images import (
    assert_an_unreadable_image_is_named,
    assert_found_by_name,
    assert_same_draws,
    assert_same_samples,
    config,
)
from tests.helpers import touch, write_images

pa = pytest.importorskip("pyarrow")
pq = pytest.importorskip("pyarrow.parquet")
# In another order than that of the names, and with one that no image has.
CLASSES = ["class_3", "class_1-b", "class_0", "class_7", "class_2", "class_1"]
KINDS = ["parquet", "arrow"]


def table(paths, contents, labels=None, classes=None, image="image"):
    """As Hugging Face's package writes it."""
    images = [{"bytes": content, "path": path} for path, content in zip(paths, contents)]
    kind = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    columns, features = {image: pa.array(images, kind)}, {image: {"_type": "Image"}}
    if labels is not None:
        columns["label"], features["label"] = pa.array(labels, pa.int64()), {"names": classes, "_type": "ClassLabel"}
    about = json.dumps({"info": {"features": features}})
    return pa.table(columns).replace_schema_metadata({"huggingface": about})


def write(rows, out, kind, files=2, group=5):
    """A data set in several files, and of several row groups or batches in each."""
    out.mkdir(parents=True)
    share, names = -(-len(rows) // files), []
    for number in range(files):
        part = rows.slice(number * share, share)
        names.append(f"{'train' if kind == 'parquet' else 'data'}-{number:05d}-of-{files:05d}.{kind}")
        if kind == "parquet":
            pq.write_table(part, out / names[-1], row_group_size=group)
            continue
        with pa.OSFile(str(out / names[-1]), "wb") as sink, pa.ipc.new_stream(sink, part.schema) as stream:
            stream.write_table(part, max_chunksize=group)
    if kind == "arrow":
        (out / "state.json").write_text(json.dumps({"_data_files": [{"filename": name} for name in names]}))
    return out


def packed(root, out, kind, whole_paths=False):
    """A folder as ``imagefolder`` has it: of paths their end, and of folders labels; or whole paths alone. Shuffled."""
    files = sorted(root.rglob("*.png"))
    files = [files[index] for index in np.random.default_rng(1).permutation(len(files))]
    contents = [path.read_bytes() for path in files]
    if whole_paths:
        return write(table([path.relative_to(root).as_posix() for path in files], contents), out, kind)
    labels = [CLASSES.index(path.parent.name) for path in files]
    return write(table([path.name for path in files], contents, labels, CLASSES), out, kind)


@pytest.fixture(autouse=True)
def _close():
    yield
    table_files._opened.cache_clear()
    table_files._groups.clear()


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    root = write_images(tmp_path_factory.mktemp("folder"), 40)
    (root / "class_1-b").mkdir()
    (root / "class_1-b/0001.png").write_bytes((root / "class_0/0000.png").read_bytes())  # a path of class_1, too
    (root / "class_1/ünïcode.png").write_bytes((root / "class_1/0001.png").read_bytes())
    return root


@pytest.fixture(scope="module", params=[(kind, whole) for kind in KINDS for whole in (False, True)], ids=str)
def database(request, folder, tmp_path_factory):
    return packed(folder, tmp_path_factory.mktemp("packed") / "images", *request.param)


@pytest.mark.parametrize("options", [{}, {"with_label": False}, {"indices": [9, 2, 30]}], ids=str)
def test_samples_are_those_of_the_folder(folder, database, options):
    one, two = build_dataset(config(folder, **options)), build_dataset(config(database, **options))
    two.get_data_info(0)["shard"].read()  # opened before loader processes are forked
    assert_same_samples(one, two, workers=2)


def test_images_are_found_by_name(folder, database):
    assert_found_by_name(folder, database)


@pytest.mark.parametrize("kind", KINDS)
def test_an_unreadable_image_is_named(tmp_path, kind):
    def pack(root, out):
        packed(root, out, kind)

    assert_an_unreadable_image_is_named(pack, tmp_path, rf"row \d of {{root}}/\w+-0000\d-of-00002\.{kind}")


def test_clusters_and_draws_are_those_of_the_folder(folder, database, tmp_path):
    assert_same_draws(folder, database, tmp_path)


def test_the_listing_is_the_folders_and_the_state_changes_with_a_file(folder, database):
    one, two = (images_record(build_dataset(config(root))) for root in (folder, database))
    assert one.listing == two.listing
    assert one.record() == two.record()
    touch(next(path for path in database.iterdir() if "00001-of" in path.name))
    assert images_record(build_dataset(config(database))).state != two.state


class Contents(Dataset):
    def __init__(self, dataset):
        self.dataset = dataset

    def __len__(self):
        return 6

    def __getitem__(self, index):
        return self.dataset.get_data_info(index)["shard"].read()


def test_spawned_processes_open_files_of_their_own(folder, tmp_path):
    for kind in KINDS:
        packed(folder, tmp_path / kind, kind)
    parts = [build_dataset(config(tmp_path / kind)) for kind in KINDS]
    expected = [(folder / name).read_bytes() for name in sample_names(build_dataset(config(folder)))[:6]] * 2
    both = torch.utils.data.ConcatDataset([Contents(part) for part in parts])
    assert both[0] == expected[0]  # opened here, too
    loader = DataLoader(both, batch_size=None, num_workers=1, multiprocessing_context="spawn")
    assert list(loader) == expected


@pytest.mark.parametrize("kind", KINDS)
def test_rows_without_a_path_of_their_own_are_named_by_file_and_row(tmp_path, kind):
    paths = ["image.jpg", None, "/home/me/pets/only.jpg", "image.jpg", "", "./deep/er/image.jpg"]
    contents = [bytes([number]) for number in range(6)]
    stem = "train" if kind == "parquet" else "data"
    plain = open_packed(write(table(paths, contents), tmp_path / "plain", kind))
    first, second = f"{stem}-00000-of-00002", f"{stem}-00001-of-00002"
    expected = {f"{first}/00000000": 0, f"{first}/00000001": 1, "only.jpg": 2, f"{second}/00000000": 3}
    expected |= {f"{second}/00000001": 4, "deep/er/image.jpg": 5}
    assert list(plain.image_names) == sorted(expected)
    assert {name: plain.place(i).read()[0] for i, name in enumerate(plain.image_names)} == expected

    labelled = open_packed(write(table(paths, contents, [1, 1, 0, 0, None, -1], ["b", "a"]), tmp_path / "two", kind))
    expected = {"a/image.jpg": 0, f"a/{first}/00000001": 1, "b/only.jpg": 2, "b/image.jpg": 3}
    expected |= {f"{second}/00000001": 4, "deep/er/image.jpg": 5}
    assert {name: labelled.place(i).read()[0] for i, name in enumerate(labelled.image_names)} == expected
    classes, which = labelled.folders
    found = {name: which[i] for i, name in enumerate(labelled.image_names)}
    assert classes == ["a", "b"]
    assert [found[name] for name in expected] == [0, 0, 1, 1, -1, -1]  # the last two have no label


def test_a_class_is_its_label_wherever_the_path_has_it(tmp_path):
    rows = table(["train/x/1.png", "train/x/2.png"], [b"1", b"2"], [0, 1], ["/a/abbey", "x"])
    index = open_packed(write(rows, tmp_path / "set", "parquet"))
    classes, which = index.folders
    assert (list(index.image_names), classes, which.tolist()) == (
        ["train/x/1.png", "train/x/2.png"],
        ["/a/abbey", "x"],
        [0, 1],
    )


def test_row_groups_are_read_once_as_long_as_they_are_held_and_then_given_up(folder, tmp_path, monkeypatch):
    index = open_packed(packed(folder, tmp_path / "set", "parquet"))
    read, places = [], sorted((index.place(i) for i in range(len(index))), key=lambda place: (place.file, place.row))
    group = table_files.ParquetFile._group
    monkeypatch.setattr(table_files.ParquetFile, "_group", lambda self, i: (read.append(i), group(self, i))[1])
    for place in places[:15] + places[:15]:
        place.read()
    assert read == [0, 1, 2]
    held = sum(size for _, size in table_files._groups.values())
    monkeypatch.setattr(table_files, "_BYTES_HELD", held - 1)
    for place in (places[16], places[0], places[16]):
        place.read()
    assert read == [0, 1, 2, 3, 0]
    assert len(table_files._groups) <= 3


def test_parts_of_a_task_are_found_and_splits_are_not_mixed(tmp_path):
    for kind in KINDS:
        for part in ("train", "test"):
            packed(write_images(tmp_path / "files" / kind / part, 6, classes=2), tmp_path / kind / part, kind)
        folders, classes = labelled_folders(tmp_path / kind)
        assert (sorted(folders), classes) == (["test", "train"], ("class_0", "class_1"))
    (tmp_path / "arrow/dataset_dict.json").write_text('{"splits": ["train", "test"]}')
    with pytest.raises(DataError, match=r"arrow holds the splits test, train; give one of them as data_root\."):
        len(build_dataset(config(tmp_path / "arrow")))
    for file in (tmp_path / "parquet/test").iterdir():
        file.rename(tmp_path / "parquet/train" / file.name.replace("train", "test"))
    with pytest.raises(DataError, match=r"train holds the splits test, train; move the files of each into a folder"):
        len(build_dataset(config(tmp_path / "parquet/train")))


def test_a_table_beside_images_and_arrow_files_of_other_runs_are_left_out(folder, tmp_path):
    write_images(tmp_path / "images", 4)
    pq.write_table(pa.table({"file_name": ["class_0/0000.png"]}), tmp_path / "images/metadata.parquet")
    assert len(build_dataset(config(tmp_path / "images"))) == 4
    saved = packed(folder, tmp_path / "saved", "arrow")
    (saved / "cache-0123.arrow").write_bytes(b"of a map()")
    assert len(build_dataset(config(saved))) == 42
    (saved / "data-00001-of-00002.arrow").unlink()
    with pytest.raises(DataError, match=r"saved has lost its file data-00001-of-00002\.arrow; copy it again\."):
        len(build_dataset(config(saved)))


@pytest.mark.parametrize("kind", KINDS)
def test_what_cannot_be_read_is_one_sentence(tmp_path, kind, monkeypatch):
    def refused(name, rows, match, error=DataError):
        with pytest.raises(error, match=match):
            len(build_dataset(config(write(rows, tmp_path / name, kind, files=1))))

    refused("text", pa.table({"text": ["a"], "label": [1]}), r"has no column of images, .*\(its columns: text, label\)")
    both = table(["a"], [b"a"], image="left").append_column("right", table(["a"], [b"a"])["image"])
    refused("both", both, r"has several columns of images \(left, right\); name the one to take image\.")
    refused("rows", table([], []), r"the tables in .*rows hold no row; correct data_root\.")
    refused("line", table(["a\u2028b.png"], [b""]), r"image name 'a\\u2028b.png' is no line of text; rename it\.")
    refused("label", table(["a"], [b"a"], [2], ["x", "y"]), r"has label 2, and names of 2 classes")
    place = open_packed(write(table(["/data/a.png"], [None]), tmp_path / "path", kind, files=1)).place(0)
    assert place.size == 0
    with pytest.raises(DataError, match=r"row 0 of .* has no bytes of an image, only a path at most; write the data"):
        place.read()

    file = next(path for path in (tmp_path / "path").iterdir() if path.suffix != ".json")
    for broken in (b"", file.read_bytes()[: file.stat().st_size // 2], b"\xff" * 500):
        file.write_bytes(broken)
        table_files._opened.cache_clear()
        with pytest.raises(DataError, match=rf"{file.name} cannot be read \(.*\); copy it again\."):
            len(build_dataset(config(tmp_path / "path")))
    whole = write(table(["a.png"], [b"a"]), tmp_path / "column", kind, files=1) / file.name
    whole.write_bytes(whole.read_bytes().replace(b"bytes", b"byte\xff"))  # a name that is no text
    with pytest.raises(DataError, match=rf"{file.name} cannot be read \(.*\); copy it again\."):
        len(build_dataset(config(tmp_path / "column")))
    monkeypatch.setitem(sys.modules, "pyarrow", None)  # as if it were not installed
    with pytest.raises(
        ConfigError, match=r"is a table of a Hugging Face data set, .* `pip install 'mmssl-dynamic\[parquet\]'`\."
    ):
        len(build_dataset(config(tmp_path / "path")))


def test_the_image_column_is_the_only_one_and_sound_is_none(tmp_path):
    rows = table(["a.png"], [b"a"], image="picture").append_column("sound", table(["b.wav"], [b"b"])["image"])
    about = {"info": {"features": {"picture": {"_type": "Image"}, "sound": {"_type": "Audio"}}}}
    rows = rows.replace_schema_metadata({"huggingface": json.dumps(about)})
    assert open_packed(write(rows, tmp_path / "set", "parquet")).place(0).read() == b"a"


def test_a_file_with_fewer_rows_than_it_says_is_one_sentence(tmp_path):
    root = write(table(["a", "b"], [b"a", b"b"]), tmp_path / "set", "parquet", files=1)
    place = open_packed(root).place(1)
    damaged = table_files.ParquetFile(place.file)
    damaged._starts = np.array([0, 3])  # as a damaged end of the file has it
    for read in (lambda: damaged.column("image", "path"), lambda: damaged.read(2), lambda: damaged.sizes):
        with pytest.raises(DataError, match=r"cannot be read \(2 of 3 rows are there\); copy it again\."):
            read()


def test_row_groups_too_large_to_read_for_an_image_are_refused(tmp_path, monkeypatch):
    write(table(["a", "b"], [b"a" * 1000] * 2), tmp_path / "set", "parquet", files=1)
    monkeypatch.setattr(table_files, "_MOST_IN_GROUP", 100)
    with pytest.raises(DataError, match=r"has row groups of .* GiB, .* write it with a row_group_size of about 100\."):
        open_packed(tmp_path / "set")
