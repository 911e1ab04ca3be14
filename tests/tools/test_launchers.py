"""tools/dist_train.sh, tools/dist_run.sh and tools/slurm_train.sh: what they start, and what they say of wrong use."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

SCRIPTS = {
    "dist_train.sh": ["config.py", "2"],
    "dist_run.sh": ["route", "config.py", "2"],
    "slurm_train.sh": ["part", "job", "config.py", "out"],
}


@pytest.fixture
def recorder(tmp_path) -> Path:
    """A folder for PATH whose `torchrun` and `srun` print their arguments, one a line."""
    for name in ("torchrun", "srun"):
        path = tmp_path / name
        path.write_text('#!/bin/sh\nprintf "%s\\n" "$@"\n')
        path.chmod(0o755)
    return tmp_path


def start(script: Path, arguments: list[str], path: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run a launcher with nothing of the outer environment but PATH."""
    return subprocess.run(
        ["bash", str(script), *arguments], env={"PATH": path, **variables}, capture_output=True, text=True, check=False
    )


def system_path(folder: Path) -> str:
    """PATH with ``folder`` first."""
    return f"{folder}{os.pathsep}{os.defpath}"


def test_dist_train_starts_torchrun_with_one_process_for_each_gpu(repo_root, recorder):
    script = repo_root / "tools" / "dist_train.sh"
    finished = start(script, ["my config.py", "4", "--amp", "--cfg-options", "a=b c"], system_path(recorder))
    arguments = finished.stdout.splitlines()
    assert finished.returncode == 0
    assert {"--nnodes=1", "--node_rank=0", "--master_addr=127.0.0.1", "--nproc_per_node=4"} <= set(arguments)
    train = arguments.index(str(repo_root / "tools" / "train.py"))
    assert arguments[train + 1 :] == ["my config.py", "--launcher", "pytorch", "--amp", "--cfg-options", "a=b c"]


def test_dist_run_starts_a_verb_in_as_many_processes_as_its_last_argument_says(repo_root, recorder):
    script = repo_root / "tools" / "dist_run.sh"
    finished = start(script, ["extract-features", "my config.py", "--out", "F.npy", "4"], system_path(recorder))
    arguments = finished.stdout.splitlines()
    assert finished.returncode == 0
    assert {"--nnodes=1", "--nproc_per_node=4", "-m"} <= set(arguments)
    verb = arguments.index("extract-features")
    assert arguments[verb - 1 : verb + 1] == ["mmssl_dynamic", "extract-features"]
    assert arguments[verb + 1 :] == ["my config.py", "--out", "F.npy", "--launcher", "pytorch"]


def test_dist_train_reads_the_machines_from_the_environment(repo_root, recorder):
    finished = start(
        repo_root / "tools" / "dist_train.sh",
        SCRIPTS["dist_train.sh"],
        system_path(recorder),
        NNODES="3",
        NODE_RANK="2",
        MASTER_ADDR="node0",
        PORT="12345",
    )
    expected = {"--nnodes=3", "--node_rank=2", "--master_addr=node0", "--master_port=12345"}
    assert expected <= set(finished.stdout.splitlines())


def test_slurm_train_asks_for_one_task_for_each_gpu_and_passes_the_rest_on(repo_root, recorder):
    finished = start(
        repo_root / "tools" / "slurm_train.sh",
        [*SCRIPTS["slurm_train.sh"], "--resume", "auto"],
        system_path(recorder),
        GPUS="4",
        SRUN_ARGS="--time=1:00 --exclusive",
    )
    arguments = finished.stdout.splitlines()
    assert finished.returncode == 0
    expected = {
        "--partition=part",
        "--job-name=job",
        "--gres=gpu:4",
        "--ntasks=4",
        "--ntasks-per-node=4",
        "--time=1:00",
    }
    assert expected <= set(arguments)
    train = arguments.index(str(repo_root / "tools" / "train.py"))
    assert arguments[train + 1 :] == ["config.py", "--work-dir", "out", "--launcher", "slurm", "--resume", "auto"]


@pytest.mark.parametrize("name", SCRIPTS)
def test_launchers_print_their_usage(repo_root, name):
    wrong = start(repo_root / "tools" / name, [], os.defpath)
    assert (wrong.returncode, wrong.stdout) == (2, "")
    assert wrong.stderr.startswith(f"usage: tools/{name}")
    asked = start(repo_root / "tools" / name, ["--help"], os.defpath)
    assert (asked.returncode, asked.stderr) == (0, "")


@pytest.mark.parametrize("name", SCRIPTS)
def test_a_missing_launcher_is_one_sentence(repo_root, tmp_path, name):
    script = repo_root / "tools" / name
    variables = {"TORCHRUN": "no-such-torchrun"}
    # bash and dirname alone, so that a cluster's own srun is not found.
    for program in ("bash", "dirname"):
        (tmp_path / program).symlink_to(next(p for d in os.defpath.split(":") if (p := Path(d) / program).exists()))
    finished = subprocess.run(
        [str(tmp_path / "bash"), str(script), *SCRIPTS[name]],
        env={"PATH": str(tmp_path), **variables},
        capture_output=True,
        text=True,
        check=False,
    )
    assert finished.returncode == 2
    assert finished.stderr.startswith("error: ")
    assert len(finished.stderr.splitlines()) == 1


@pytest.mark.parametrize("gpus", ["0", "two", "-1", ""])
def test_a_gpu_count_that_is_none_is_refused(repo_root, recorder, gpus):
    for name in ("dist_train.sh", "dist_run.sh"):
        finished = start(repo_root / "tools" / name, ["config.py", gpus], system_path(recorder))
        assert finished.returncode == 2
        assert "GPUS" in finished.stderr
