from __future__ import annotations

import json
import zipfile

import numpy as np
import pytest

from mmssl_dynamic.clusters import Clusters
from mmssl_dynamic.errors import ArtifactError


def make(**changes) -> Clusters:
    arguments = {
        "names": ["b/1.png", "a/2.png", "ä/3 4.png", "a/5.png"],
        "assignment": np.array([2, 0, 0, 2]),
        "num_clusters": 3,
        "method": "sinkhorn",
        "centroids": np.eye(3, 5, dtype=np.float32),
        "mean": np.arange(5, dtype=np.float32),
        "meta": {"seed": 3, "report": {"nmi": 0.25}},
    }
    return Clusters(**{**arguments, **changes})


def test_a_saved_file_comes_back_the_same(tmp_path):
    clusters = make()
    clusters.save(tmp_path / "clusters.npz")
    loaded = Clusters.load(tmp_path / "clusters.npz")
    assert loaded.names == clusters.names
    assert loaded.assignment.dtype == np.int32
    assert loaded.centroids.dtype == np.float32
    for name in ("assignment", "centroids", "mean"):
        np.testing.assert_array_equal(getattr(loaded, name), getattr(clusters, name))
    assert (loaded.num_clusters, loaded.method, loaded.meta) == (3, "sinkhorn", clusters.meta)


def test_a_random_split_has_neither_centroids_nor_scores(tmp_path):
    make(centroids=None, mean=None, method="random").save(tmp_path / "clusters.npz")
    loaded = Clusters.load(tmp_path / "clusters.npz")
    assert loaded.centroids is None
    with pytest.raises(ArtifactError, match="random split without centroids"):
        loaded.scores(np.zeros((1, 5), np.float32))


def test_file_names_that_are_not_utf8_survive(tmp_path):
    name = b"caf\xe9.png".decode("utf-8", "surrogateescape")
    make(names=[name, "b", "c", "d"]).save(tmp_path / "clusters.npz")
    assert Clusters.load(tmp_path / "clusters.npz").names[0] == name


def test_sizes_and_members_count_empty_clusters():
    clusters = make()
    assert clusters.sizes.tolist() == [2, 0, 2]
    assert [clusters.members(i).tolist() for i in range(3)] == [[1, 2], [], [0, 3]]
    with pytest.raises(ArtifactError, match=r"no cluster 3, only 0\.\.2"):
        clusters.members(3)


def test_align_matches_by_name_whatever_the_order_and_takes_a_part_of_the_data():
    assert make().align(["a/5.png", "ä/3 4.png", "b/1.png"]).tolist() == [2, 0, 2]


def test_align_names_an_image_that_is_not_in_the_file():
    with pytest.raises(ArtifactError, match=r"2 of 3 images are not in it, such as 'x\.png'"):
        make().align(["a/2.png", "x.png", "y.png"])


def test_scores_are_cosines_to_centroids_after_subtracting_the_mean():
    clusters = make()
    features = np.arange(5, dtype=np.float32) + np.array([[3, 4, 0, 0, 0]], np.float32)
    np.testing.assert_allclose(clusters.scores(features), [[0.6, 0.8, 0]], atol=1e-6)
    with pytest.raises(ArtifactError, match="5 dimensions"):
        clusters.scores(np.zeros((2, 4), np.float32))


def test_check_paths_tells_both_ways_out():
    make().check_paths(3)
    with pytest.raises(ArtifactError, match="3 clusters but the network has 16 paths.*--num-clusters 16.*stage_groups"):
        make().check_paths(16)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"names": ["a", "b", "c"]}, "3 image names but 4 assignments"),
        ({"names": ["a", "b", "c", "b"]}, "'b' appears twice"),
        ({"assignment": np.array([0, 1, 2, 3])}, r"clusters outside 0\.\.2"),
        ({"assignment": np.array([0, 1, 2, -1])}, r"clusters outside 0\.\.2"),
        ({"assignment": np.array([0.0, 1, 2, 2])}, "whole number"),
        ({"centroids": np.zeros((4, 5), np.float32), "mean": None}, r"centroids of shape \(4, 5\)"),
        ({"mean": np.zeros(4, np.float32)}, r"mean of shape \(4,\)"),
        ({"names": [], "assignment": np.zeros(0, int)}, "no images"),
    ],
)
def test_contradicting_parts_are_refused(changes, message):
    with pytest.raises(ArtifactError, match=message):
        make(**changes)


def test_a_name_with_a_line_break_is_refused_and_nothing_is_written(tmp_path):
    with pytest.raises(ArtifactError, match="line break"):
        make(names=["a\nb", "c", "d", "e"]).save(tmp_path / "clusters.npz")
    assert list(tmp_path.iterdir()) == []


def test_broken_foreign_and_missing_files_are_told_apart_from_good_ones(tmp_path):
    with pytest.raises(ArtifactError, match="does not exist"):
        Clusters.load(tmp_path / "none.npz")
    make().save(tmp_path / "good.npz")
    data = (tmp_path / "good.npz").read_bytes()
    (tmp_path / "cut.npz").write_bytes(data[: len(data) // 2])
    (tmp_path / "text.npz").write_text("hello")
    (tmp_path / "empty.npz").write_bytes(b"")
    np.savez(tmp_path / "other.npz", a=np.zeros(3))
    np.savez(tmp_path / "pickle.npz", schema_version=np.array([{}], dtype=object))
    with (tmp_path / "array.npz").open("wb") as file:
        np.save(file, np.zeros(3))
    with zipfile.ZipFile(tmp_path / "zip.npz", "w") as archive:
        archive.writestr("schema_version.npy", json.dumps(1))
    for name in ("cut", "text", "empty", "other", "pickle", "array", "zip"):
        with pytest.raises(ArtifactError, match=f"{name}.npz is broken or no clusters file"):
            Clusters.load(tmp_path / f"{name}.npz")


def test_a_file_of_another_format_version_is_refused(tmp_path):
    make().save(tmp_path / "clusters.npz")
    with np.load(tmp_path / "clusters.npz") as archive:
        arrays = dict(archive)
    np.savez(tmp_path / "clusters.npz", **{**arrays, "schema_version": np.asarray(2)})
    with pytest.raises(ArtifactError, match="format version 2, not 1"):
        Clusters.load(tmp_path / "clusters.npz")
