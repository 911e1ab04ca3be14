"""A training is kept as long as nothing has changed that it depends on, and goes on where it stopped."""

import os

import numpy as np
import pytest
import torch

from mmssl_dynamic.clusters import Clusters
from mmssl_dynamic.errors import LockedError
from mmssl_dynamic.loading import find_config
from mmssl_dynamic.locks import locked_file, locked_folder
from mmssl_dynamic.pipeline import steps
from mmssl_dynamic.result_cache import KeptFiles
from tests.helpers import write_images


@pytest.mark.parametrize(("cores", "threads", "used"), [(2, 2, 1), (1, 1, 1), (8, 8, 7), (8, 3, 3)])
def test_a_core_is_left_to_the_loader_while_training(cores, threads, used, monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: set(range(cores)), raising=False)
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(threads)
        with steps.a_core_for_the_loader():
            assert torch.get_num_threads() == used
        assert torch.get_num_threads() == threads
    finally:
        torch.set_num_threads(before)


@pytest.fixture
def training(tmp_path, monkeypatch):
    """Two images and clusters of them; training is made up. Returns how to train, and what was there each time."""
    write_images(tmp_path / "images", 2)
    names = ["class_0/0000.png", "class_1/0001.png"]
    Clusters(names, np.array([0, 1]), 2, "random").save(tmp_path / "clusters.npz")
    (tmp_path / "base.pth").write_bytes(b"trained")
    found = []

    def train(config):
        work_dir = tmp_path / "sdr"
        found.append(sorted(path.name for path in work_dir.iterdir()) if work_dir.exists() else [])
        work_dir.mkdir(exist_ok=True)
        (work_dir / "begun").touch()
        if config.get("stops"):
            raise KeyboardInterrupt
        (work_dir / "epoch_2.pth").write_bytes(b"weights")
        (work_dir / "collapse.json").write_text("{}")

    monkeypatch.setattr(steps, "run_training", train)
    monkeypatch.setattr(steps, "prepare_config", lambda config, *_, cfg_options, **__: cfg_options)

    def run(seed=0, again=False, **options):
        given = {
            "data_root": str(tmp_path / "images"),
            "clusters_file": str(tmp_path / "clusters.npz"),
            "init_from": str(tmp_path / "base.pth"),
            "max_epochs": 2,
        }
        kept = KeptFiles(tmp_path / "kept", again, lambda _: None)
        config = find_config("demo/sdr_demo.py")
        return steps.train_to_end(kept, config, tmp_path / "sdr", seed, {**given, **options})

    return tmp_path, run, found


def other_image(root):
    image = root / "images/class_0/0000.png"
    stat = image.stat()
    image.write_bytes(image.read_bytes()[:-1] + b"x")
    os.utime(image, ns=(stat.st_atime_ns, stat.st_mtime_ns))


def other_clusters(root):
    clusters = Clusters.load(root / "clusters.npz")
    Clusters(clusters.names, clusters.assignment[::-1].copy(), 2, "random").save(root / "clusters.npz")


CHANGES = {
    "image": other_image,
    "clusters": other_clusters,
    "start": lambda root: (root / "base.pth").write_bytes(b"TRAINED"),
    "option": lambda root: {"model.backbone.depth": 34},
    "seed": lambda root: {"seed": 1},
    "again": lambda root: {"again": True},
    "checkpoint": lambda root: (root / "sdr/epoch_2.pth").unlink(),
    "damaged checkpoint": lambda root: (root / "sdr/epoch_2.pth").write_bytes(b"weigh"),
    "report": lambda root: (root / "sdr/collapse.json").write_text(""),
}


def test_networks_train_in_channels_last_order(training, monkeypatch):
    _, run, _ = training
    given = []

    def prepare(config, work_dir, resume, cfg_options, options):
        given.append((resume, options.channels_last))
        return cfg_options

    monkeypatch.setattr(steps, "prepare_config", prepare)
    run()
    assert given == [("auto", True)]


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_whatever_changes_the_network_is_trained_from_the_start(training, change):
    root, run, found = training
    run()
    assert run() == root / "sdr/epoch_2.pth"
    assert found == [[]]
    options = change(root)
    run(**(options if isinstance(options, dict) else {}))
    assert found == [[], []]  # nothing is left to go on from


def test_nothing_is_taken_from_a_training_that_another_process_goes_on_with(training):
    root, run, found = training
    run()
    for again in ({"again": True}, {"seed": 1}):
        with locked_folder(root / "sdr"), pytest.raises(LockedError, match=f"{root}/sdr is being written by process"):
            run(**again)
    assert found == [[]]
    assert (root / "sdr/epoch_2.pth").read_bytes() == b"weights"
    run(seed=1)
    assert found == [[], []]  # it is not gone on with afterwards


def test_features_that_another_process_writes_are_left_to_it(tmp_path):
    def extract():
        steps._features(None, None, None, tmp_path / "features.npy", again=True)

    (tmp_path / "features.npy").touch()
    with locked_file(tmp_path / "features.npy"), pytest.raises(LockedError, match="features.npy is being written"):
        extract()
    assert (tmp_path / "features.npy").exists()


def test_a_training_that_stopped_goes_on_unless_anything_has_changed(training):
    root, run, found = training
    for options in ({}, {}, {"seed": 1}):
        with pytest.raises(KeyboardInterrupt):
            run(stops=True, **options)
    assert found == [[], ["begun"], []]


def test_a_demo_that_moved_is_not_trained_again(training):
    root, run, found = training
    run()
    options = {"data_root": "images", "clusters_file": "clusters.npz", "init_from": "base.pth"}
    for name in options.values():
        (root / name).rename(root / f"moved_{name}")
    run(**{option: str(root / f"moved_{name}") for option, name in options.items()})
    assert found == [[]]
