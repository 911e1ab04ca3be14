"""Names beside points of a plot, each where it hides no point, no line and no other name."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.collections import PathCollection
from matplotlib.figure import Figure
from matplotlib.text import Annotation
from matplotlib.transforms import Bbox

# Where a label may stand, from its point in points of the page: horizontal and vertical alignment follow.
_PLACES = (
    (0, 7),
    (0, -7),
    (7, 0),
    (-7, 0),
    (6, 6),
    (-6, 6),
    (6, -6),
    (-6, -6),
    (0, 18),
    (0, -18),
    (14, 12),
    (-14, -12),
)
_STEP = 6  # pixels between the dots that stand for a line, fewer than a name is high


@dataclass(frozen=True)
class Label:
    """A name.

    Attributes:
        text: The name.
        at: The point (x, y) that it belongs to, in the units of the axes.
        colour: Of the text.
    """

    text: str
    at: tuple[float, float]
    colour: str = "#1b1f24"


def write_labels(figure: Figure, labels: Sequence[tuple[Axes, Iterable[Label]]]) -> None:
    """Write names into axes that hold everything else already; the figure's layout is settled by it.

    Args:
        figure: Of the axes.
        labels: For every axes its names, the more important ones first.
    """
    FigureCanvasAgg(figure)  # measures the labels
    figure.draw_without_rendering()
    # The layout is settled: a later one would move points away from what was measured.
    figure.set_layout_engine("none")
    for axes, names in labels:
        taken = _covered(axes)
        for label in names:
            taken.append(_place(axes, label, taken))


def _covered(axes: Axes) -> list[Bbox]:
    """What points, lines and the legend cover."""
    taken: list[Bbox] = []
    for line in axes.lines:
        corners = line.get_transform().transform(line.get_xydata())
        taken += [_around(x, y, 4) for x, y in corners]
        if line.get_linestyle() != "None":
            for (x0, y0), (x1, y1) in zip(corners, corners[1:]):
                count = int(max(abs(x1 - x0), abs(y1 - y0)) / _STEP)
                steps = [(i + 1) / (count + 1) for i in range(count)]
                taken += [_around(x0 + t * (x1 - x0), y0 + t * (y1 - y0), 1) for t in steps]
    for points in axes.collections:
        if isinstance(points, PathCollection):
            taken += [_around(x, y, 4) for x, y in points.get_offset_transform().transform(points.get_offsets())]
    legend = axes.get_legend()
    if legend is not None:
        taken.append(legend.get_window_extent())
    return taken


def _around(x: float, y: float, distance: float) -> Bbox:
    return Bbox.from_extents(x - distance, y - distance, x + distance, y + distance)


def _place(axes: Axes, label: Label, taken: Sequence[Bbox]) -> Bbox:
    """Put a name at the place that hides least, the earlier of equal ones; returns what it covers."""
    best: tuple[float, Annotation, Bbox] | None = None
    room = axes.get_window_extent()
    for dx, dy in _PLACES:
        text = axes.annotate(
            label.text,
            label.at,
            (dx, dy),
            textcoords="offset points",
            ha="center" if dx == 0 else ("left" if dx > 0 else "right"),
            va="center" if dy == 0 else ("bottom" if dy > 0 else "top"),
            fontsize="small",
            color=label.colour,
            zorder=4,
        )
        box = text.get_window_extent()
        outside = box.x0 < room.x0 or box.x1 > room.x1 or box.y0 < room.y0 or box.y1 > room.y1
        hidden = 1000.0 * outside + sum(box.overlaps(other) for other in taken)
        if best is None or hidden < best[0]:
            if best is not None:
                best[1].remove()
            best = (hidden, text, box)
        else:
            text.remove()
        if hidden == 0:
            break
    assert best is not None
    return best[2]
