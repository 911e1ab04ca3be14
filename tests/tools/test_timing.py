"""How benchmarks take turns."""

import importlib
import math
import sys

import pytest


@pytest.fixture
def timing(repo_root, monkeypatch):
    """tools/benchmarks/timing.py, on a clock that goes a second further with every look."""
    monkeypatch.syspath_prepend(str(repo_root / "tools" / "benchmarks"))
    module = importlib.import_module("timing")
    clock = iter(range(10_000))
    monkeypatch.setattr(module.time, "perf_counter", lambda: next(clock))
    yield module
    sys.modules.pop("timing")


@pytest.mark.parametrize(
    ("limit", "whole", "expected"), [(math.inf, 1, 6), (1, 1, 1), (1, 3, 3), (20, 1, 4), (20, 3, 6)]
)
def test_a_limit_ends_the_rounds_after_those_that_belong_together(timing, limit, whole, expected):
    """A round of two candidates looks at the clock four times, and once more for the limit."""
    seen = []
    candidates = {name: lambda name=name: seen.append(name) for name in ("a", "b")}
    found = timing.alternate(candidates, 6, warm_up=1, limit=limit, whole=whole)
    assert {name: len(values) for name, values in found.items()} == {"a": expected, "b": expected}
    assert seen[:4] == ["b", "a", "a", "b"]
    assert len(seen) == 2 * (1 + expected)
