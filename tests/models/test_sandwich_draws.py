"""Which networks a step trains: any width, a range that opens, small ones more often, and weights by size."""

import numpy as np
import pytest

from mmssl_dynamic.models.sandwich_draws import draw_any_widths, draw_networks, loss_weights, lowest_width
from mmssl_dynamic.subnets import SlimmableSpace

FIVE = SlimmableSpace((0.5, 0.75, 1.0, 1.25, 1.5))
RANGE = SlimmableSpace((0.25, 1.0), any_width=True)
DEEP = SlimmableSpace((0.5, 1.0), ((1, 1, 1, 1), (2, 2, 2, 2)), any_width=True)


def widths(names):
    return [float(name.partition("-")[0][1:]) for name in names]


def test_any_width_is_drawn_uniformly_from_the_range_with_its_ends_in_every_step():
    draws = [draw_any_widths(RANGE, 4, 0, step, 0.25) for step in range(500)]
    assert all((names[0], names[-1]) == ("w0.25", "w1.0") for names in draws)
    assert all(widths(names) == sorted(widths(names)) and len(names) <= 4 for names in draws)
    between = np.array([w for names in draws for w in widths(names)[1:-1]])
    assert len(between) > 990  # hardly any twice in a step
    assert np.mean(between) == pytest.approx(0.625, abs=0.02)
    assert np.quantile(between, [0.25, 0.75]) == pytest.approx([0.4375, 0.8125], abs=0.03)
    assert draws == [draw_any_widths(RANGE, 4, 0, step, 0.25) for step in range(500)]
    assert draws != [draw_any_widths(RANGE, 4, 1, step, 0.25) for step in range(500)]
    assert all(RANGE.check(name) for names in draws for name in names)


def test_networks_of_any_width_have_listed_depths():
    names = {name for step in range(40) for name in draw_any_widths(DEEP, 3, 0, step, 0.5)}
    assert {name.partition("-")[2] for name in names} == {"d1111", "d2222"}
    assert {DEEP.member(name)[1] for name in names} == {(1, 1, 1, 1), (2, 2, 2, 2)}


def test_small_networks_are_drawn_more_often():
    """By width ** -2, 0.75, 1 and 1.25 have chances 16 : 9 : 5.76."""
    names = FIVE.names
    chances = [FIVE.member(name)[0] ** -2 for name in names]
    drawn = [draw_networks(names, 3, 0, step, chances)[1] for step in range(2000)]
    shares = [drawn.count(name) / 2000 for name in names[1:-1]]
    assert shares == pytest.approx([0.52, 0.293, 0.187], abs=0.03)
    # and so are any widths: the median of the density w ** -1 is the geometric mean of the ends
    between = [widths(draw_any_widths(RANGE, 3, 0, step, 0.25, 1.0))[1] for step in range(1000)]
    assert np.median(between) == pytest.approx(0.5, abs=0.03)
    between = [widths(draw_any_widths(RANGE, 3, 0, step, 0.25, 2.0))[1] for step in range(1000)]
    assert np.median(between) == pytest.approx(0.4, abs=0.03)  # the harmonic mean of the ends


def test_the_range_opens_in_four_quarters_of_the_training():
    found = [lowest_width(RANGE, share) for share in (0, 0.24, 0.25, 0.49, 0.5, 0.74, 0.75, 0.999, 1.0)]
    assert found == pytest.approx([1.0, 1.0, 0.75, 0.75, 0.5, 0.5, 0.25, 0.25, 0.25])
    assert draw_any_widths(RANGE, 4, 0, 0, 1.0) == ("w1.0",)
    assert draw_any_widths(RANGE, 4, 0, 0, 0.5)[0] == "w0.5"


def test_losses_weigh_by_size():
    names = ("w0.5", "w1.0", "w1.5")
    assert loss_weights(FIVE, names, "equal") == dict.fromkeys(names, 1.0)
    by_width = loss_weights(FIVE, names, "width")
    assert by_width == pytest.approx({"w0.5": 0.5, "w1.0": 1.0, "w1.5": 1.5})
    assert loss_weights(FIVE, names, "largest") == {"w0.5": 1.0, "w1.0": 1.0, "w1.5": 2.5}
    assert loss_weights(RANGE, ("w0.25", "w0.613", "w1.0"), "largest")["w1.0"] == pytest.approx(1.863)
