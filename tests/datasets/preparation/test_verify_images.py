"""verify_images and tools/check_images.py find exactly the files that training could not read."""

from __future__ import annotations

import runpy
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mmssl_dynamic import cli
from mmssl_dynamic.commands.registry import run_verb
from mmssl_dynamic.datasets import ImageFolder
from mmssl_dynamic.datasets.preparation import verify_images
from mmssl_dynamic.datasets.shards import write_shards
from mmssl_dynamic.errors import ConfigError, DataError


@pytest.fixture
def folder(tmp_path) -> Path:
    """40 good images of two kinds, a truncated one and an empty one."""
    root = tmp_path / "photos"
    (root / "more").mkdir(parents=True)
    noise = Image.fromarray(np.random.default_rng(0).integers(0, 256, (30, 40, 3)).astype(np.uint8))
    for index in range(39):
        noise.save(root / f"{index:02d}.jpg")
    noise.convert("L").crop((0, 0, 8, 9)).save(root / "more" / "grey.png")
    (root / "05x.jpg").write_bytes((root / "05.jpg").read_bytes()[:700])
    (root / "more" / "empty.png").write_bytes(b"")
    return root


def check(repo_root: Path, *arguments: str | Path) -> subprocess.CompletedProcess:
    command = [sys.executable, repo_root / "tools" / "check_images.py", *arguments, "--no-progress"]
    return subprocess.run([str(part) for part in command], capture_output=True, text=True, check=False, cwd=repo_root)


@pytest.mark.parametrize("workers", [1, 3])
def test_report_lists_every_unreadable_file_in_order_and_counts_the_rest(folder, workers):
    report = verify_images(ImageFolder(str(folder), with_label=False), workers=workers, progress=False)
    assert report.num_images == 42
    assert [path for path, _ in report.unreadable] == [f"{folder}/05x.jpg", f"{folder}/more/empty.png"]
    assert all(path in problem for path, problem in report.unreadable)
    assert dict(report.kinds) == {"JPEG RGB": 39, "PNG L": 1}
    assert (min(report.widths), max(report.widths)) == (8, 40)
    assert (min(report.heights), max(report.heights)) == (9, 30)


def test_a_list_of_paths_is_checked_too(folder):
    assert not verify_images([folder / "00.jpg"], workers=1, progress=False).unreadable


def test_a_file_that_may_have_lost_a_part_is_suspect(folder):
    noise = np.random.default_rng(0).integers(1, 256, (90, 90, 3)).astype(np.uint8)
    Image.fromarray(noise).save(folder / "whole.bmp")
    content = (folder / "whole.bmp").read_bytes()
    (folder / "half.bmp").write_bytes(content[: len(content) // 2].ljust(len(content), b"\0"))
    report = verify_images([folder / name for name in ("00.jpg", "whole.bmp", "half.bmp")], 1, progress=False)
    assert (report.unreadable, report.num_images) == ([], 3)
    assert [path for path, _ in report.suspect] == [str(folder / "half.bmp")]
    assert "suspect     1" in report.lines()
    assert report.lines()[-1] == (
        f"image {folder}/half.bmp should be looked at (a large part of its data is zeros: it is black there, or lost)."
    )


def test_a_line_of_which_the_middle_is_used_is_suspect(tmp_path):
    Image.new("RGB", (900, 2)).save(tmp_path / "line.png")
    report = verify_images([tmp_path / "line.png"], 1, progress=False)
    assert "900 x 2 pixels: of so thin an image only the middle is used" in report.suspect[0][1]


def test_packed_images_are_checked_and_cannot_be_deleted(folder, tmp_path, monkeypatch, capsys):
    list(write_shards(folder, tmp_path / "shards"))
    report = verify_images(ImageFolder(data_root=str(tmp_path / "shards"), pipeline=[]), progress=False)
    held = [f"{tmp_path}/shards/{name} in {tmp_path}/shards/000000.tar" for name in ("05x.jpg", "more/empty.png")]
    assert [name for name, _ in report.unreadable] == held
    with pytest.raises(DataError, match="no files that could be deleted"):
        report.write_unreadable(tmp_path / "bad.txt")

    def ends(*arguments):
        with pytest.raises(SystemExit) as ended:
            cli.run(lambda: run_verb("check-images", [str(tmp_path / "shards"), "--no-progress", *arguments]))
        return ended.value.code

    assert ends() == 1
    shown = capsys.readouterr().out
    assert "images      42\nunreadable  2" in shown
    assert f"image more/empty.png in {tmp_path}/shards/000000.tar cannot be used (it is empty" in shown
    assert ends("--delete-list", str(tmp_path / "bad.txt")) == 2
    said = capsys.readouterr().err
    assert said == (
        f"error: --delete-list is of files, and the images of {tmp_path}/shards are packed; leave it out, and pack the "
        "data set anew without the images that are named.\n"
    )
    assert not (tmp_path / "bad.txt").exists()


def test_data_in_memory_and_no_workers_are_refused():
    class InMemory:
        def __len__(self) -> int:
            return 1

        def get_data_info(self, index: int) -> dict:
            return {"img": np.zeros((2, 2, 3))}

    with pytest.raises(DataError, match="in memory"):
        verify_images(InMemory(), progress=False)
    with pytest.raises(ConfigError, match="at least 1"):
        verify_images([], workers=0)


def test_the_tool_prints_the_findings_and_ends_with_status_1(folder, repo_root, tmp_path):
    result = check(repo_root, folder, "--delete-list", tmp_path / "bad.txt")
    assert result.returncode == 1, result.stderr
    assert "images      42" in result.stdout
    assert "unreadable  2" in result.stdout
    assert "39 JPEG RGB" in result.stdout
    assert "width       8 to 40, median 40 px" in result.stdout
    assert (tmp_path / "bad.txt").read_text().splitlines() == [f"{folder}/05x.jpg", f"{folder}/more/empty.png"]
    assert (folder / "05x.jpg").exists()


def test_the_tool_ends_with_status_0_or_2_where_all_or_nothing_can_be_read(
    folder, repo_root, tmp_path, monkeypatch, capsys
):
    tool = str(repo_root / "tools" / "check_images.py")
    (folder / "05x.jpg").unlink()
    (folder / "more" / "empty.png").unlink()
    monkeypatch.setattr(sys, "argv", [tool, str(folder), "--no-progress"])
    runpy.run_path(tool, run_name="__main__")
    assert "unreadable  0" in capsys.readouterr().out
    monkeypatch.setattr(sys, "argv", [tool, str(tmp_path / "gone")])
    with pytest.raises(SystemExit) as ended:
        runpy.run_path(tool, run_name="__main__")
    assert ended.value.code == 2
    assert capsys.readouterr().err == f"error: image folder {tmp_path}/gone does not exist; correct the path.\n"
