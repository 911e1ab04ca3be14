"""One process writes into an output; a second one is told who does, in one sentence, and nothing is lost or mixed."""

import errno
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time

import numpy as np
import pytest
import torch

from mmssl_dynamic import locks
from mmssl_dynamic.errors import LockedError, OutputError, UserNotice
from mmssl_dynamic.features import Features
from mmssl_dynamic.loading import build_backbone, load_config
from mmssl_dynamic.locks import empty_folders, locked_file, locked_folder, locks_file, locks_folder
from tests.tools.running import CONFIG, paint

HOLD = """
import sys, time
from mmssl_dynamic.locks import locked_folder
with locked_folder(sys.argv[1]):
    print("held", flush=True)
    time.sleep(600)
"""


@pytest.fixture
def start(repo_root):
    """Starts processes that end with the test at the latest."""
    running = []

    def run(*command):
        env = {**os.environ, "PYTHONPATH": str(repo_root), "CUDA_VISIBLE_DEVICES": ""}
        process = subprocess.Popen(
            [sys.executable, *map(str, command)],
            env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True,
        )  # fmt: skip
        running.append(process)
        return process

    yield run
    for process in running:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()


def holder(start, folder):
    """A process that holds the lock of a folder until it is killed."""
    process = start("-c", HOLD, folder)
    assert process.stdout.readline() == "held\n"
    return process


def test_a_second_process_is_told_at_once_who_holds_the_lock(start, tmp_path):
    process = holder(start, tmp_path / "out")
    began = time.monotonic()
    with pytest.raises(LockedError) as error, locked_folder(tmp_path / "out"):
        pass
    assert time.monotonic() - began < locks._ORPHANS_SECONDS / 2
    message = str(error.value)
    assert message.startswith(
        f"--out {tmp_path}/out is being written by process {process.pid} on {socket.gethostname()}"
    )
    assert re.search(
        r"since \d{4}-\d\d-\d\d \d\d:\d\d:\d\d \(.*\); wait until it has ended, or give another --out\.$", message
    )
    assert "\n" not in message


def test_the_lock_of_a_killed_process_does_not_block(start, tmp_path):
    process = holder(start, tmp_path)
    process.kill()
    process.wait()
    assert sorted(path.name for path in tmp_path.iterdir()) == [".lock", ".lock.owner"]
    with locked_folder(tmp_path):
        assert json.loads((tmp_path / ".lock.owner").read_text())["pid"] == os.getpid()
    assert list(tmp_path.iterdir()) == []


def test_a_lock_leaves_nothing_but_what_was_written(tmp_path):
    with locked_folder(tmp_path / "a/b"), locked_file(tmp_path / "c/F.npy"):
        pass
    assert list(tmp_path.iterdir()) == []
    with locked_folder(tmp_path / "a/b"):
        (tmp_path / "a/b/result.json").write_text("{}")
    assert [path.name for path in (tmp_path / "a/b").iterdir()] == ["result.json"]

    def failing():
        with locked_folder(tmp_path / "new"):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        failing()
    assert not (tmp_path / "new").exists()


def test_outputs_of_one_process_are_locked_one_by_one(tmp_path):
    with locked_folder(tmp_path), locked_folder(tmp_path / "inner"), locked_file(tmp_path / "F.npy"):
        words = f"--features {tmp_path}/inner is being written by process {os.getpid()}"
        with pytest.raises(LockedError, match=words), locked_folder(tmp_path / "inner", "--features"):
            pass
        with pytest.raises(LockedError, match="F.npy is being written"), locked_file(tmp_path / "F.npy"):
            pass
        with locked_file(tmp_path / "G.npy"):
            pass


def test_folders_are_emptied_unless_another_process_writes_into_one_of_them(start, tmp_path):
    folders = [tmp_path / name for name in ("a", "b")]
    for folder in folders:
        (folder / "deeper").mkdir(parents=True)
        (folder / "deeper/epoch_1.pth").touch()
        (folder / "log.txt").touch()
    other = holder(start, folders[1])
    words = rf"candidate folder {folders[1]} is being written by process {other.pid} .* or give another --out\.$"
    with pytest.raises(LockedError, match=words):
        empty_folders(folders, "candidate folder", instead="--out")
    assert all((folder / "deeper/epoch_1.pth").exists() and (folder / "log.txt").exists() for folder in folders)
    assert json.loads((folders[1] / ".lock.owner").read_text())["pid"] == other.pid  # its lock is still its own
    other.kill()
    other.wait()
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "kept").touch()
    (folders[0] / "link").symlink_to(outside)
    empty_folders([*folders, tmp_path / "none"])
    assert [list(folder.iterdir()) for folder in folders] == [[], []]
    assert (outside / "kept").exists()
    assert not (tmp_path / "none").exists()


def test_what_cannot_be_removed_is_told(tmp_path, monkeypatch):
    def refuse(path):
        raise PermissionError(errno.EACCES, "Permission denied", path)

    (tmp_path / "out/deeper").mkdir(parents=True)
    monkeypatch.setattr(locks.shutil, "rmtree", refuse)
    with pytest.raises(OutputError, match=rf"{tmp_path}/out/deeper cannot be removed \(Permission denied\); remove it"):
        empty_folders([tmp_path / "out"])


