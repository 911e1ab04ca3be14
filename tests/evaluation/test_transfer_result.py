"""results.json of a transfer: read back, tabulated, and the choice that takes no part of the test."""

import json

import pytest

from mmssl_dynamic.errors import ArtifactError
from mmssl_dynamic.evaluation.transfer_result import TransferResult, TransferScore

FIGURES = {  # network, data set: validation, test
    ("a", "dtd"): (50.0, 40.0),
    ("b", "dtd"): (52.0, 38.0),
    ("full", "dtd"): (52.0, 41.0),
    ("a", "pets"): (70.0, 71.0),
    ("b", "pets"): (60.0, 75.0),
    ("full", "pets"): (65.0, 69.0),
}


def transfer_result(figures=FIGURES, full="full"):
    metrics = {"dtd": "top1", "pets": "mean_per_class"}
    networks = dict.fromkeys(dict.fromkeys(name for name, _ in figures), {"params": 10, "macs": 20})
    scores = [
        TransferScore(name, data, metrics[data], test, val, 0.1, {metrics[data]: test}, 45, 100, 1.5)
        for (name, data), (val, test) in figures.items()
    ]
    return TransferResult({"kind": "x"}, {"dtd": {}, "pets": {}}, "f" * 64, networks, full, scores, {"torch": "2"})


def test_is_read_back_as_it_was(tmp_path):
    result = transfer_result()
    result.save(tmp_path / "results.json")
    assert TransferResult.load(tmp_path / "results.json") == result


def test_the_choice_is_made_on_validation_images_and_the_first_of_equals_stays():
    result = transfer_result()
    assert [result.chosen(data).network for data in ("dtd", "pets")] == ["b", "a"]
    assert result.mean("full") == 55.0


def test_the_table_shows_every_score_the_means_and_the_choice():
    lines = [line.split() for line in transfer_result().table().splitlines()]
    assert lines[0] == ["network", "dtd", "pets", "mean"]
    assert lines[1:5] == [
        ["a", "40.00", "71.00", "55.50"],
        ["b", "38.00", "75.00", "56.50"],
        ["full", "41.00", "69.00", "55.00"],
        ["chosen", "38.00", "71.00", "54.50"],
    ]
    assert "chosen on validation images: dtd b, pets a" in transfer_result().table()
    assert "top-1: dtd\nmean per class: pets" in transfer_result().table()


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"kind": "knn"}, "not a transfer result"),
        ({"schema_version": 0}, "schema version 0, not 1"),
        ({"scores": [{}]}, "incomplete"),
    ],
)
def test_other_files_are_refused(tmp_path, change, words):
    transfer_result().save(tmp_path / "results.json")
    data = json.loads((tmp_path / "results.json").read_text())
    (tmp_path / "results.json").write_text(json.dumps({**data, **change}))
    with pytest.raises(ArtifactError, match=words):
        TransferResult.load(tmp_path / "results.json")
    with pytest.raises(ArtifactError, match="no score of a on food"):
        transfer_result().score("a", "food")
