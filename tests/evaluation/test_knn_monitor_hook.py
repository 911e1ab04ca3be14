"""KNN during a training: the right network, with statistics that fit it, and nothing of the training changes."""

import json
from pathlib import Path

import pytest
import torch

from mmssl_dynamic.engine.launch import TrainingOptions, build_runner, prepare_config
from mmssl_dynamic.errors import ConfigError, DataError
from mmssl_dynamic.evaluation.knn_monitor_hook import KNNMonitorHook
from mmssl_dynamic.fileio import load_state_dict
from mmssl_dynamic.loading import find_config
from mmssl_dynamic.visualization.training_log import read_log
from tests.helpers import write_clusters, write_images

SMALL_HEADS = {
    "model.neck.hid_channels": 16,
    "model.neck.out_channels": 16,
    "model.head.predictor.in_channels": 16,
    "model.head.predictor.hid_channels": 8,
    "model.head.predictor.out_channels": 16,
}
LOADERS = {
    "train_dataloader.batch_size": 8,
    "train_dataloader.num_workers": 0,
    "extract_dataloader.num_workers": 0,
    "default_hooks.logger.interval": 1,
    "log_level": "WARNING",
    "max_epochs": 3,
}
NETWORKS = {
    "simsiam": {"model.backbone.base_channels": 8, "model.backbone.stem_channels": 8, "model.neck.in_channels": 64},
    "sdr": {
        "stage_groups": [1, 1, 2, 2],
        "model.backbone.stage_channels": [8, 8, 16, 16],
        "model.backbone.shared_ratio": 0.5,
        "model.backbone.stem_channels": 8,
    },
    "dspnet": {"model.backbone.channels": [0.0625, 0.125], "model.backbone.blocks": [[1, 1, 1, 1]], "warmup_epochs": 1},
}
SHOWN = {"simsiam": ["full"], "sdr": ["full"], "dspnet": ["w0.0625-d1111", "w0.125-d1111"]}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """40 images in four classes, their clusters, and a task of them."""
    place = tmp_path_factory.mktemp("monitor")
    write_images(place / "images", 40)
    names = sorted(str(file.relative_to(place / "images")) for file in (place / "images").rglob("*.*"))
    write_clusters(place / "clusters.npz", names, 4)
    return place


def run(folder, kind, name, monitor=True):
    options = {"data_root": str(folder / "images"), **NETWORKS[kind], **SMALL_HEADS, **LOADERS}
    if kind == "sdr":
        options["clusters_file"] = str(folder / "clusters.npz")
    config = prepare_config(
        find_config(f"demo/{kind}_demo.py"),
        work_dir=str(folder / f"{kind}_{name}"),
        cfg_options=options,
        options=TrainingOptions(monitor=folder / "images" if monitor else None),
    )
    if monitor:
        config.custom_hooks[-1].interval = 2
    config.experiment_name = f"monitor-{kind}-{name}"
    runner = build_runner(config)
    runner.train()
    return runner


@pytest.mark.parametrize("kind", NETWORKS)
def test_a_watched_training_has_its_values_in_the_log_and_the_weights_of_one_that_nobody_watched(folder, kind):
    watched, alone = run(folder, kind, "watched"), run(folder, kind, "alone", monitor=False)
    ends = [load_state_dict(Path(runner.work_dir) / "epoch_3.pth") for runner in (watched, alone)]
    assert all(torch.equal(ends[0][key], ends[1][key]) for key in ends[1])
    found = {record["step"]: record for record in read_log(watched.work_dir) if any("knn/" in key for key in record)}
    assert sorted(found) == [0, 10, 15]  # before the first step, after two epochs of five steps, and at the end
    for record in found.values():
        values = {key.removeprefix("knn/"): value for key, value in record.items() if key.startswith("knn/")}
        assert sorted(values) == sorted(SHOWN[kind])
        assert all(0 <= value <= 100 for value in values.values())
    assert (Path(watched.work_dir) / "curves.png").is_file()


@pytest.mark.parametrize("kind", ["simsiam", "sdr"])
def test_running_statistics_that_fit_nothing_change_no_value_and_stay_as_they_are(folder, kind):
    runner = run(folder, kind, "spoilt")
    (hook,) = [hook for hook in runner.hooks if isinstance(hook, KNNMonitorHook)]
    before = hook.measure(runner, 100)
    buffers = {n: b for n, b in runner.model.backbone.named_buffers() if "running_mean" in n}
    assert buffers
    for buffer in buffers.values():
        buffer.fill_(1e4)
    assert hook.measure(runner, 101) == before
    assert all(bool((buffer == 1e4).all()) for buffer in buffers.values())


def test_a_folder_with_train_and_val_classifies_val_by_train(folder, tmp_path):
    """All images of val are copies of train's, each the nearest to itself: k=1 is right for all, or for none."""
    for part in ("train", "val"):
        write_images(tmp_path / "task" / part, 24)
    options = {"data_root": str(folder / "images"), **NETWORKS["simsiam"], **SMALL_HEADS, **LOADERS, "max_epochs": 1}
    config = prepare_config(find_config("demo/simsiam_demo.py"), work_dir=str(tmp_path / "run"), cfg_options=options)
    config.custom_hooks.append(dict(type="mmssl_dynamic.KNNMonitorHook", data_root=str(tmp_path / "task"), k=1))
    config.experiment_name = "monitor-val"
    build_runner(config).train()
    assert [record["knn/full"] for record in read_log(tmp_path / "run") if "knn/full" in record] == [100.0, 100.0]


def test_what_cannot_be_watched_is_refused_before_the_first_step(folder, tmp_path):
    write_images(tmp_path / "one", 8, classes=1)
    options = {"data_root": str(folder / "images"), **NETWORKS["simsiam"], **SMALL_HEADS, **LOADERS}
    config = prepare_config(
        find_config("demo/simsiam_demo.py"),
        work_dir=str(tmp_path / "run"),
        cfg_options=options,
        options=TrainingOptions(monitor=tmp_path / "one"),
    )
    config.experiment_name = "monitor-refused"
    with pytest.raises(DataError, match="only one class"):
        build_runner(config).train()
    assert not list((tmp_path / "run").glob("*/vis_data/scalars.json"))
    with pytest.raises(ConfigError, match="interval=0"):
        KNNMonitorHook("images", interval=0)


def test_the_values_are_scalars_of_the_run(folder):
    runner = run(folder, "simsiam", "scalars")
    (file,) = Path(runner.work_dir).glob("*/vis_data/scalars.json")
    assert {"knn/full", "step"} <= set(json.loads(file.read_text().splitlines()[0]))