def test_the_first_process_of_a_launcher_holds_the_lock_for_all(tmp_path, monkeypatch):
    with locked_folder(tmp_path, launcher="pytorch"):
        monkeypatch.setenv("RANK", "1")
        with locked_folder(tmp_path, launcher="pytorch"):
            pass
        with pytest.raises(LockedError), locked_folder(tmp_path):  # a run of its own, whatever its environment says
            pass
        monkeypatch.setenv("RANK", "0")
        with pytest.raises(LockedError), locked_folder(tmp_path, launcher="pytorch"):
            pass


def test_a_function_holds_the_locks_of_its_outputs(tmp_path):
    @locks_folder()
    @locks_folder("features", "--features")
    @locks_file("table", "--table")
    def work(out, *, features=None, table=tmp_path / "table.csv", launcher="none"):
        """Says what is locked."""
        found = []
        for name, lock in (("out", locked_folder), ("features", locked_folder), ("table.csv", locked_file)):
            try:
                with lock(tmp_path / name):
                    pass
            except LockedError:
                found.append(name)
        return found

    assert work.__doc__ == "Says what is locked."
    assert work(tmp_path / "out") == ["out", "table.csv"]
    assert work(out=tmp_path / "out", features=tmp_path / "features") == ["out", "features", "table.csv"]
    assert list(tmp_path.iterdir()) == []


def test_a_place_that_cannot_be_written_is_refused_before_it_is_locked(tmp_path):
    (tmp_path / "file").write_text("x")
    for lock, path in ((locked_folder, tmp_path / "file"), (locked_file, tmp_path / "file/F.npy")):
        with pytest.raises(OutputError, match="cannot be written"), lock(path):
            pass
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_a_full_disk_is_told_with_the_room_that_is_left(tmp_path, monkeypatch):
    def full(*_, **__):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(locks.FileLock, "acquire", full)
    sentence = rf"no room for {tmp_path}/out: .* [GTM]iB are left on its disk"
    with pytest.raises(OutputError, match=sentence), locked_folder(tmp_path / "out"):
        pass
    assert not (tmp_path / "out").exists()


def test_without_locks_on_the_file_system_there_is_a_warning_and_no_lock(tmp_path, monkeypatch):
    def none(self, timeout):
        raise OSError(37, "No locks available")

    monkeypatch.setattr(locks.FileLock, "acquire", none)
    words = "is on a file system without locks .*No locks available"
    with pytest.warns(UserNotice, match=words), locked_folder(tmp_path):
        pass


def test_who_was_killed_is_waited_for_as_long_as_what_it_started_may_take_to_end(tmp_path, monkeypatch):
    """Loader processes of a killed run hold its lock with older releases of filelock."""
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    owner = {"pid": ended.pid, "host": socket.gethostname(), "since": "now", "command": "x"}
    other = locks.FileLock(tmp_path / ".lock")
    other.acquire()
    (tmp_path / ".lock.owner").write_text(json.dumps(owner))
    monkeypatch.setattr(locks.time, "sleep", lambda seconds: other.release())
    with locked_folder(tmp_path):
        pass
    other.acquire()
    (tmp_path / ".lock.owner").write_text(json.dumps(owner))
    monkeypatch.setattr(locks.time, "sleep", lambda seconds: None)
    monkeypatch.setattr(locks, "_ORPHANS_SECONDS", 0.05)
    with pytest.raises(LockedError, match=f"written by process {ended.pid}"), locked_folder(tmp_path):
        pass
    other.release()


def verbs():
    from mmengine.config import Config

    from mmssl_dynamic.apis import calibrate, cluster, evaluate, export, extract_features, prune, route, transfer
    from mmssl_dynamic.apis.transfer import KeptFeatures
    from mmssl_dynamic.demo.dspnet_demo import run_dspnet_demo
    from mmssl_dynamic.demo.sdr_demo import run_demo
    from mmssl_dynamic.engine.launch import run_training

    return {
        "train": lambda folder, file: run_training(Config(dict(work_dir=str(folder)))),
        "extract_features": lambda folder, file: extract_features("c", "w", file),
        "cluster": lambda folder, file: cluster("f", 4, file),
        "calibrate": lambda folder, file: calibrate("c", "output/w.pth"),
        "route": lambda folder, file: route("c", "w", ["t"], folder),
        "evaluate": lambda folder, file: evaluate("c", "w", "t", folder),
        "transfer": lambda folder, file: transfer("c", "w", ["t"], folder),
        "features of transfer": lambda folder, file: transfer("c", "w", ["t"], "out", features=KeptFeatures(folder)),
        "export": lambda folder, file: export("c", "w", file, "full"),
        "export of all": lambda folder, file: export("c", "w", folder, "all"),
        "prune": lambda folder, file: prune("c", "w", folder, num_weights=1),
        "demo": lambda folder, file: run_demo(folder),
        "DSPNet's demo": lambda folder, file: run_dspnet_demo(folder),
    }


