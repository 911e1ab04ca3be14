"""Random kills and full disks of every command, from a seed: run again, it ends as if nothing had happened.

    make faults SEED=1

``FAULTS_SEED`` draws the moments. Half of the kills come before a change to a file, the others anywhere.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import zlib
from pathlib import Path

import numpy as np
import pytest

from tests.faults.forked import Ended, Moment, on_small_disk, run_forked
from tests.faults.verbs import COMMANDS, differences, write_good_folder

pytestmark = pytest.mark.slow
SEED = int(os.environ.get("FAULTS_SEED", "0"))
_KILLS = [(verb, kill) for verb in COMMANDS for kill in range(2 if verb.startswith("train") else 1)]
_DRAWS = 20  # of a moment, until one lies before the end


class Place:
    """The folder that every run is in, since results name their paths, and what undisturbed runs left."""

    def __init__(self, root: Path) -> None:
        self.root, self.good, self.run = root, root / "good", root / "run"
        self.undisturbed: dict[str, Ended] = {}
        self.good.mkdir()
        write_good_folder(self.good)

    def begin(self) -> Path:
        """The folder, as it was before any run."""
        shutil.rmtree(self.run, ignore_errors=True)
        shutil.copytree(self.good, self.run)
        return self.run

    def reference(self, verb: str) -> tuple[Ended, Path]:
        """How an undisturbed run of a command ended, and what it wrote."""
        folder = self.root / f"undisturbed {verb}"
        if verb not in self.undisturbed:
            ended = self.undisturbed[verb] = run_forked(COMMANDS[verb], self.begin())
            assert ended.status == 0, ended.errors[-3000:]
            shutil.move(self.run / "out", folder)
        return self.undisturbed[verb], folder


@pytest.fixture(scope="module")
def place(tmp_path_factory) -> Place:
    return Place(tmp_path_factory.mktemp("campaign"))


def generator(*what: object) -> np.random.Generator:
    return np.random.default_rng([SEED, zlib.crc32(repr(what).encode())])


@pytest.mark.fault("SIGKILL at a random moment, and the command again")
@pytest.mark.parametrize(("verb", "kill"), _KILLS)
def test_a_killed_command_run_again_ends_as_an_undisturbed_one(place, verb, kill):
    undisturbed, expected = place.reference(verb)
    rng = generator(verb, kill)
    for _ in range(_DRAWS):
        at_change = rng.random() < 0.5
        moment = (
            Moment(change=int(rng.integers(1, undisturbed.changes + 1)))
            if at_change
            else Moment(seconds=float(rng.uniform(0, undisturbed.seconds)))
        )
        ended = run_forked(COMMANDS[verb], place.begin(), moment)
        if ended.status == -signal.SIGKILL:
            break
    else:
        pytest.fail("it was never killed")
    again = run_forked(COMMANDS[verb], place.run)
    assert again.status == 0, f"killed at {moment}: {again.errors[-3000:]}"
    assert differences(expected, place.run / "out") == [], f"killed at {moment}"


@pytest.mark.fault("a disk that fills up, and the command again with room")
@pytest.mark.parametrize("verb", COMMANDS)
def test_a_full_disk_is_one_sentence_and_costs_nothing(place, tmp_path, verb, request):
    _, expected = place.reference(verb)
    sizes = [path.stat().st_size for path in expected.rglob("*") if path.is_file()]
    share = generator(verb, "disk").uniform(0.05, 0.9)
    found = on_small_disk(COMMANDS[verb], place.begin(), "out", max(4096, int(share * sum(sizes))), tmp_path / "out")
    request.node.user_properties.append(("disk", "tmpfs" if found else "RLIMIT_FSIZE"))
    if found is None:  # nothing can be mounted here: no file may become as large as the largest one
        ended = run_forked(COMMANDS[verb], place.begin(), largest_file=int(share * max(sizes)))
        found = ended.status, ended.errors
        assert run_forked(COMMANDS[verb], place.run).status == 0
        shutil.move(place.run / "out", tmp_path / "out")
    status, errors = found
    lines = errors.strip().splitlines()
    assert status == 2, errors[-3000:]
    assert [line for line in lines if line.startswith("error: ")] == lines[-1:]
    assert re.search(r"no room for|cannot be written \(No space", lines[-1])
    assert "Traceback" not in errors
    assert differences(expected, tmp_path / "out") == []
