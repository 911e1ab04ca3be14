"""tools/data from the command line: what it prints, writes and ends with."""

from __future__ import annotations

import json
import runpy
import subprocess
import sys
from pathlib import Path

import pytest

from tests.datasets.preparation.wordnet_files import wnid, write_nouns
from tests.helpers import write_images


def start(repo_root: Path, name: str, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """Run a tool as a user does."""
    command = [sys.executable, repo_root / "tools" / "data" / f"{name}.py", *arguments]
    return subprocess.run([str(part) for part in command], capture_output=True, text=True, check=False, cwd=repo_root)


@pytest.fixture
def status(repo_root, monkeypatch):
    """Runs a tool's command line in this process; returns its exit status."""

    def run(name: str, *arguments: str | Path) -> int:
        tool = str(repo_root / "tools" / "data" / f"{name}.py")
        monkeypatch.setattr(sys, "argv", [tool, *map(str, arguments)])
        try:
            runpy.run_path(tool, run_name="__main__")
        except SystemExit as ended:
            return ended.code
        return 0

    return run


@pytest.fixture
def train(tmp_path) -> Path:
    """Two classes of three images each."""
    folder = write_images(tmp_path / "data" / "train", 6, size=8, classes=2)
    for index, name in enumerate(("dog", "hammer")):
        (folder / f"class_{index}").rename(folder / wnid(name))
    return folder


def test_split_imagenet_prints_the_subsets_and_writes_their_lists(train, tmp_path, repo_root):
    nouns = write_nouns(tmp_path / "data.noun")
    out = train.parent / "meta"
    finished = start(repo_root, "split_imagenet", "--data-root", train, "--wordnet", nouns, "--out", out)
    assert finished.returncode == 0, finished.stderr
    lines = finished.stdout.splitlines()
    assert lines[0] == "Subset-A: 1 class, 3 images"
    assert "checked: no two classes across the subsets share an ancestor at depth 4" in lines
    assert (out / "subset_b.txt").read_text().splitlines() == [f"{wnid('dog')}/000{index}.png 0" for index in (0, 2, 4)]
    assert json.loads((out / "split.json").read_text())["subset_a"]["classes"] == {wnid("hammer"): "hammer"}


def test_split_imagenet_refuses_what_it_cannot_split_in_one_sentence(tmp_path, status, capsys):
    (tmp_path / "classes.txt").write_text("dog\n")
    nouns = write_nouns(tmp_path / "data.noun")
    options = ["--classes", tmp_path / "classes.txt", "--wordnet", nouns, "--out", tmp_path / "out"]
    assert status("split_imagenet", *options) == 2
    sentence = f"error: line 1 of {tmp_path}/classes.txt names no WNID ('n' and 8 digits); correct it.\n"
    assert capsys.readouterr().err == sentence
    assert not (tmp_path / "out").exists()


def test_check_imagenet_ends_with_1_and_names_the_broken_image(train, tmp_path, repo_root):
    options = [train.parent, "--classes", 2, "--images-per-class", 3, 3, "--no-progress"]
    broken = train / wnid("dog") / "0002.png"
    broken.write_bytes(b"")
    finished = start(repo_root, "check_imagenet", *options, "--delete-list", tmp_path / "bad.txt")
    assert finished.returncode == 1, finished.stderr
    lines = finished.stdout.splitlines()
    assert lines[0] == "train 2 class folders, 6 images, 3 to 3 a class"
    assert "unreadable  1" in lines
    assert lines[-1] == "1 problem"
    assert (tmp_path / "bad.txt").read_text() == f"{broken}\n"


@pytest.mark.parametrize(("folder", "code", "last"), [("", 0, "no problems found"), ("gone", 2, "")])
def test_check_imagenet_ends_with_0_where_all_is_fine_and_2_where_nothing_is(train, status, capsys, folder, code, last):
    (train / wnid("dog") / "0002.png").write_bytes(b"")  # which --fast does not open
    options = ["--classes", 2, "--images-per-class", 3, 3, "--fast", "--no-progress"]
    assert status("check_imagenet", train.parent / folder, *options) == code
    printed = capsys.readouterr()
    assert printed.out.splitlines()[-1:] == ([last] if last else [])
    assert printed.err.startswith("error: ImageNet folder") == (code == 2)
