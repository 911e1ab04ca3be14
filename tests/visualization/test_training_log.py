"""The log of a training is read as it was trained, resumed or not."""

import json

import pytest

from mmssl_dynamic.errors import ConfigError
from mmssl_dynamic.visualization.training_log import loss_curves, network_losses, read_log


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
