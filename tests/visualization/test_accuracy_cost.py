"""The accuracy-cost plot shows every network where its numbers are, and no name over another."""

import pytest

from mmssl_dynamic.errors import ConfigError
from mmssl_dynamic.evaluation.evaluation_result import NetworkResult
from mmssl_dynamic.visualization.accuracy_cost import Curve, accuracy_cost
from mmssl_dynamic.visualization.routing_plots import save_figure


def curve(name, *points):
    return Curve(name, [NetworkResult(n, top1, None, 1, int(macs * 1e6), None, 1.0) for n, macs, top1 in points])


OURS = curve("dspnet", ("w0.5", 69, 55.1), ("w0.75", 147, 59.7), ("w1.0", 217, 62.3), ("w1.25", 357, 64.1))
BYOL = curve("BYOL", ("byol-0.5", 69, 54.4), ("byol-0.75", 147, 59.1), ("byol-1.0", 217, 62.0))


def test_points_lie_at_macs_and_accuracy_and_curves_have_their_names():
    (axes,) = accuracy_cost([OURS, BYOL], "kNN (%)").axes
    assert [list(line.get_xydata()[:, 0]) for line in axes.lines] == [[69e6, 147e6, 217e6, 357e6], [69e6, 147e6, 217e6]]
    assert list(axes.lines[0].get_ydata()) == [55.1, 59.7, 62.3, 64.1]
    assert [text.get_text() for text in axes.get_legend().get_texts()] == ["dspnet", "BYOL"]
    assert [line.get_linestyle() for line in axes.lines] == ["-", "--"]
    assert axes.get_ylabel() == "kNN (%)"
    assert "(M)" in axes.get_xlabel()


def test_every_network_is_named_once_and_no_two_names_overlap():
    figure = accuracy_cost([OURS, BYOL])
    (axes,) = figure.axes
    figure.draw_without_rendering()
    assert [text.get_text() for text in axes.texts] == [n.name for c in (OURS, BYOL) for n in c.networks]
    boxes = [text.get_window_extent() for text in axes.texts]
    assert not any(a.overlaps(b) for i, a in enumerate(boxes) for b in boxes[:i])
    room = axes.get_window_extent()
    assert all(room.x0 <= box.x0 and box.x1 <= room.x1 and room.y0 <= box.y0 and box.y1 <= room.y1 for box in boxes)


def test_of_many_equal_paths_the_best_and_the_full_network_are_named_and_no_line_joins_them():
    paths = [(f"0-0-{i}-{j}", 3900, 50 + i + j / 10) for i in range(6) for j in range(6)]
    (axes,) = accuracy_cost([curve("sdr", *paths, ("full", 17000, 52.0))]).axes
    assert [text.get_text() for text in axes.texts] == ["0-0-5-5", "full"]
    assert axes.lines[0].get_linestyle() == "None"
    assert "(G)" in axes.get_xlabel()


def test_one_network_can_be_drawn_and_none_cannot(tmp_path):
    written = save_figure(accuracy_cost([curve("byol", ("byol_r18", 1800, 60.0))]), tmp_path / "accuracy_cost")
    assert [path.name for path in written] == ["accuracy_cost.png", "accuracy_cost.svg"]
    with pytest.raises(ConfigError, match="at least one network"):
        accuracy_cost([curve("nothing")])


def test_the_same_results_give_the_same_files(tmp_path):
    files = [save_figure(accuracy_cost([OURS, BYOL]), tmp_path / name) for name in "ab"]
    assert [a.read_bytes() == b.read_bytes() for a, b in zip(*files)] == [True, True]
