import json

import pytest

from mmssl_dynamic.errors import ConfigError, SubnetError
from mmssl_dynamic.subnets import (
    PathSpace,
    PathWidthSpace,
    SlimmableSpace,
    parse_path,
    path_name,
    space_from_record,
)


def test_names_round_trip_and_follow_the_clusters_order():
    space = PathSpace((1, 2, 1, 3))
    assert space.paths == ("0-0-0-0", "0-0-0-1", "0-0-0-2", "0-1-0-0", "0-1-0-1", "0-1-0-2")
    assert space.names == (*space.paths, "full")
    assert all(path_name(parse_path(name)) == name for name in space.paths)


@pytest.mark.parametrize(
    ("groups", "sizes"),
    [
        ((4, 4, 4, 4), [0, 4, 16, 64, 256]),
        ((1, 1, 4, 4), [0, 4, 16]),
        ((1, 1, 1, 4), [0, 4]),
        ((1, 1, 1, 1), [0]),
    ],
)
def test_every_phase_adds_the_paths_that_differ_in_one_more_stage(groups, sizes):
    space = PathSpace(groups)
    phases = [space.phase(p) for p in range(space.num_phases)]
    assert [len(phase) - 1 for phase in phases] == sizes
    for earlier, later in zip(phases, phases[1:]):
        assert set(earlier) <= set(later)
    for p, phase in enumerate(phases):
        assert phase[0] == "full"
        # indices of all but the last p split stages are fixed at 0
        split = [s for s, g in enumerate(groups) if g > 1]
        fixed = split[: len(split) - p]
        assert all(parse_path(name)[s] == 0 for name in phase[1:] for s in fixed)
    if space.num_paths:
        assert set(phases[-1]) == set(space.names)


@pytest.mark.parametrize("name", ["0-0-0", "0-0-0-4", "w0.5", "", "0-0--1", "0-0-0-0-0", None])
def test_unknown_names_are_refused_with_what_exists(name):
    with pytest.raises(SubnetError, match="sub-network|path"):
        PathSpace((4, 4, 4, 4)).check(name)


def test_an_unsplit_network_knows_only_full():
    space = PathSpace((1, 1, 1, 1))
    assert space.check("full") == "full"
    with pytest.raises(SubnetError, match="'full' only"):
        space.check("0-0-0-0")


def test_a_stage_needs_a_group():
    with pytest.raises(ConfigError):
        PathSpace((4, 0, 1, 1))


SIX = SlimmableSpace((1.0, 1.25), ((2, 2, 2, 2), (3, 3, 4, 3), (3, 4, 6, 3)))


def test_widths_are_named_narrow_before_wide_and_the_widest_is_the_full_network():
    space = SlimmableSpace((0.5, 0.75, 1, 1.25))
    assert space.names == ("w0.5", "w0.75", "w1.0", "w1.25")
    assert space.keys == ("w0.5", "w0.75", "w1.0", "full")
    assert (space.smallest, space.largest) == ("w0.5", "w1.25")
    assert [space.check(name) for name in (*space.names, "full")] == [*space.keys, "full"]
    assert [space.canonical(name) for name in (*space.names, "full")] == [*space.names, "w1.25"]
    assert space.member("w0.75") == (0.75, None)
    assert space.member("full") == space.member("w1.25") == (1.25, None)


def test_widths_and_depths_are_named_narrow_and_shallow_first():
    assert SIX.names == (
        "w1.0-d2222",
        "w1.0-d3343",
        "w1.0-d3463",
        "w1.25-d2222",
        "w1.25-d3343",
        "w1.25-d3463",
    )
    assert SIX.keys == (*SIX.names[:-1], "full")
    assert SIX.member("w1.25-d2222") == (1.25, (2, 2, 2, 2))
    assert SIX.member("full") == (1.25, (3, 4, 6, 3))


def test_blocks_of_two_digits_have_names_that_cannot_be_misread():
    space = SlimmableSpace((1.0,), ((3, 4, 6, 3), (3, 4, 23, 3)))
    assert space.names == ("w1.0-d3463", "w1.0-d3-4-23-3")
    assert space.member("w1.0-d3-4-23-3") == (1.0, (3, 4, 23, 3))


@pytest.mark.parametrize(
    "space",
    [
        SIX,
        SlimmableSpace((0.5, 1)),
        SlimmableSpace((1.0,)),
        PathSpace((1, 4, 4, 4)),
        PathWidthSpace((1, 1, 1, 4), (0.5, 1)),
    ],
    ids=str,
)
def test_a_space_survives_its_record_in_a_file(space):
    record = json.loads(json.dumps(space.record()))
    assert space_from_record(record) == space
    assert space_from_record(record).names == space.names


@pytest.mark.parametrize("record", [{}, {"kind": "slimmable"}, {"kind": "slimmable", "widths": 1}, {"kind": "tree"}, 3])
def test_a_record_of_something_else_is_refused(record):
    with pytest.raises(ConfigError, match="sub-networks"):
        space_from_record(record)


