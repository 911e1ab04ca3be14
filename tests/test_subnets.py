import pytest

from mmssl_dynamic.errors import ConfigError, SubnetError
from mmssl_dynamic.subnets import PathSpace, parse_path, path_name


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
