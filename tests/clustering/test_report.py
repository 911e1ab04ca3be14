from __future__ import annotations

import json
import math

import numpy as np
import pytest

from mmssl_dynamic.clustering.report import ClusterReport
from mmssl_dynamic.clusters import Clusters


def clusters_of(assignment, num_clusters):
    assignment = np.asarray(assignment)
    return Clusters([str(i) for i in range(len(assignment))], assignment, num_clusters, "sinkhorn")


def test_entropy_of_a_balanced_split_is_log_k_and_of_one_cluster_is_zero():
    even = ClusterReport.of(clusters_of([0, 1, 2, 3] * 5, 4))
    assert even.entropy == pytest.approx(math.log(4))
    assert even.entropy_share == pytest.approx(1)
    single = ClusterReport.of(clusters_of([1, 1, 1], 4))
    assert (single.entropy, single.entropy_share, single.empty) == (0, 0, 3)


def test_entropy_of_an_uneven_split_is_that_of_its_shares():
    report = ClusterReport.of(clusters_of([0, 0, 0, 1], 2))
    assert report.entropy == pytest.approx(-(0.75 * math.log(0.75) + 0.25 * math.log(0.25)))


def test_nmi_is_one_for_the_classes_themselves_and_small_for_the_random_split_of_equal_sizes():
    labels = np.repeat(np.arange(5), 200)
    report = ClusterReport.of(clusters_of((labels + 2) % 5, 5), labels)
    assert report.nmi == pytest.approx(1)
    assert report.num_classes == 5
    assert 0 < report.nmi_random < 0.05
    assert "NMI to the 5 classes: 1.0000; random split of the same sizes: 0.0" in report.text()


def test_without_labels_there_is_no_nmi():
    report = ClusterReport.of(clusters_of([0, 1], 2))
    assert report.nmi is None
    assert "NMI" not in report.text()


def test_the_text_names_smallest_and_largest_and_warns_of_empty_clusters():
    text = ClusterReport.of(clusters_of([0, 0, 0, 2, 2, 3], 4)).text()
    assert "smallest 0 (cluster 1), median 1, largest 3 (cluster 0)" in text
    assert "1 clusters are empty" in text


def test_the_dictionary_is_json():
    report = ClusterReport.of(clusters_of([0, 1], 2), np.array([0, 1]))
    assert ClusterReport(**json.loads(json.dumps(report.as_dict()))) == report
