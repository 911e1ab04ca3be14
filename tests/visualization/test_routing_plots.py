"""Routing pictures show the numbers they are made of."""

import numpy as np
import pytest

from mmssl_dynamic.errors import ConfigError
from mmssl_dynamic.routing import RoutingResult, SubnetScore
from mmssl_dynamic.routing.result import rank
from mmssl_dynamic.visualization.routing_plots import gains_histogram, save_figure, task_gains, task_heatmap


def result(task, gains):
    scores = [SubnetScore(name, 50 + gain, 40 + gain, gain, 1, 1) for name, gain in gains.items()]
    return RoutingResult(task, {}, "abc", rank(scores), SubnetScore("full", 50, 40, 0.0, 2, 2), {})


GAINS = {"0-0": 1.0, "0-1": -2.0, "0-10": 3.0, "0-2": 0.5}


def test_histogram_counts_every_sub_network_and_marks_the_chosen_one():
    figure = gains_histogram(result("flowers", GAINS))
    (axes,) = figure.axes
    assert sum(bar.get_height() for bar in axes.patches) == len(GAINS)
    assert [line.get_xdata()[0] for line in axes.lines] == [0, 3.0]
    assert "0-10 (43.0 %)" in axes.get_legend().get_texts()[1].get_text()
    assert "flowers" in axes.get_title()


def test_heatmap_has_a_row_per_task_and_columns_in_the_order_of_paths():
    other = {name: -gain for name, gain in reversed(GAINS.items())}
    figure = task_heatmap([result("flowers", GAINS), result("cars", other)])
    axes = figure.axes[0]
    np.testing.assert_array_equal(axes.images[0].get_array(), [[1, -2, 0.5, 3], [-1, 2, -0.5, -3]])
    assert [label.get_text() for label in axes.get_xticklabels()] == ["0-0", "0-1", "0-2", "0-10"]
    assert [label.get_text() for label in axes.get_yticklabels()] == ["flowers", "cars"]
    assert [(frame.get_x(), frame.get_y()) for frame in axes.patches] == [(2.5, -0.5), (0.5, 0.5)]


def test_extreme_results_can_be_drawn(tmp_path):
    many = {f"{a}-{b}-{c}-{d}": float(a - b) for a in range(4) for b in range(4) for c in range(4) for d in range(4)}
    for gains in (many, {"0-0": 0.0}, {"full": 0.0}):
        drawn = result("a task", gains)
        save_figure(gains_histogram(drawn), tmp_path / "histogram", ["png"])
        save_figure(task_heatmap([drawn]), tmp_path / "map", ["png"])


def test_figures_are_written_as_png_and_svg_and_are_reproducible(tmp_path):
    written = save_figure(gains_histogram(result("flowers", GAINS)), tmp_path / "v1.2" / "gains")
    assert [path.name for path in written] == ["gains.png", "gains.svg"]
    assert written[0].read_bytes().startswith(b"\x89PNG")
    assert b"<svg" in written[1].read_bytes()
    again = save_figure(gains_histogram(result("flowers", GAINS)), tmp_path / "again")
    assert [a.read_bytes() == b.read_bytes() for a, b in zip(written, again)] == [True, True]


def test_sub_networks_that_a_task_did_not_evaluate_stay_empty():
    figure = task_heatmap([result("flowers", GAINS), result("cars", {"0-0": 1.0})])
    axes = figure.axes[0]
    shown = axes.images[0].get_array()
    assert np.isnan(np.asarray(shown, dtype=float)[1]).tolist() == [False, True, True, True]
    assert "grey" in axes.get_title()


def test_gains_of_the_choice_stand_beside_those_in_hindsight():
    scores = [SubnetScore("0-0", 60, 45, 5.0, 1, 1), SubnetScore("0-1", 50, 47, 7.0, 1, 1)]
    late = RoutingResult("late", {}, "abc", scores, SubnetScore("full", 50, 40, 0.0, 2, 2), {})
    (axes,) = task_gains([result("flowers", GAINS), late]).axes
    assert [bar.get_width() for bar in axes.patches] == [3.0, 5.0]
    assert list(axes.lines[0].get_xdata()) == [3.0, 7.0]
    assert [label.get_text() for label in axes.get_yticklabels()] == ["flowers", "late"]


def test_figures_of_no_task_are_refused():
    for draw in (task_heatmap, task_gains):
        with pytest.raises(ConfigError, match="at least one task"):
            draw([])
