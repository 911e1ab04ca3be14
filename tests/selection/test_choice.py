"""The best network within a budget, its runner-up and the next step up, against looking at all of them."""

import itertools
from dataclasses import replace

import numpy as np
import pytest

from mmssl_dynamic.budget import Budget, Cost
from mmssl_dynamic.selection import Candidate, TaskCandidates, choose
from mmssl_dynamic.selection.choice import pareto_front


def task(*rows):
    """(name, accuracy, millions of multiply-accumulates, millions of weights)."""
    found = tuple(Candidate(n, acc, acc - 1, Cost(round(macs * 1e6), round(p * 1e6))) for n, acc, macs, p in rows)
    return TaskCandidates("scenes", found, "accuracy", "weights", {}, "routing.json")


WIDTHS = task(("w0.5", 50, 70, 1), ("w0.75", 55, 140, 2), ("w1.0", 58, 220, 4), ("w1.25", 57, 330, 6))


def test_the_best_within_the_budget_its_runner_up_and_the_price_of_the_next_step():
    choice = choose(WIDTHS, Budget(macs=2e8))
    assert (choice.chosen.name, choice.runner_up.name, choice.next_up.name) == ("w0.75", "w0.5", "w1.0")
    lines = choice.text().splitlines()
    assert lines[0] == "scenes: w0.75, 55.00 % (test 54.00 %), 140.0 M multiply-accumulates, 2.00 M weights"
    assert lines[1].startswith("  runner-up: w0.5, 50.00 %")
    assert lines[2].startswith("  next step up: w1.0, +3.00 points, 1.10 times the budget (220.0 M multiply")


def test_one_accuracy_is_said_where_test_images_are_all_that_the_choice_has():
    found = tuple(replace(candidate, test=candidate.choice) for candidate in WIDTHS.candidates)
    text = choose(replace(WIDTHS, candidates=found), Budget(macs=2e8)).text()
    assert text.splitlines()[0] == "scenes: w0.75, 55.00 %, 140.0 M multiply-accumulates, 2.00 M weights"


def test_a_larger_network_that_is_worse_is_neither_chosen_nor_a_step_up():
    choice = choose(WIDTHS, Budget())
    assert (choice.chosen.name, choice.next_up) == ("w1.0", None)
    assert [c.name for c in pareto_front(WIDTHS.candidates, Budget())] == ["w0.5", "w0.75", "w1.0"]
    assert choose(WIDTHS, Budget(macs=2.5e8)).next_up is None


def test_none_fits_says_what_the_smallest_needs():
    choice = choose(WIDTHS, Budget(macs=5e7, params=5e5))
    assert choice.chosen is choice.runner_up is choice.next_up is None
    wanted = "the smallest, w0.5, needs 70 M multiply-accumulates, 1 M weights."
    assert choice.text().endswith(wanted)
    assert "none fits at most 50 M multiply-accumulates and at most 0.5 M weights" in choice.text()


def test_of_equally_good_networks_the_cheaper_one_is_chosen():
    equal = task(("large", 55, 200, 4), ("small", 55, 100, 2))
    assert choose(equal, Budget(macs=1e9)).chosen.name == "small"


def test_choices_are_those_of_looking_at_every_network():
    rng = np.random.default_rng(0)
    for _ in range(50):
        rows = [(f"n{i}", float(rng.integers(0, 30)), float(rng.integers(1, 40)), rng.uniform(1, 5)) for i in range(12)]
        some, budget = task(*rows), Budget(macs=1.5e7, params=4e6)
        choice = choose(some, budget)
        within = [c for c in some.candidates if c.cost.macs <= 1.5e7 and c.cost.params <= 4e6]
        assert (choice.chosen is None) == (not within)
        if within:
            assert choice.chosen.choice == max(c.choice for c in within)
        front = pareto_front(some.candidates, Budget())
        beaten = {
            a.name
            for a, b in itertools.permutations(some.candidates, 2)
            if b.cost.macs <= a.cost.macs
            and b.choice >= a.choice
            and (b.cost.macs, b.choice) != (a.cost.macs, a.choice)
        }
        assert {c.name for c in front}.isdisjoint(beaten)
        assert {(c.cost.macs, c.choice) for c in front} == {
            (c.cost.macs, c.choice) for c in some.candidates if c.name not in beaten
        }


def test_a_record_holds_all_of_it():
    record = choose(WIDTHS, Budget(macs=2e8)).record()
    assert record["chosen"]["name"] == "w0.75"
    assert record["budget"] == {"macs": 2e8}
    assert record["front"] == ["w0.5", "w0.75", "w1.0"]
    assert [c["size_bytes"] for c in record["candidates"]] == pytest.approx([4e6, 8e6, 16e6, 24e6])
