from __future__ import annotations

import numpy as np
import pytest

from mmssl_dynamic.rows import ShuffledBatches, chunks, normalise, sample_rows


def numbered(count, dim=4):
    """Rows that know their number."""
    return np.arange(count, dtype=np.float32)[:, None].repeat(dim, axis=1)


@pytest.fixture(params=["array", "memory map"])
def rows(request, tmp_path):
    array = numbered(1000)
    if request.param == "array":
        return array
    np.save(tmp_path / "rows.npy", array)
    return np.load(tmp_path / "rows.npy", mmap_mode="r")


@pytest.mark.parametrize("window_bytes", [1 << 20, 16 * 100])  # all rows at once; a hundred at a time
def test_an_epoch_visits_every_row_once_up_to_a_short_last_batch(rows, window_bytes):
    batches = ShuffledBatches(rows, 64, seed=1, block_bytes=16 * 8, window_bytes=window_bytes)
    epoch = list(batches.epoch(0))
    seen = np.concatenate(epoch)[:, 0].astype(int).tolist()
    assert len(set(seen)) == len(seen) == 1000
    assert len(epoch) == len(batches) == 16
    assert [len(batch) for batch in epoch] == [64] * 15 + [40]
    assert seen != sorted(seen)


@pytest.mark.parametrize("window_bytes", [1 << 20, 16 * 100])
def test_a_last_batch_of_less_than_half_is_left_out_and_differs_between_epochs(window_bytes):
    batches = ShuffledBatches(numbered(1000), 300, block_bytes=16 * 8, window_bytes=window_bytes)
    missing = []
    for number in range(2):
        epoch = list(batches.epoch(number))
        assert [len(batch) for batch in epoch] == [300] * 3
        missing.append(set(range(1000)) - set(np.concatenate(epoch)[:, 0].astype(int)))
    assert len(batches) == 3
    assert missing[0] != missing[1]


def test_order_depends_on_seed_and_epoch_only():
    def order(seed, number):
        return np.concatenate(list(ShuffledBatches(numbered(200), 32, seed).epoch(number)))[:, 0].tolist()

    assert order(0, 3) == order(0, 3)
    assert order(0, 3) != order(0, 4)
    assert order(0, 3) != order(1, 3)


def test_a_small_window_still_mixes_distant_rows_into_a_batch():
    # A sorted file read window by window would give batches that span a tenth of it.
    batches = ShuffledBatches(numbered(4000), 64, block_bytes=16 * 4, window_bytes=16 * 400)
    spans = [np.ptp(batch[:, 0]) for batch in batches.epoch(0)]
    assert min(spans) > 2000


def test_normalised_rows_have_unit_length_and_zero_rows_stay_zero():
    rows = np.array([[3, 4], [0, 0], [0.1, 0]], np.float32)
    np.testing.assert_allclose(normalise(rows), [[0.6, 0.8], [0, 0], [1, 0]], atol=1e-6)
    np.testing.assert_allclose(normalise(rows, np.array([3, 0], np.float32))[0], [0, 1])


def test_chunks_cover_all_rows_within_their_size():
    parts = list(chunks(10, 4, chunk_bytes=48))
    assert [(p.start, p.stop) for p in parts] == [(0, 3), (3, 6), (6, 9), (9, 10)]
    assert len(list(chunks(3, 1000, chunk_bytes=1))) == 3


def test_a_sample_holds_different_rows(rows):
    sample = sample_rows(rows, 100, np.random.default_rng(0))[:, 0]
    assert len(np.unique(sample)) == 100
    np.testing.assert_array_equal(sample_rows(rows, 5000, np.random.default_rng(0)), np.asarray(rows))
