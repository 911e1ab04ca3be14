"""Scalars in TensorBoard, read back by TensorBoard itself."""

import sys

import pytest
from mmengine.config import Config

from mmssl_dynamic.engine.launch import TrainingOptions, build_runner, prepare_config
from mmssl_dynamic.engine.tensorboard import add_tensorboard
from mmssl_dynamic.errors import ConfigError
from mmssl_dynamic.evaluation.evaluation_result import EvaluationResult, NetworkResult
from mmssl_dynamic.evaluation.latency import Latency
from mmssl_dynamic.evaluation.transfer_result import TransferResult, TransferScore
from mmssl_dynamic.routing import RoutingResult, SubnetScore
from mmssl_dynamic.visualization.tensorboard import write_scalars
from tests.helpers import write_images


def routing(test=(61.5, 58.25)):
    scores = [
        SubnetScore(name, 70 - i, accuracy, 1.5 - i, 1, 1)
        for i, (name, accuracy) in enumerate(zip(("0-1", "0-0"), test))
    ]
    return RoutingResult("pets", {}, "abc", scores, SubnetScore("full", 68, 60, 0, 2, 2), {"seconds": 12.5})


def evaluation():
    timed = Latency(2.5, 2.0, 3.0, 1, (64, 64), 50, 3, "cpu", 1)
    networks = [
        NetworkResult("w0.5", 50.5, None, 1_500_000, 69_000_000, None, 1.0),
        NetworkResult("w1.0", 60.25, 80.0, 3_000_000, 217_000_000, timed, 1.0),
    ]
    return EvaluationResult({"kind": "knn"}, {"name": "pets"}, "abc", networks, {})


def transfer():
    scores = [
        TransferScore(name, data, "top1", test, val, 0.1, {"top1": test}, 45, 100, 1.5)
        for name, data, val, test in (
            ("a", "dtd", 50.0, 40.0),
            ("a", "pets", 70.0, 71.0),
            ("full", "dtd", 52.0, 41.0),
            ("full", "pets", 65.0, 69.0),
        )
    ]
    networks = dict.fromkeys(("a", "full"), {"params": 10, "macs": 20})
    return TransferResult({}, {"dtd": {}, "pets": {}}, "f", networks, "full", scores, {})


def shown(folder):
    """(step, value) of every tag, as TensorBoard reads the folder."""
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    events = accumulator.EventAccumulator(str(folder))
    events.Reload()
    return {tag: [(e.step, e.value) for e in events.Scalars(tag)] for tag in events.Tags()["scalars"]}


def test_a_routing_is_shown_over_the_rank_and_what_was_not_measured_is_left_out(tmp_path):
    pytest.importorskip("tensorboard")
    write_scalars(routing(), tmp_path)
    found = shown(tmp_path / "vis_data")
    assert found["ranked/test"] == [(1, 61.5), (2, 58.25)]
    assert found["ranked/select"] == [(1, 70), (2, 69)]
    assert found["best/gain_over_full"] == [(0, 1.5)]
    assert found["full/test"] == [(0, 60)]
    assert found["seconds"] == [(0, 12.5)]
    write_scalars(routing(test=(None, None)), tmp_path)  # in place of the first one
    found = shown(tmp_path / "vis_data")
    assert "ranked/test" not in found
    assert found["ranked/select"] == [(1, 70), (2, 69)]


def test_an_evaluation_is_shown_over_its_networks(tmp_path):
    pytest.importorskip("tensorboard")
    write_scalars(evaluation(), tmp_path)
    assert shown(tmp_path / "vis_data") == {
        "knn/top1": [(1, 50.5), (2, 60.25)],
        "knn/top5": [(2, 80)],
        "cost/params_m": [(1, 1.5), (2, 3)],
        "cost/macs_m": [(1, 69), (2, 217)],
        "cost/latency_ms": [(2, 2.5)],
    }


def test_a_transfer_is_shown_by_data_set_with_the_choice(tmp_path):
    pytest.importorskip("tensorboard")
    write_scalars(transfer(), tmp_path)
    found = shown(tmp_path / "vis_data")
    assert found["transfer/dtd"] == [(1, 40), (2, 41)]
    assert found["transfer/mean"] == [(1, 55.5), (2, 55)]
    assert (found["chosen/dtd"], found["chosen/pets"]) == ([(0, 41)], [(0, 71)])


def test_a_training_writes_its_losses_while_it_runs_beside_the_usual_log(tmp_path, repo_root):
    pytest.importorskip("tensorboard")
    config = prepare_config(
        repo_root / "configs/demo/simsiam_demo.py",
        work_dir=str(tmp_path / "run"),
        cfg_options={
            "data_root": str(write_images(tmp_path / "images", 16)),
            "max_epochs": 2,
            "train_dataloader.batch_size": 8,
            "train_dataloader.num_workers": 0,
            "default_hooks.logger.interval": 1,
            "log_level": "WARNING",
        },
        options=TrainingOptions(tensorboard=True),
    )
    build_runner(config).train()
    (log,) = (tmp_path / "run").glob("*/vis_data/scalars.json")
    found = shown(log.parent)
    assert [step for step, _ in found["loss"]] == [1, 2, 3, 4]
    assert "lr" in found


def test_the_backend_is_added_once_to_whatever_visualizer_a_config_has():
    pytest.importorskip("tensorboard")
    config = Config(dict(visualizer=dict(type="DetLocalVisualizer", vis_backends=[dict(type="WandbVisBackend")])))
    for _ in range(2):
        add_tensorboard(config)
        assert config.visualizer.type == "DetLocalVisualizer"
        assert [b.type for b in config.visualizer.vis_backends] == ["WandbVisBackend", "TensorboardVisBackend"]
    bare = Config({})
    add_tensorboard(bare)
    assert [b.type for b in bare.visualizer.vis_backends] == ["LocalVisBackend", "TensorboardVisBackend"]


def test_without_tensorboard_the_remedy_is_said_before_anything_is_written(tmp_path, monkeypatch, repo_root):
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    with pytest.raises(ConfigError, match=r"pip install 'mmssl-dynamic\[tensorboard\]'"):
        write_scalars(routing(), tmp_path)
    with pytest.raises(ConfigError, match="tensorboard"):
        prepare_config(repo_root / "configs/demo/simsiam_demo.py", options=TrainingOptions(tensorboard=True))
    assert not list(tmp_path.iterdir())