@pytest.mark.parametrize("verb", verbs())
def test_every_verb_asks_for_its_output_before_anything_else(tmp_path, verb, monkeypatch):
    monkeypatch.chdir(tmp_path)
    call, words = verbs()[verb], rf"(output|\w+\.npy|\w+\.safetensors) is being written by process {os.getpid()}"
    folder, files = tmp_path / "output", (tmp_path / "F.npy", tmp_path / "output/bn_bank.safetensors")
    with locked_folder(folder), locked_file(files[0]), locked_file(files[1]), pytest.raises(LockedError, match=words):
        call(folder, files[0])
    assert list(tmp_path.iterdir()) == []


def test_the_folder_beside_the_checkpoint_is_asked_for_where_none_was_given(tmp_path):
    from mmssl_dynamic.apis import evaluate, prune, route, transfer

    checkpoint = tmp_path / "epoch_1.pth"
    calls = {
        "routing": lambda: route("c", checkpoint, ["t"]),
        "evaluation": lambda: evaluate("c", checkpoint, "t"),
        "transfer": lambda: transfer("c", checkpoint, ["t"]),
        "pruned": lambda: prune("c", checkpoint, num_weights=1),
    }
    for name, call in calls.items():
        with locked_folder(tmp_path / name), pytest.raises(LockedError, match=f"/{name} is being written"):
            call()


@pytest.mark.parametrize("verb", ["route_detection", "evaluate_detector"])
def test_verbs_of_detection_ask_for_their_output_before_anything_else(tmp_path, verb):
    pytest.importorskip("mmdet")
    from mmssl_dynamic.detection.detector import evaluate_detector
    from mmssl_dynamic.detection.routing import route_detection

    calls = {
        "route_detection": lambda out: route_detection("c", "w", "d", out),
        "evaluate_detector": lambda out: evaluate_detector("c", "w", out),
    }
    with locked_folder(tmp_path / "out"), pytest.raises(LockedError):
        calls[verb](tmp_path / "out")


SLOW = """
import runpy, sys, time
from pathlib import Path
from mmssl_dynamic.datasets import load_image
marker, read = Path(sys.argv.pop(1)), load_image.read_image
def slowly(*args, **options):
    marker.touch()
    while not marker.with_name("go").exists():
        time.sleep(0.02)
    return read(*args, **options)
load_image.read_image = slowly
sys.argv[0] = "tools/extract_features.py"
runpy.run_path({tool!r}, run_name="__main__")
"""


@pytest.fixture
def extraction(start, repo_root, tmp_path):
    """Starts tools/extract_features.py, which waits at its first image until there is a file ``go``."""
    paint(tmp_path / "unlabelled", 24, 120, 0)
    (tmp_path / "config.py").write_text(CONFIG.replace("{root}", str(tmp_path)))
    torch.manual_seed(0)
    net = build_backbone(load_config(tmp_path / "config.py"))
    torch.save(net.state_dict(), tmp_path / "epoch_1.pth")
    tool = str(repo_root / "tools/extract_features.py")

    def run(*options):
        marker = tmp_path / "reading"
        marker.unlink(missing_ok=True)
        files = tmp_path / "config.py", tmp_path / "epoch_1.pth", "--out", tmp_path / "F.npy"
        process = start("-c", SLOW.format(tool=tool), marker, *files, "--device", "cpu", "--batch-size", 2, *options)
        return process, marker

    return run


def wait_for(marker, process):
    while not marker.exists():
        assert process.poll() is None, process.communicate()[1]
        time.sleep(0.05)


def test_two_extractions_into_one_file_give_one_whole_file_and_one_sentence(extraction, tmp_path):
    first, marker = extraction()
    wait_for(marker, first)
    second, _ = extraction()
    _, said = second.communicate(timeout=300)
    assert second.returncode == 2
    lines = [line for line in said.splitlines() if line.startswith("error:")]
    assert len(lines) == 1
    assert f"--out {tmp_path}/F.npy is being written by process {first.pid} on" in lines[0]
    (tmp_path / "go").touch()
    _, said = first.communicate(timeout=300)
    assert first.returncode == 0, said
    rows = np.array(Features.load(tmp_path / "F.npy").rows)
    assert rows.shape == (24, 12)
    assert np.abs(rows).sum(axis=1).min() > 0  # no row of zeros
    assert not list(tmp_path.glob(".F.npy*"))
    alone, _ = extraction("--again")
    alone.communicate(timeout=300)
    np.testing.assert_array_equal(np.array(Features.load(tmp_path / "F.npy").rows), rows)


def test_an_extraction_whose_loaders_outlive_it_for_a_moment_does_not_block_the_next(extraction, tmp_path):
    first, marker = extraction("--workers", 1)
    wait_for(marker, first)
    os.kill(first.pid, signal.SIGKILL)
    first.wait()
    assert (tmp_path / ".F.npy.lock").exists()
    (tmp_path / "go").touch()
    second, _ = extraction()
    _, said = second.communicate(timeout=300)
    assert second.returncode == 0, said
    assert Features.load(tmp_path / "F.npy").num_images == 24
