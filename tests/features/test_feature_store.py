from __future__ import annotations

import errno
import json
import os

import numpy as np
import pytest

from mmssl_dynamic.errors import ArtifactError, ConfigError, OutputError
from mmssl_dynamic.features.feature_file import Features
from mmssl_dynamic.features.feature_store import FeatureStore
from mmssl_dynamic.result_cache import COMPUTATIONS, Key
from tests.test_writing import largest_file

INPUTS = {name: name for name in COMPUTATIONS["features"].depends_on}
KEY = Key("features", INPUTS)
ROWS = np.random.default_rng(0).standard_normal((10, 4)).astype(np.float32)
SIDECAR = {"names": "\n".join(map(str, range(10))), "labels": None, "classes": None}


def files(folder):
    return sorted(path.name for path in folder.iterdir())


def write(store, start, stop, step=2):
    for first in range(start, stop, step):
        store.append(ROWS[first : first + step])


def test_the_array_gets_its_name_only_when_it_is_complete(tmp_path):
    store = FeatureStore(tmp_path / "F.npy", 10, KEY)
    with store:
        write(store, 0, 10)
        assert "F.npy" not in files(tmp_path)
    features = store.finish(SIDECAR)
    assert files(tmp_path) == ["F.json", "F.npy"]
    np.testing.assert_array_equal(features.rows, ROWS)
    np.testing.assert_array_equal(np.load(tmp_path / "F.npy"), ROWS)


def test_rows_count_as_done_only_after_a_flush(tmp_path):
    store = FeatureStore(tmp_path / "F.npy", 10, KEY, flush_seconds=1e9)
    store.__enter__()
    write(store, 0, 4)
    assert FeatureStore(tmp_path / "F.npy", 10, KEY).done == 0  # as after a kill at this moment
    store.flush()
    write(store, 4, 6)
    assert FeatureStore(tmp_path / "F.npy", 10, KEY).done == 4


def test_an_error_keeps_the_rows_written_before_it_and_the_next_run_goes_on_there(tmp_path):
    def interrupted():
        with FeatureStore(tmp_path / "F.npy", 10, KEY, flush_seconds=1e9) as store:
            write(store, 0, 6)
            raise RuntimeError("boom")

    with pytest.raises(RuntimeError, match="boom"):
        interrupted()
    assert files(tmp_path) == ["F.npy.partial", "F.npy.progress.json"]
    with pytest.raises(ArtifactError, match="not finished"):
        Features.load(tmp_path / "F.npy")
    with FeatureStore(tmp_path / "F.npy", 10, KEY) as store:
        assert store.done == 6
        write(store, 6, 10)
    np.testing.assert_array_equal(store.finish(SIDECAR).rows, ROWS)


def test_a_store_that_lacks_rows_cannot_be_finished(tmp_path):
    with FeatureStore(tmp_path / "F.npy", 10, KEY) as store:
        write(store, 0, 8)
    with pytest.raises(ArtifactError, match="has 8 of 10 rows"):
        store.finish(SIDECAR)


def test_a_kill_between_the_last_row_and_the_renaming_is_made_good(tmp_path):
    with FeatureStore(tmp_path / "F.npy", 10, KEY) as store:
        write(store, 0, 10)
    again = FeatureStore(tmp_path / "F.npy", 10, KEY)
    assert again.done == 10
    assert not again.finished
    again.finish(SIDECAR)
    assert files(tmp_path) == ["F.json", "F.npy"]
    assert FeatureStore(tmp_path / "F.npy", 10, KEY).finished


@pytest.mark.parametrize("finished", [False, True])
def test_other_weights_or_images_are_refused_by_name_and_again_overwrites(tmp_path, finished):
    with FeatureStore(tmp_path / "F.npy", 10, KEY) as store:
        write(store, 0, 10)
    if finished:
        store.finish(SIDECAR)
    for name in INPUTS:
        with pytest.raises(ArtifactError, match=f"a different {name}; give another --out, or --again"):
            FeatureStore(tmp_path / "F.npy", 10, Key("features", {**INPUTS, name: "other"}))
    assert FeatureStore(tmp_path / "F.npy", 10, Key("features", {**INPUTS, "weights": "other"}), again=True).done == 0
    assert files(tmp_path) == []


@pytest.mark.parametrize("file", ["F.npy.partial", "F.npy.progress.json"])
def test_an_unfinished_file_that_is_damaged_is_begun_anew_and_said(tmp_path, file):
    with FeatureStore(tmp_path / "F.npy", 10, KEY) as store:
        write(store, 0, 4)
    data = (tmp_path / file).read_bytes()
    (tmp_path / file).write_bytes(data[: len(data) // 3])
    with pytest.warns(UserWarning, match=f"{file} is damaged, so it is computed anew"):
        assert FeatureStore(tmp_path / "F.npy", 10, KEY).done == 0
    assert files(tmp_path) == []


@pytest.mark.parametrize("file", ["F.npy", "F.json"])
def test_a_finished_file_that_is_damaged_is_begun_anew_and_said(tmp_path, file):
    with FeatureStore(tmp_path / "F.npy", 10, KEY) as store:
        write(store, 0, 10)
    store.finish(SIDECAR)
    data = (tmp_path / file).read_bytes()
    (tmp_path / file).write_bytes(data[:-20])
    with pytest.warns(UserWarning, match=f"{file} is damaged, so it is computed anew"):
        assert not FeatureStore(tmp_path / "F.npy", 10, KEY).finished
    assert files(tmp_path) == []


def test_an_array_without_a_sidecar_may_be_anything_and_is_left_alone(tmp_path):
    np.save(tmp_path / "F.npy", ROWS)
    with pytest.raises(ArtifactError, match="has no sidecar F.json, so it may be anything"):
        FeatureStore(tmp_path / "F.npy", 10, KEY)
    np.testing.assert_array_equal(np.load(tmp_path / "F.npy"), ROWS)


def test_a_width_that_changes_between_runs_is_refused(tmp_path):
    with FeatureStore(tmp_path / "F.npy", 10, KEY) as store:
        write(store, 0, 4)
        with pytest.raises(ArtifactError, match="4 features per image, not 5"):
            store.append(np.zeros((2, 5), np.float32))


def test_a_full_disk_is_one_sentence_and_leaves_nothing(tmp_path, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "posix_fallocate", full)
    with (
        pytest.raises(OutputError, match="no room for .*F.npy: it takes 160 B, and .* left"),
        FeatureStore(tmp_path / "F.npy", 10, KEY) as store,
    ):
        write(store, 0, 2)
    assert files(tmp_path) == []


def test_a_disk_without_room_for_its_first_bytes_is_the_same_sentence(tmp_path):
    with (
        largest_file(64),
        pytest.raises(OutputError, match="no room for .*F.npy: it takes 160 B"),
        FeatureStore(tmp_path / "F.npy", 10, KEY) as store,
    ):
        write(store, 0, 2)
    assert files(tmp_path) == []


def test_the_file_name_must_end_in_npy(tmp_path):
    with pytest.raises(ConfigError, match="must end in .npy"):
        FeatureStore(tmp_path / "F.bin", 10, KEY)


def test_progress_is_readable_json_with_the_identity(tmp_path):
    with FeatureStore(tmp_path / "F.npy", 10, KEY) as store:
        write(store, 0, 4)
    state = json.loads((tmp_path / "F.npy.progress.json").read_text())
    assert state == {"identity": KEY.record(), "feature_dim": 4, "rows_done": 4}
