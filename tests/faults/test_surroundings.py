"""Places that not everybody has: data that cannot be written to, no home, no room for temporary files, other disks."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.faults.forked import Ended, alone, make_read_only, mount_memory, run_forked
from tests.faults.test_bad_input import REPO
from tests.faults.verbs import COMMANDS, differences, write_good_folder

pytestmark = pytest.mark.fault("surroundings that not everybody has")
VERBS = ("extract_features", "route", "train SimSiam")
_NOT_HERE = 77


@pytest.fixture(scope="module")
def good(tmp_path_factory) -> Path:
    """A folder in which the commands work, and beside it what they write."""
    root = tmp_path_factory.mktemp("surroundings")
    (root / "good").mkdir()
    write_good_folder(root / "good")
    for verb in VERBS:
        ended, out = somewhere(root, verb)
        assert ended.status == 0, ended.errors[-2000:]
        shutil.move(out, root / verb)
    return root / "good"


def somewhere(
    root: Path, verb: str, prepare: Callable[[], object] | None = None, out: str = "out"
) -> tuple[Ended, Path]:
    """Run a command in a copy of the good folder, in a process that is prepared for it; returns where it wrote, too."""
    place = root / "run"
    shutil.rmtree(place, ignore_errors=True)
    shutil.copytree(root / "good", place)
    command = COMMANDS[verb].replace(" out", f" {out}")
    ended = run_forked(command, place, prepare=prepare)
    if ended.status == _NOT_HERE:
        pytest.skip("nothing can be mounted here")
    return ended, place / out


def need(possible: bool) -> None:
    """End a process in which the surroundings cannot be had."""
    if not possible:
        os._exit(_NOT_HERE)


def no_writing_into_data() -> None:
    need(alone() and make_read_only(Path("unlabelled")) and make_read_only(Path("pets")))
    with pytest.raises(OSError, match="Read-only"):
        Path("pets/trace").touch()


def no_room_for_temporary_files() -> None:
    folder = Path("temporary").absolute()
    folder.mkdir()
    need(alone() and mount_memory(folder, 4096))
    (folder / "fill").write_bytes(bytes(4096))
    os.environ["TMPDIR"], tempfile.tempdir = str(folder), None


def no_folder_for_temporary_files() -> None:
    os.environ["TMPDIR"], tempfile.tempdir = "/nowhere/at/all", None


@pytest.mark.parametrize("verb", VERBS)
@pytest.mark.parametrize("prepare", [no_writing_into_data, no_room_for_temporary_files, no_folder_for_temporary_files])
def test_commands_do_there_what_they_do_elsewhere(good, verb, prepare):
    ended, out = somewhere(good.parent, verb, prepare)
    assert ended.status == 0, ended.errors[-2000:]
    assert differences(good.parent / verb, out) == []


@pytest.mark.parametrize("verb", VERBS)
def test_results_can_lie_on_another_file_system(good, verb):
    """A file is renamed within its folder alone, and nothing is linked to elsewhere."""
    here = good.stat().st_dev  # in memory, as a rule
    folders = (place for place in (Path("/dev/shm"), Path("/tmp"), Path("/var/tmp")) if os.access(place, os.W_OK))
    if (other := next((place for place in folders if place.stat().st_dev != here), None)) is None:
        pytest.skip("there is no other file system here")
    with tempfile.TemporaryDirectory(dir=other) as folder:
        ended, out = somewhere(good.parent, verb, out=f"{folder}/out")
        assert ended.status == 0, ended.errors[-2000:]
        assert {path.name for path in out.rglob("*.pth")} == {path.name for path in (good.parent / verb).rglob("*.pth")}
        if verb == "extract_features":
            assert (out / "F.npy").read_bytes() == (good.parent / verb / "F.npy").read_bytes()


def test_a_command_needs_no_home(good):
    """From its imports on: libraries keep settings and caches there."""
    place = good.parent / "run"
    shutil.rmtree(place, ignore_errors=True)
    shutil.copytree(good, place)
    env = {**os.environ, "PYTHONPATH": str(REPO), "OMP_NUM_THREADS": "1"}
    for name in ("HOME", "XDG_CACHE_HOME", "XDG_CONFIG_HOME", "MPLCONFIGDIR", "TORCH_HOME"):
        env.pop(name, None)
    arguments = COMMANDS["route"].split()
    command = [sys.executable, str(REPO / "tools" / f"{arguments[0]}.py"), *arguments[1:], "--device", "cpu"]
    finished = subprocess.run(command, env=env, cwd=place, capture_output=True, text=True, check=False)
    assert finished.returncode == 0, finished.stderr[-2000:]
    assert differences(good.parent / "route", place / "out") == []
