from __future__ import annotations

import json

import numpy as np
import pytest

from mmssl_dynamic.errors import ArtifactError
from mmssl_dynamic.features.feature_file import Features, check_values, features_sidecar


def test_saved_features_come_back_memory_mapped_with_names_and_labels(features, tmp_path):
    features.save(tmp_path / "F.npy")
    loaded = Features.load(tmp_path / "F.npy")
    assert isinstance(loaded.rows, np.memmap)
    np.testing.assert_array_equal(loaded.rows, features.rows)
    np.testing.assert_array_equal(loaded.labels, features.labels)
    assert (loaded.names, loaded.classes) == (features.names, features.classes)
    assert (loaded.num_images, loaded.dim, loaded.weights_fingerprint) == (600, 16, "fingerprint")


def test_the_mean_is_that_of_all_rows_and_progress_counts_them(features):
    counted = []
    np.testing.assert_allclose(check_values(features, counted.append), features.rows.mean(axis=0), atol=1e-6)
    assert sum(counted) == 600


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_a_row_that_is_not_finite_is_named(features, value):
    features.rows[412, 3] = value
    with pytest.raises(ArtifactError, match=r"features of '4/0412.png' \(row 412\) hold NaN or infinity"):
        check_values(features)


def test_collapsed_features_are_refused(features):
    features.rows[:] = features.rows[0]
    with pytest.raises(ArtifactError, match="collapsed"):
        check_values(features)


def change_sidecar(path, **changes):
    file = features_sidecar(path)
    file.write_text(json.dumps({**json.loads(file.read_text()), **changes}))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"complete": False}, "not complete"),
        ({"feature_dim": 17}, r"shape \(600, 16\) but its sidecar F.json tells of \(600, 17\)"),
        ({"num_rows": 599}, "different runs"),
        ({"names": "a"}, "with 1 names"),
        ({"labels": [1, 2]}, "different runs"),
        ({"labels": "1"}, "'labels' is no list of classes"),
        ({"labels": [0.5] * 600}, "'labels' is no list of classes"),
        ({"labels": [[1], [1, 2]]}, "'labels' is no list of classes"),
        ({"labels": [-1] * 600}, "'labels' is no list of classes"),
        ({"labels": [2**31] * 600}, "'labels' is no list of classes"),
        ({"names": None}, "'names' is None, not text"),
        ({"schema_version": 7}, "format version 7"),
    ],
)
def test_a_sidecar_that_contradicts_the_array_is_refused(features, tmp_path, changes, message):
    features.save(tmp_path / "F.npy")
    change_sidecar(tmp_path / "F.npy", **changes)
    with pytest.raises(ArtifactError, match=message):
        Features.load(tmp_path / "F.npy")


def test_missing_unfinished_and_broken_files_are_told_apart(features, tmp_path):
    path = tmp_path / "F.npy"
    with pytest.raises(ArtifactError, match="does not exist"):
        Features.load(path)
    (tmp_path / "F.npy.partial").write_bytes(b"x")
    with pytest.raises(ArtifactError, match="not finished .* resume"):
        Features.load(path)
    features.save(path)
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2])
    with pytest.raises(ArtifactError, match="broken or no .npy file"):
        Features.load(path)
    np.save(path, features.rows.astype(np.float64))
    with pytest.raises(ArtifactError, match=r"holds float64 of shape \(600, 16\)"):
        Features.load(path)
    np.save(path, features.rows[0])
    with pytest.raises(ArtifactError, match="no .npy file of float32 rows"):
        Features.load(path)
    np.save(path, np.array([{"a": 1}]), allow_pickle=True)
    with pytest.raises(ArtifactError, match="broken or no .npy file"):
        Features.load(path)
    np.save(path, features.rows)
    features_sidecar(path).unlink()
    with pytest.raises(ArtifactError, match="no sidecar F.json"):
        Features.load(path)


def test_features_without_a_name_for_every_row_are_not_written(features, tmp_path):
    with pytest.raises(ArtifactError, match="for each of 600 rows"):
        Features(features.rows, features.names[1:]).save(tmp_path / "F.npy")
    assert list(tmp_path.iterdir()) == []
