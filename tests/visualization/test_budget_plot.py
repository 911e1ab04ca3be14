"""Pictures of a budget: networks where their numbers are, the budget as a line, and what it leaves marked."""

import numpy as np
import pytest

from mmssl_dynamic.budget import Budget, Cost
from mmssl_dynamic.selection import Candidate, TaskCandidates, choose
from mmssl_dynamic.visualization.budget_plot import Beside, budget_plot, tasks_plot


def task(*rows, name="birds"):
    """From (name, accuracy of the choice, accuracy on test images, million weights); a latency of one ms a million."""
    found = tuple(
        Candidate(n, a, t, Cost(int(m * 1e6), int(m * 1e6), m, estimated=n == "w0.75")) for n, a, t, m in rows
    )
    return TaskCandidates(name, found, "accuracy", "0" * 64, {}, "here")


WIDTHS = task(("w0.5", 60.0, 50.0, 1), ("w0.75", 58.0, 55.0, 2), ("w1.0", 66.0, 52.0, 4))
#: Paths of one size; the best on the images of the choice is not the best on test images.
PATHS = [task(*[(f"0-{i}", 60.0 + i, 50.0 - i, 3) for i in range(4)], ("full", 61.0, 49.0, 7), name=n) for n in "abcd"]


def points(axes, label):
    """Of a scatter or a line, by its name in the legend."""
    (found,) = [a for a in (*axes.collections, *axes.lines) if a.get_label() == label]
    return np.asarray(found.get_offsets() if hasattr(found, "get_offsets") else found.get_xydata()).tolist()


def texts(axes):
    return sorted(text.get_text() for text in axes.texts)


def test_one_panel_for_each_limit_shows_networks_front_budget_and_choice():
    figure = budget_plot(choose(WIDTHS, Budget(params=2.5e6, latency_ms=3.0)))
    by_cost = {axes.get_xlabel(): axes for axes in figure.axes}
    assert list(by_cost) == ["latency (ms)", "weights (M)"]
    weights = by_cost["weights (M)"]
    assert points(weights, "networks") == [[1, 60], [2, 58], [4, 66]]
    assert points(weights, "best at its cost or less") == [[1, 60], [4, 66]]
    assert points(weights, "budget") == [[2.5, 0], [2.5, 1]]
    assert points(weights, "chosen") == [[1, 60]]
    assert points(by_cost["latency (ms)"], "networks, latency estimated") == [[2, 58]]
    assert texts(weights) == ["w0.5", "w1.0"]  # what there is to take; w0.75 is beaten by a smaller one


def test_of_a_single_best_network_there_is_no_front_to_name():
    (axes,) = budget_plot(choose(task(("w0.5", 60.0, None, 1), ("w1.0", 55.0, None, 2)), Budget(macs=3e6))).axes
    assert "best at its cost or less" not in [text.get_text() for text in axes.get_legend().get_texts()]
    assert axes.get_xlim()[1] > 3  # a budget that all of them fit is in the picture


def test_tasks_have_a_panel_each_that_is_judged_by_test_images():
    choices = [choose(found, Budget(params=5e6)) for found in PATHS]
    figure = tasks_plot(choices, [Beside("SimSiam", 48.0 + i, 3e6) for i in range(4)], [100] * 4)
    assert [axes.get_title() for axes in figure.axes] == list("abcd")
    first, last = figure.axes[0], figure.axes[3]
    assert points(first, "sub-networks") == [[3, 50], [3, 49], [3, 48], [3, 47], [7, 49]]
    assert points(first, "chosen") == [[3, 47]]  # by the images of the choice, of which it has the most
    assert [points(axes, "SimSiam") for axes in (first, last)] == [[[3, 48]], [[3, 51]]]
    assert texts(first) == ["0-3", "full"]  # chosen, and what does not fit
    bars = [line.get_ydata() for line in first.lines if list(line.get_xdata()) == [3, 3]]
    assert np.ptp(bars[0]) == pytest.approx(2 * 100 * np.sqrt(0.47 * 0.53 / 100))
    (legend,) = figure.legends
    assert [text.get_text() for text in legend.get_texts()] == ["SimSiam", "sub-networks", "chosen", "budget"]


@pytest.mark.parametrize("accuracies", [(60.0, 60.5, 61.0, 61.5), (60.0, 60.0, 60.0, 60.0), (50.0, 60.0, 70.0, 80.0)])
def test_names_lie_in_the_panel_and_hide_no_other_name_or_network(accuracies):
    rows = [(f"w0.{i + 1}", a, a, 1 + i) for i, a in enumerate(accuracies)]
    figure = budget_plot(choose(task(*rows), Budget(params=2.5e6)))
    (axes,) = figure.axes
    figure.draw_without_rendering()
    boxes = [text.get_window_extent() for text in axes.texts]
    room = axes.get_window_extent()
    assert all(room.x0 <= box.x0 and box.x1 <= room.x1 and room.y0 <= box.y0 and box.y1 <= room.y1 for box in boxes)
    assert not any(a.overlaps(b) for i, a in enumerate(boxes) for b in boxes[:i])
    dots = axes.transData.transform([(1 + i, a) for i, a in enumerate(accuracies)])
    assert not any(box.contains(x, y) for box in boxes for x, y in dots)
