"""Plain data becomes a dataclass only if every value is of its field's type."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import pytest

from mmssl_dynamic.records import Amount, Count, Percent, RecordError, read_record


@dataclass(frozen=True)
class Network:
    name: str
    top1: Percent
    size: tuple[Count, Count]
    top5: Percent | None = None


@dataclass(frozen=True)
class Result:
    networks: list[Network]
    scores: dict[str, float]
    meta: dict[str, Any]
    done: bool
    seconds: Amount = 0.0
    source: str = field(default="here", compare=False)


GOOD = {
    "networks": [{"name": "full", "top1": 50, "size": [32, 48], "top5": None}],
    "scores": {"a": 1.5},
    "meta": {"anything": [None]},
    "done": True,
    "unknown": 3,
}


def test_values_come_in_the_types_of_their_fields():
    found = read_record(Result, GOOD)
    assert found == Result([Network("full", 50.0, (32, 48))], {"a": 1.5}, {"anything": [None]}, True)
    assert type(found.networks[0].top1) is float
    assert type(found.networks[0].size) is tuple
    assert read_record(Result, {**GOOD, "source": "there"}, without=["source"]).source == "here"


@pytest.mark.parametrize(
    ("network", "message"),
    [
        ({"top1": float("nan")}, r"'networks\[0\].top1' is nan, not a number from 0 to 100"),
        ({"top1": float("inf")}, "inf, not a number"),
        ({"top1": 100.1}, "not a number from 0 to 100"),
        ({"top1": -1}, "not a number from 0 to 100"),
        ({"top1": True}, "True, not a number"),
        ({"top1": "50"}, "'50', not a number"),
        ({"top1": 10**400}, "not a number"),
        ({"top5": []}, r"'networks\[0\].top5' is \[\], not a number"),
        ({"name": None}, r"'networks\[0\].name' is None, not text"),
        ({"size": [32]}, "not a list of 2"),
        ({"size": [32, 4.5]}, r"'networks\[0\].size\[1\]' is 4.5, not a whole number"),
        ({"size": {"0": 1}}, "not a list"),
        ({"size": [10**30, 1]}, "not a whole number"),
    ],
)
def test_a_wrong_value_is_named_with_its_place(network, message):
    with pytest.raises(RecordError, match=message):
        read_record(Result, {**GOOD, "networks": [{**GOOD["networks"][0], **network}]})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"networks": "abc"}, "'networks' is 'abc', not a list"),
        ({"networks": [7]}, r"'networks\[0\]' is 7, not a record"),
        ({"scores": {"a": "b"}}, "'scores.a' is 'b', not a number"),
        ({"scores": []}, "not a record"),
        ({"done": 1}, "'done' is 1, not true or false"),
        ({"seconds": -1.0}, "not a number of at least 0"),
    ],
)
def test_wrong_containers_are_refused(change, message):
    with pytest.raises(RecordError, match=message):
        read_record(Result, {**GOOD, **change})
    with pytest.raises(RecordError, match="'done' is missing"):
        read_record(Result, {key: value for key, value in GOOD.items() if key != "done"})
    with pytest.raises(RecordError, match="not a record"):
        read_record(Result, [GOOD])


def test_a_huge_value_is_not_quoted_in_full():
    with pytest.raises(RecordError) as error:
        read_record(Result, {**GOOD, "done": "x" * 10**6})
    assert len(str(error.value)) < 120
