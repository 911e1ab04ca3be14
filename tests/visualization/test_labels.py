"""Names stand where they hide nothing."""

import numpy as np
import pytest
from matplotlib.figure import Figure

from mmssl_dynamic.visualization.labels import Label, write_labels


@pytest.mark.parametrize("height", np.linspace(2, 8, 13))
def test_a_name_does_not_stand_on_a_long_line_that_passes_its_point(height):
    figure = Figure(figsize=(8, 8))
    axes = figure.subplots()
    axes.plot([5.35, 5.35], [0, 10], color="grey")
    axes.scatter([5], [height], color="grey")
    axes.set_xlim(0, 10)
    write_labels(figure, [(axes, [Label("a name of length", (5, height))])])
    figure.draw_without_rendering()
    (text,) = axes.texts
    box = text.get_window_extent()
    line = axes.transData.transform(np.column_stack([np.full(1000, 5.35), np.linspace(0, 10, 1000)]))
    assert not any(box.contains(x, y) for x, y in line)
