"""The lists of a split hold every image once, with the labels of the full data set, in a form that training reads."""

from __future__ import annotations

import json

import numpy as np
import pytest
from mmpretrain.registry import DATASETS
from mmpretrain.utils import register_all_modules
from PIL import Image

from mmssl_dynamic.datasets import ImageFolder, sample_names
from mmssl_dynamic.datasets.preparation import subset_lists
from mmssl_dynamic.datasets.preparation.semantic_split import Component, SemanticSplit
from mmssl_dynamic.datasets.preparation.subset_lists import check_lists, split_class_list, split_folder
from mmssl_dynamic.datasets.preparation.wordnet import read_wordnet
from mmssl_dynamic.errors import DataError
from mmssl_dynamic.loading import load_config
from tests.datasets.preparation.wordnet_files import wnid, write_nouns

CLASSES = {"dog": 3, "oak": 2, "hammer": 4, "bread": 1}


@pytest.fixture(scope="module")
def nouns(tmp_path_factory):
    return read_wordnet(write_nouns(tmp_path_factory.mktemp("wordnet") / "data.noun"))


@pytest.fixture
def data(tmp_path):
    """``data/train`` with four classes; the bread lies a folder deeper, as everything in Tiny-ImageNet."""
    pixels = Image.fromarray(np.random.default_rng(0).integers(0, 256, (80, 90, 3)).astype(np.uint8))
    for name, count in CLASSES.items():
        folder = tmp_path / "data" / "train" / wnid(name) / ("images" if name == "bread" else "")
        folder.mkdir(parents=True)
        for index in range(count):
            pixels.save(folder / f"{name} {index}.JPEG")
    return tmp_path / "data"


def read(path):
    return [line.rsplit(" ", 1) for line in path.read_text().splitlines()]


def test_lists_hold_every_image_once_with_the_labels_of_the_folder(data, nouns):
    written = split_folder(data / "train", nouns, data / "meta")
    assert [path.name for path in written.files] == ["subset_a.txt", "subset_b.txt", "split.json"]
    full = ImageFolder(str(data / "train"), with_label=True)
    expected = dict(zip(sample_names(full), full.get_gt_labels()))
    a, b = read(data / "meta/subset_a.txt"), read(data / "meta/subset_b.txt")
    assert (len(a), len(b)) == (5, 5)
    assert {name: int(label) for name, label in a + b} == expected
    assert {name.split("/")[0] for name, _ in b} == {wnid("dog"), wnid("oak")}
    assert written.images == {wnid(name): count for name, count in CLASSES.items()}


def test_the_record_names_the_classes_and_the_components(data, nouns):
    split_folder(data / "train", nouns, data / "meta")
    record = json.loads((data / "meta/split.json").read_text())
    assert (record["depth"], record["root_depth"], record["shared_ancestors"]) == (4, 0, 0)
    assert record["subset_b"]["classes"] == {wnid("dog"): "dog", wnid("oak"): "oak"}
    assert (record["subset_b"]["num_classes"], record["subset_b"]["images"]) == (2, 5)
    sizes = [(part["subset"], part["num_classes"], part["organisms"]) for part in record["components"]]
    assert sizes == [("b", 2, 2), ("a", 1, 0), ("a", 1, 0)]
    assert record["components"][0]["ancestors"] == {wnid("living_thing"): {"name": "living thing", "classes": 2}}


@pytest.mark.parametrize(
    ("config", "subset"),
    [
        ("simsiam_r18_tinyin-subset-a", "a"),
        ("simsiam_r18_tinyin-subset-b", "b"),
        ("simsiam_r50_8xb64-coslr-200e_in1k-subset-a", "a"),
        ("simsiam_r50_8xb64-coslr-200e_in1k-subset-b", "b"),
    ],
)
def test_the_configs_read_the_lists_wherever_the_data_lie(data, nouns, repo_root, config, subset):
    split_folder(data / "train", nouns, data / "meta")
    register_all_modules(init_default_scope=False)
    path = repo_root / f"configs/sdr/negative_transfer/{config}.py"
    expected = read(data / f"meta/subset_{subset}.txt")
    moved = data.parent / "elsewhere.txt"
    moved.write_text((data / f"meta/subset_{subset}.txt").read_text())
    for options in ({}, {"ann_file": str(moved)}):
        loaded = load_config(path, {"data_root": str(data), **options})
        for source in (loaded.train_dataloader.dataset.dataset, loaded.extract_dataloader.dataset):
            with DATASETS.switch_scope_and_registry("mmpretrain") as registry:
                dataset = registry.build(source)
            assert sample_names(dataset) == [name for name, _ in expected]
            assert dataset.get_gt_labels().tolist() == [int(label) for _, label in expected]
            assert len(dataset[0]["inputs"]) in (2, 3)  # two views, or the channels of an image


def test_a_split_that_shares_an_ancestor_is_not_written(data, nouns, monkeypatch):
    def wrong(wordnet, classes, depth):
        return SemanticSplit(depth, tuple(Component((one,), {}, int(one == wnid("dog"))) for one in sorted(classes)))

    monkeypatch.setattr(subset_lists, "split_classes", wrong)
    with pytest.raises(DataError, match=r"of different subsets are both living thing at depth 4 \(1 such ancestors\)"):
        split_folder(data / "train", nouns, data / "meta")
    assert list((data / "meta").iterdir()) == []
    (data / "classes.txt").write_text("".join(f"{wnid(name)}\n" for name in CLASSES))
    with pytest.raises(DataError, match="both living thing"):
        split_class_list(data / "classes.txt", nouns, data / "meta")
    assert list((data / "meta").iterdir()) == []


@pytest.mark.parametrize("change", ["missing", "twice"])
def test_lists_with_an_image_missing_or_twice_are_noticed(data, nouns, change):
    split_folder(data / "train", nouns, data / "meta")
    lists = [data / "meta/subset_a.txt", data / "meta/subset_b.txt"]
    names = sample_names(ImageFolder(str(data / "train")))
    check_lists(nouns, *lists, 4, names)
    lines = lists[0].read_text().splitlines(keepends=True)
    lists[0].write_text("".join(lines[1:] if change == "missing" else [*lines, lines[0]]))
    with pytest.raises(DataError, match="do not hold each of the 10 images once"):
        check_lists(nouns, *lists, 4, names)


def test_classes_without_images_are_split_into_a_record_alone(tmp_path, nouns):
    file = tmp_path / "classes.txt"
    file.write_text(f"0 {wnid('dog')} dog\n\n1 {wnid('hammer')} hammer\n")
    written = split_class_list(file, nouns, tmp_path / "out")
    assert written.images is None
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["split.json"]
    record = json.loads((tmp_path / "out/split.json").read_text())
    assert record["subset_a"] == {"num_classes": 1, "classes": {wnid("hammer"): "hammer"}}


def test_a_list_that_cannot_be_read_or_names_no_class_is_refused(tmp_path, nouns):
    file = tmp_path / "classes.txt"
    with pytest.raises(DataError, match="list of classes .*classes.txt does not exist"):
        split_class_list(file, nouns, tmp_path)
    file.write_text(f"{wnid('dog')}\ndog\n")
    with pytest.raises(DataError, match="line 2 of .*classes.txt names no WNID"):
        split_class_list(file, nouns, tmp_path)
