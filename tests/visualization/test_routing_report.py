"""The routing report says what is known, how surely, and in words."""

import re
from dataclasses import replace

import pytest

from mmssl_dynamic.clusters import Clusters
from mmssl_dynamic.routing.result import Baseline, RoutingResult, SubnetScore
from mmssl_dynamic.visualization import routing_report
from mmssl_dynamic.visualization.routing_report import ClusterPictures, RoutedTask, write_routing_report

COST = {"images": 150, "image_stages": 900, "stage_runs": 6, "stage_runs_one_by_one": 12, "seconds": 1.5}


def result(full=60.0, best=70.0):
    scores = [SubnetScore("0-0-0-1", best, 64.0, 4.0, 1000, 2000), SubnetScore("0-0-0-0", 50.0, 55.0, -5.0, 1000, 2000)]
    protocol = {"selection": "kNN on train", "k": 20, "normalisation": {"mean": [1.5, 2.0], "to_rgb": True}, "bn": None}
    return RoutingResult("pets", protocol, "f" * 64, scores, SubnetScore("full", full, 60.0, 0.0, 5000, 9000), COST)


@pytest.fixture
def page(tmp_path, monkeypatch):
    for name in ("gains_histogram", "task_gains", "task_heatmap", "save_figure"):  # seconds of drawing
        monkeypatch.setattr(routing_report, name, lambda *_: None)
    monkeypatch.setattr(routing_report.HtmlReport, "figure", lambda *_: None)

    def write(task, **options):
        text = write_routing_report([task], tmp_path / "report.html", **options).read_text()
        return re.sub(r"\s+", " ", re.sub(r"(?s)<style>.*?</style>|<[^>]+>", " ", text))

    return write


def test_base_network_and_random_weights_stand_beside_the_choice_with_standard_errors(page):
    baselines = [Baseline("simsiam", 61.0, 62.0), Baseline("random weights", 30.0, 36.0)]
    text = page(RoutedTask(result(), baselines=baselines, counts={"train": 50, "test": 100}))
    assert "pets 0-0-0-1 64.0 ± 4.7 60.0 ± 4.8 62.0 ± 4.8 36.0 ± 4.7 +4.0" in text  # sqrt(66 / 104 x 38 / 104 / 104)
    assert "random weights 30.0 ± 6.3 36.0 ± 4.7 -24.0" in text  # over the full network's 60


def test_a_full_network_that_selects_better_is_said_aloud(page):
    assert "pets: the full network selects better than the chosen path 0-0-0-1 (75 against 70)" in page(
        RoutedTask(result(full=75.0))
    )
    assert "selects better" not in page(RoutedTask(result(full=65.0)))
    assert "use the full network for this task" in result(full=75.0).verdict()


def test_a_network_of_the_start_that_selects_better_is_said_aloud(page):
    better = replace(result(), start=Baseline("simsiam", 71.0, 62.0))
    assert "pets: simsiam, whose features were clustered, selects better than the chosen path 0-0-0-1" in page(
        RoutedTask(better)
    )


def test_sub_networks_with_few_steps_are_marked(page):
    text = page(RoutedTask(result()), steps={"full": 900, "0-0-0-0": 450, "0-0-0-1": 1})
    assert "1 of 2 sub-networks trained for fewer than 100 steps" in text
    assert "the chosen one for 1" in text
    assert "1, few" in text
    assert "450, few" not in text


def test_images_of_clusters_that_are_not_there_are_missed(page, tmp_path):
    clusters = Clusters(["cat/a.png", "dog/b.png"], [0, 1], 2, "random")
    pictures = ClusterPictures(clusters, ["0-0-0-0", "0-0-0-1"], tmp_path / "gone", found=False)
    text = page(RoutedTask(result()), pictures=pictures)
    assert f"The images of the clusters were not found (not in {tmp_path / 'gone'})" in text
    assert "dog 100 %" in text  # what their names tell is there all the same


def test_nothing_is_shown_as_a_programming_language_writes_it_and_words_are_explained(page):
    text = page(RoutedTask(result()))
    assert not set("{}[]") & set(text)
    assert "normalisation mean 1.5, 2; to_rgb yes" in text
    for word in ("regret", "stage runs", "phase"):
        assert f" {word} " in text.split(" Words ")[1]
