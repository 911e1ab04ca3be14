"""A routing result survives its file, and refuses files that are none."""

import json
from dataclasses import replace

import pytest

from mmssl_dynamic.errors import ArtifactError
from mmssl_dynamic.routing import DroppedSubnet, RoutingResult, SubnetScore
from mmssl_dynamic.routing.result import Baseline, rank


def score(name, select, test=50.0):
    return SubnetScore(name, select, test, test - 40.0, 22_400_000, 3_960_000_000)


@pytest.fixture
def result():
    ranked = rank([score("0-0", 60.0), score("0-1", 70.0, 45.0), score("1-0", 70.0, 80.0), score("1-1", 10.0, 1.0)])
    return RoutingResult(
        "flowers",
        {"k": 200, "bn": "prefix", "selection": "leave-one-out on train"},
        "abc",
        ranked,
        SubnetScore("full", 65.0, 40.0, 0.0, 57_400_000, 9_900_000_000),
        {"images": 10, "stage_runs": 24, "seconds": 1.5},
        config="a.py",
        checkpoint="a.pth",
        bank="a.safetensors",
    )


def test_ranking_is_by_selection_accuracy_alone_and_stable(result):
    assert [s.name for s in result.subnets] == ["0-1", "1-0", "0-0", "1-1"]
    assert result.best.name == "0-1"


def test_a_result_comes_back_from_its_file_as_it_was(result, tmp_path):
    result.save(tmp_path / "routing.json")
    assert RoutingResult.load(tmp_path / "routing.json") == result
    data = json.loads((tmp_path / "routing.json").read_text())
    assert (data["kind"], data["schema_version"]) == ("routing", 5)
    assert data["best"] == "0-1"
    figures = {"name", "select_accuracy", "test_accuracy", "gain_over_full", "params", "macs"}
    assert set(data["subnets"][0]) == figures | {"score", "better", "worse"}
    assert "source" not in data


def test_regret_is_not_measured_against_other_statistics_of_the_same_kind(result):
    own, other = (replace(result, statistics=dict.fromkeys(result.ranked, text)) for text in ("own", "other"))
    assert own.regret(own) == 35.0
    assert own.regret(replace(other, protocol={**other.protocol, "bn": "path"})) == 35.0
    with pytest.raises(ArtifactError, match="was ranked with other BatchNorm statistics of 0-1 than those of now"):
        own.regret(other)


def test_table_shows_the_ranking_and_the_full_network(result):
    lines = result.table().splitlines()
    assert len(lines) == 6
    assert lines[1].split() == ["1", "0-1", "70.00", "45.00", "+5.00", "22.40", "3.960"]
    assert lines[-1].split() == ["-", "full", "65.00", "40.00", "+0.00", "57.40", "9.900"]
    short = result.table(rows=2).splitlines()
    assert len(short) == 5
    assert "2 more" in short[3]
    assert short[-1].split()[1] == "full"


def test_another_score_ranks_and_is_shown(result):
    by_score = rank(replace(s, score=value) for s, value in zip(result.subnets, (-1.5, 2.0, 0.5, 1000.0)))
    assert [s.name for s in by_score] == ["1-1", "1-0", "0-0", "0-1"]
    lines = replace(result, subnets=by_score).table().splitlines()
    assert lines[0].split()[:4] == ["rank", "sub-network", "score", "select"]
    assert lines[1].split()[:4] == ["1", "1-1", "1000", "10.00"]


@pytest.mark.parametrize(("better", "worse", "significant"), [(30, 10, True), (12, 6, False), (5, 20, False)])
def test_the_verdict_is_mcnemars_exact_test_times_the_number_of_candidates(result, better, worse, significant):
    from scipy.stats import binom

    best = replace(result.best, better=better, worse=worse)
    judged = replace(result, subnets=[best, *result.subnets[1:]])
    alone = float(binom.sf(better - 1, better + worse, 0.5))
    assert judged.p_value == pytest.approx(min(1.0, 4 * alone))
    assert ("better than chance makes the best of 4" in judged.verdict()) == significant
    assert ("the full network do as well" in judged.verdict()) != significant
    more = replace(judged, dropped=[DroppedSubnet(f"{i}", None, 0, "") for i in range(60)])
    assert more.p_value == pytest.approx(min(1.0, 64 * alone))


def test_there_is_no_test_where_no_image_tells_the_two_apart(result):
    assert result.p_value is None
    assert "as the full network does" in result.verdict()


def test_the_network_to_use_is_the_one_that_does_best_on_the_images_of_the_choice(result, tmp_path):
    """The sub-network ranks first with 70 %; test accuracies have no say."""
    assert result.chosen is result.best
    full = replace(result, full=score("full", 71.0))
    assert full.chosen is full.full
    for start, below in ((72.0, "0-1 (72 against 70): use it"), (70.5, None)):
        judged = replace(full, start=Baseline("simsiam", start, 10.0))
        assert judged.chosen is (judged.full if below is None else judged.start)
        assert (below or "use the full network for this task") in judged.verdict()
    judged.save(tmp_path / "routing.json")
    assert RoutingResult.load(tmp_path / "routing.json") == judged
    # as good as the sub-network is not better, and kNN accuracy cannot be held against another score
    assert not replace(result, start=Baseline("simsiam", 70.0, 99.0)).start_is_better
    scored = rank(replace(entry, score=1.0) for entry in result.subnets)
    assert not replace(result, subnets=scored, start=Baseline("simsiam", 99.0, None)).start_is_better


def test_other_weights_are_refused(result):
    result.check("abc")
    with pytest.raises(ArtifactError, match="other weights"):
        result.check("xyz")


def test_scores_are_found_by_name(result):
    assert result.score("full").params == 57_400_000
    with pytest.raises(ArtifactError, match="does not cover"):
        result.score("2-2")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"schema_version": 7}, "schema version 7"),
        ({"subnets": None}, "incomplete"),
        ({"subnets": []}, "ranks no sub-network"),
        ({"full": {"name": "full"}}, "incomplete"),
        ({"best": "1-1"}, "another best"),
    ],
)
def test_broken_files_are_refused(result, tmp_path, change, words):
    path = tmp_path / "routing.json"
    result.save(path)
    path.write_text(json.dumps({**json.loads(path.read_text()), **change}))
    with pytest.raises(ArtifactError, match=words):
        RoutingResult.load(path)


def test_files_of_another_kind_are_refused(tmp_path):
    (tmp_path / "a.json").write_text("[1, 2]")
    with pytest.raises(ArtifactError, match="not a routing result"):
        RoutingResult.load(tmp_path / "a.json")
    with pytest.raises(ArtifactError, match="does not exist"):
        RoutingResult.load(tmp_path / "b.json")