@pytest.mark.parametrize("name", ["w0.5", "w1", "w1.0", "0-0-0-0", "w1.0-d22", "", "Full", None, 1.0])
def test_networks_that_were_not_built_are_refused_with_those_that_were(name):
    for ask in (SIX.check, SIX.member):
        with pytest.raises(SubnetError, match="w1.25-d3343") as error:
            ask(name)
        assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    "widths",
    [(), (1.0, 0.5), (0.5, 0.5, 1.0), (0.0, 1.0), (-0.5, 1.0), (True,), (0.5, True), ("0.5",), (None,)],
)
def test_widths_that_are_no_ascending_positive_numbers_are_refused(widths):
    with pytest.raises(ConfigError, match="ascending") as error:
        SlimmableSpace(widths)
    assert "\n" not in str(error.value)


def test_infinite_and_undefined_widths_are_refused():
    for width in (float("inf"), float("nan")):
        with pytest.raises(ConfigError, match="widths"):
            SlimmableSpace((0.5, width))


def test_widths_that_would_share_a_name_are_refused():
    with pytest.raises(ConfigError, match="names of their own"):
        SlimmableSpace((1.00000001, 1.00000002))


@pytest.mark.parametrize(
    ("blocks", "message"),
    [
        ((), "equal length"),
        (((2, 2, 2, 2), (3, 3, 3)), "equal length"),
        (((2, 0, 2, 2),), "positive"),
        (((2, -1, 2, 2),), "positive"),
        (((2.0, 2, 2, 2),), "positive"),
        (((True, 2, 2, 2),), "positive"),
        (((),), "positive"),
        (((2, 2, 2, 2), (2, 2, 2, 2)), "shallow to deep"),
        (((3, 4, 6, 3), (2, 2, 2, 2)), "shallow to deep"),
        (((2, 3, 2, 2), (3, 2, 6, 3)), "at least as deep"),
    ],
)
def test_lists_of_blocks_that_do_not_nest_are_refused(blocks, message):
    with pytest.raises(ConfigError, match=message) as error:
        SlimmableSpace((1.0,), blocks)
    assert "\n" not in str(error.value)


WIDE = PathWidthSpace((1, 2, 1, 2), (0.5, 0.75, 1))


def test_paths_have_names_at_every_width_narrow_ones_first():
    paths = PathSpace((1, 2, 1, 2)).paths
    assert WIDE.paths == paths
    assert WIDE.num_paths == 4
    assert WIDE.names == (*(f"{p}@w0.5" for p in paths), *(f"{p}@w0.75" for p in paths), *paths, "full")
    assert WIDE.candidates == WIDE.names[:-1]
    assert WIDE.keys == WIDE.names
    assert [WIDE.check(name) for name in WIDE.names] == list(WIDE.names)
    assert WIDE.check("0-1-0-0@w1.0") == WIDE.canonical("0-1-0-0@w1.0") == "0-1-0-0"
    assert WIDE.member("0-1-0-0@w0.75") == ("0-1-0-0", 0.75)
    assert WIDE.member("0-1-0-0@w1.0") == ("0-1-0-0", 1.0)
    assert WIDE.member("full") == ("full", 1.0)


def test_the_widths_of_a_path_go_from_narrow_to_whole_and_the_full_network_has_one():
    expected = ("0-1-0-1@w0.5", "0-1-0-1@w0.75", "0-1-0-1")
    assert all(WIDE.widths_of(name) == expected for name in expected)
    assert WIDE.widths_of("full") == ("full",)


def test_one_path_is_the_full_network_at_its_whole_width():
    space = PathWidthSpace((1, 1, 1, 1), (0.5, 1.0))
    assert space.names == ("0-0-0-0@w0.5", "full")
    assert space.widths_of("full") == space.widths_of("0-0-0-0@w0.5") == ("0-0-0-0@w0.5", "full")
    assert space.check("0-0-0-0") == space.check("0-0-0-0@w1.0") == "full"
    assert space.phase(0) == ("full",)


def test_paths_of_one_width_are_sdrs():
    one, sdr = PathWidthSpace((1, 1, 4, 4), (1.0,)), PathSpace((1, 1, 4, 4))
    assert one.names == sdr.names
    assert [one.phase(p) for p in range(3)] == [sdr.phase(p) for p in range(3)]
    assert one != sdr


def test_phases_add_paths_and_not_widths():
    assert [WIDE.phase(p) for p in range(3)] == [PathSpace((1, 2, 1, 2)).phase(p) for p in range(3)]


@pytest.mark.parametrize(
    "name", ["0-1-0-0@w0.6", "0-1-0-0@", "full@w0.5", "full@w1.0", "0-2-0-0@w0.5", "w0.5", "@w0.5", None]
)
def test_widths_that_paths_do_not_have_are_refused_with_those_that_they_have(name):
    with pytest.raises(SubnetError, match="sub-network|path") as error:
        WIDE.check(name)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("widths", "message"), [((0.5,), "end with 1.0"), ((1.0, 1.5), "end with 1.0"), ((1.0, 0.5), "ascending")]
)
def test_widths_of_paths_end_with_the_whole_path(widths, message):
    with pytest.raises(ConfigError, match=message):
        PathWidthSpace((1, 1, 1, 4), widths)
