"""The log of a training is read as it was trained, resumed or not."""

import json

import pytest

from mmssl_dynamic.errors import ConfigError
from mmssl_dynamic.visualization.training_log import loss_curves, network_losses, read_log, training_curves


def write(folder, run, records, end=""):
    file = folder / run / "vis_data/scalars.json"
    file.parent.mkdir(parents=True)
    file.write_text("".join(json.dumps(record) + "\n" for record in records) + end)


def record(step, **losses):
    return {"step": step, "time": 0.1, **{f"loss_{name}": loss for name, loss in losses.items()}}


def test_of_a_resumed_training_the_later_record_of_a_step_counts_and_a_torn_line_is_left_out(tmp_path):
    write(tmp_path, "20250101_000000", [record(2, a=4.0), record(4, a=9.0)], end='{"step": 6, "lo')
    write(tmp_path, "20250102_000000", [record(4, a=3.0), record(6, a=2.0)])
    found = read_log(tmp_path)
    assert [(r["step"], r["loss_a"]) for r in found] == [(2, 4.0), (4, 3.0), (6, 2.0)]
    assert read_log(tmp_path / "elsewhere") == []


def test_a_network_has_a_curve_from_its_first_record_on(tmp_path):
    write(tmp_path, "run", [record(2, a=4.0), record(4, a=3.0, b=5.0)])
    curves = network_losses(read_log(tmp_path), ["a", "b", "never"])
    assert curves == {"a": [(2, 4.0), (4, 3.0)], "b": [(4, 5.0)]}
    (axes,) = loss_curves(curves).axes
    assert [list(map(tuple, line.get_xydata())) for line in axes.lines] == list(curves.values())
    assert [text.get_text() for text in axes.get_legend().get_texts()] == ["a", "b"]


def test_no_record_no_plot():
    with pytest.raises(ConfigError, match="at least one record"):
        loss_curves({})


def points(axes):
    return {line.get_label(): list(map(tuple, line.get_xydata())) for line in axes.lines if line.get_label()[0] != "_"}


def test_several_records_of_a_step_are_one(tmp_path):
    write(tmp_path, "run", [{"step": 0, "knn/full": 30.0}, record(4, a=3.0), {"step": 4, "knn/full": 50.0}])
    assert [(r["step"], r["knn/full"]) for r in read_log(tmp_path)] == [(0, 30.0), (4, 50.0)]
    assert read_log(tmp_path)[1]["loss_a"] == 3.0


def test_the_curves_of_sdr_are_the_loss_and_its_parts_with_the_phases_and_knn_below():
    records = [
        {"step": 0, "knn/full": 30.0},
        {"step": 2, "loss": -0.5, "loss_ssl": -0.5, "phase": 0},
        {"step": 4, "loss": -1.2, "loss_ssl": -0.7, "loss_kd": -0.5, "phase": 1, "knn/full": 55.0},
    ]
    losses, accuracies = training_curves(records, "run").axes
    assert points(losses) == {
        "loss": [(2, -0.5), (4, -1.2)],
        "loss_ssl": [(2, -0.5), (4, -0.7)],
        "loss_kd": [(4, -0.5)],
    }
    assert points(accuracies) == {"full": [(0, 30.0), (4, 55.0)]}
    assert [text.get_text() for text in losses.texts] == ["phase 2"]


def test_the_curves_of_a_sandwich_are_its_networks_and_not_their_sum():
    records = [
        {"step": 2, "loss": 2.0, "loss_w1.0": 2.0, "std_w1.0": 0.1},
        {"step": 4, "loss": 3.0, "loss_w1.0": 1.0, "std_w1.0": 0.1, "loss_w0.5": 2.0, "std_w0.5": 0.1},
    ]
    (axes,) = training_curves(records).axes
    assert points(axes) == {"w1.0": [(2, 2.0), (4, 1.0)], "w0.5": [(4, 2.0)]}


def test_a_training_without_losses_has_no_curves():
    assert training_curves([{"step": 1, "lr": 0.1}]) is None
