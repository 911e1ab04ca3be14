"""Pictures of a transfer: every bar is its score, every dot its gain."""

import pytest

from mmssl_dynamic.errors import ConfigError
from mmssl_dynamic.visualization.transfer_plots import transfer_gains, transfer_scores
from tests.evaluation.test_transfer_result import FIGURES, transfer_result


def test_bars_are_the_scores_of_every_network_and_their_means():
    (axes,) = transfer_scores(transfer_result()).axes
    heights = {bars.get_label(): [bar.get_height() for bar in bars] for bars in axes.containers}
    assert heights == {"a": [40, 71, 55.5], "b": [38, 75, 56.5], "full": [41, 69, 55]}
    assert [label.get_text() for label in axes.get_xticklabels()] == ["dtd", "pets", "mean"]


def test_of_many_networks_the_full_and_the_chosen_ones_are_shown():
    more = {(f"n{i}", data): (1.0, 2.0) for i in range(20) for data in ("dtd", "pets")}
    (axes,) = transfer_scores(transfer_result({**FIGURES, **more})).axes
    heights = {bars.get_label(): [bar.get_height() for bar in bars] for bars in axes.containers}
    assert heights == {"full": [41, 69, 55], "chosen on validation images": [38, 71, 54.5]}


def test_dots_are_gains_over_the_full_network():
    (axes,) = transfer_gains(transfer_result()).axes
    dots = [line.get_ydata().tolist() for line in axes.lines if line.get_marker() == "o"]
    assert dots == [[-1, -3], [2, 6]]
    chosen = [line.get_ydata()[0] for line in axes.lines if line.get_marker() == "D"]
    assert chosen == [-3, 2]
    with pytest.raises(ConfigError, match="full network"):
        transfer_gains(transfer_result(full=None))
