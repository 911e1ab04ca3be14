"""results.json survives a round trip, and its table shows what it holds."""

import json

import pytest

from mmssl_dynamic.errors import ArtifactError
from mmssl_dynamic.evaluation.evaluation_result import EvaluationResult, NetworkResult, by_cost
from mmssl_dynamic.evaluation.latency import Latency

TIME = Latency(1.5, 1.0, 2.0, 1, (32, 32), 50, 10, "CPU (x86_64)", 2)


def result(*networks):
    protocol = {"kind": "knn", "k": 20}
    return EvaluationResult(protocol, {"name": "pets"}, "abc", list(networks), {"torch": "2"}, "c.py", "e.pth", None)


SMALL = NetworkResult("w0.5", 50.123, 80.0, 1_500_000, 69_000_000, TIME, 3.0)
LARGE = NetworkResult("w1.5", 60.0, None, 6_000_000, 484_000_000, None, 4.0)


def test_a_result_read_back_is_the_one_written(tmp_path):
    written = result(SMALL, LARGE)
    written.save(tmp_path / "results.json")
    assert EvaluationResult.load(tmp_path / "results.json") == written


def test_the_cheapest_comes_first():
    assert by_cost([LARGE, SMALL]) == [SMALL, LARGE]


def test_the_table_has_a_line_per_network_and_says_how_the_latency_was_measured():
    lines = result(SMALL, LARGE).table().splitlines()
    assert lines[1].split() == ["w0.5", "50.12", "80.00", "1.50", "69.0", "1.50"]
    assert lines[2].split() == ["w1.5", "60.00", "-", "6.00", "484.0", "-"]
    assert lines[3] == "latency: median of 50 passes after 10, 1 image of 32 x 32 px, CPU (x86_64), 2 threads"
    assert len({line.index(part) + len(part) for line, part in zip(lines, ("top-1 %", "50.12", "60.00"))}) == 1


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda data: data.pop("schema_version"), "is not an evaluation result"),
        (lambda data: data.update(schema_version=0), "schema version 0"),
        (lambda data: data.pop("protocol"), "is incomplete"),
        (lambda data: data["networks"][0].pop("macs"), "is incomplete"),
    ],
)
def test_other_files_are_refused(tmp_path, change, message):
    file = tmp_path / "results.json"
    result(SMALL).save(file)
    data = json.loads(file.read_text())
    change(data)
    file.write_text(json.dumps(data))
    with pytest.raises(ArtifactError, match=message):
        EvaluationResult.load(file)
