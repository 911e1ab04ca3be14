"""Names stand where they hide nothing."""

import numpy as np
import pytest
from matplotlib.figure import Figure

from mmssl_dynamic.visualization.labels import Label, write_labels


@pytest.mark.parametrize("ends", [([0, 10], [5.35, 5.35]), ([5.35, 5.35], [0, 10])], ids=["level", "upright"])
def test_a_name_does_not_stand_on_a_long_line_that_passes_its_point(ends):
    figure = Figure(figsize=(8, 8))
    axes = figure.subplots()
    axes.plot(*ends, color="grey")
    axes.scatter([5], [5], color="grey")
    write_labels(figure, [(axes, [Label("a name of length", (5, 5))])])
    figure.draw_without_rendering()
    (text,) = axes.texts
    box = text.get_window_extent()
    line = axes.transData.transform(np.linspace(*np.transpose(ends), 1000))
    assert not any(box.contains(x, y) for x, y in line)
