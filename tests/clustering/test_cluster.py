from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import normalized_mutual_info_score

from mmssl_dynamic.clustering.cluster import METHODS, cluster_features
from mmssl_dynamic.clustering.sinkhorn import SinkhornOptions
from mmssl_dynamic.errors import ArtifactError, ConfigError, LostProcessError
from mmssl_dynamic.execution import Execution
from mmssl_dynamic.features.feature_file import Features
from mmssl_dynamic.processes import Processes
from tests.processes import run_together

QUIET = Execution("cpu", progress=False)


@pytest.mark.parametrize("method", METHODS)
def test_every_image_is_in_one_cluster_and_every_cluster_has_the_least_size(features, method):
    clusters = cluster_features(features, 6, method, min_size=64, execution=QUIET)
    assert clusters.names == features.names
    assert clusters.sizes.sum() == 600
    assert clusters.sizes.min() >= 64
    assert clusters.method == method
    assert clusters.meta["weights_fingerprint"] == "fingerprint"


@pytest.mark.parametrize("method", ["sinkhorn", "kmeans"])
def test_learned_clusters_agree_with_the_classes_and_random_ones_do_not(features, method):
    agreement = {}
    for name in (method, "random"):
        clusters = cluster_features(features, 6, name, execution=QUIET)
        agreement[name] = normalized_mutual_info_score(features.labels, clusters.assignment)
    assert agreement[method] > 0.9
    assert agreement["random"] < 0.05


def test_scores_of_the_clustered_images_give_their_assignment(features):
    clusters = cluster_features(features, 6, min_size=0, execution=QUIET)
    np.testing.assert_array_equal(clusters.scores(features.rows).argmax(axis=1), clusters.assignment)


def test_without_centering_there_is_no_mean(features):
    assert cluster_features(features, 6, center=False, execution=QUIET).mean is None


def test_a_memory_map_and_an_array_give_the_same_split(features, tmp_path):
    features.save(tmp_path / "F.npy")
    one, other = (
        cluster_features(source, 5, options=SinkhornOptions(5, epochs=3), seed=4, execution=QUIET)
        for source in (features, Features.load(tmp_path / "F.npy"))
    )
    np.testing.assert_array_equal(one.assignment, other.assignment)
    np.testing.assert_array_equal(one.centroids, other.centroids)


def test_settings_are_kept_for_the_record(features):
    meta = cluster_features(
        features, 6, options=SinkhornOptions(6, epochs=2, lr=0.3), min_size=3, seed=9, execution=QUIET
    ).meta
    assert meta["sinkhorn"]["lr"] == 0.3
    assert meta["sinkhorn"]["num_clusters"] == 6
    assert (meta["seed"], meta["min_size"], meta["moved"]) == (9, 3, 0)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"num_clusters": 1}, "--num-clusters 1 must be at least 2"),
        ({"num_clusters": 601}, "--num-clusters 601 is more than the 600 images"),
        ({"num_clusters": 6, "min_size": 101}, "use --min-size 0 to 100"),
        ({"num_clusters": 6, "min_size": -1}, "use --min-size 0 to 100"),
        ({"num_clusters": 6, "method": "spectral"}, "use one of sinkhorn, kmeans, random"),
    ],
)
def test_requests_that_cannot_be_met_are_refused(features, arguments, message):
    with pytest.raises(ConfigError, match=message):
        cluster_features(features, **arguments, execution=QUIET)


def test_features_with_nan_are_refused(features):
    features.rows[3, 3] = np.nan
    with pytest.raises(ArtifactError, match="NaN"):
        cluster_features(features, 6, execution=QUIET)


def test_two_processes_make_the_clusters_of_one(features, tmp_path):
    """Of every method, with clusters that are filled up, and sizes that are balanced."""
    few = Features(features.rows[:550], features.names[:550], None, None, "fingerprint")  # 50 of the last class
    settings = [(features, {"method": name}) for name in METHODS]
    settings += [(features, {"assignment": "balanced"}), (few, {"method": "kmeans", "min_size": 60})]
    alone = [cluster_features(given, 6, execution=QUIET, **chosen) for given, chosen in settings]
    assert alone[-1].meta["moved"] >= 10

    def body(rank):
        for (given, chosen), expected in zip(settings, alone):
            found = cluster_features(given, 6, execution=QUIET, processes=Processes.now(), **chosen)
            np.testing.assert_array_equal(found.assignment, expected.assignment)
            assert found.meta == expected.meta
            if expected.centroids is not None:
                np.testing.assert_allclose(found.centroids, expected.centroids, rtol=0, atol=1e-4)

    ends = run_together(body, tmp_path)
    assert [end.status for end in ends] == [0, 0], ends[0].errors


def test_features_that_cannot_be_clustered_end_all_processes(features, tmp_path):
    broken = Features(np.full_like(features.rows, np.nan), features.names, None, None, "fingerprint")

    def body(rank):
        with pytest.raises(ArtifactError if rank == 0 else LostProcessError):
            cluster_features(broken, 6, execution=QUIET, processes=Processes.now())

    assert [end.status for end in run_together(body, tmp_path)] == [0, 0]
