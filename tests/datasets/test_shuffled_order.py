"""Orders that are not laid out are permutations, decided by their key, and shuffled."""

import numpy as np
import pytest

from mmssl_dynamic.datasets.shuffled_order import ShuffledOrder


@pytest.mark.parametrize("count", [1, 2, 3, 4, 5, 50, 64, 65, 1000, 4097])
def test_an_order_holds_every_position_once_and_its_parts_are_those_of_the_whole(count):
    order = ShuffledOrder(count, [7, 1])
    whole = order[:]
    assert len(order) == count
    assert sorted(whole) == list(range(count))
    step = max(1, count // 7)
    parts = [ShuffledOrder(count, [7, 1])[start : start + step] for start in range(0, count, step)]
    assert (np.concatenate(parts) == whole).all()


def test_keys_decide_the_order():
    assert (ShuffledOrder(1000, [3, 5])[:] == ShuffledOrder(1000, [3, 5])[:]).all()
    orders = [ShuffledOrder(1000, [3, key])[:] for key in range(200)]
    same = np.mean([(a == b).mean() for a, b in zip(orders, orders[1:])])
    assert abs(same - 1 / 1000) < 3e-4  # standard deviation 7e-5


def test_positions_are_shuffled_as_a_random_order_is():
    count, keys = 48, 4000
    orders = np.stack([ShuffledOrder(count, [0, key])[:] for key in range(keys)])
    for position in (0, 1, 17, 47):  # each image is equally likely everywhere
        counts = np.bincount(orders[:, position], minlength=count)
        chi_square = ((counts - keys / count) ** 2 / (keys / count)).sum()
        assert chi_square < 47 + 5 * np.sqrt(2 * 47)
    steps = np.diff(orders, axis=1) % count  # and so is what follows it
    counts = np.bincount(steps.ravel(), minlength=count)[1:]
    assert np.abs(counts / counts.mean() - 1).max() < 0.08
