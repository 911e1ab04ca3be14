"""tools/gpu_acceptance.sh: every part runs on the CPU and says its figures, so that the first run on a card does."""

import json
import os
import subprocess
import sys

import pytest


@pytest.mark.slow
def test_a_dry_run_passes_and_has_every_figure(repo_root, tmp_path):
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHON": sys.executable}
    command = ["bash", str(repo_root / "tools/gpu_acceptance.sh"), "--dry-run", str(tmp_path)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    record = json.loads((tmp_path / "acceptance.json").read_text())
    assert record["dry_run"]
    assert [part["name"] for part in record["parts"] if not part["passed"]] == []
    figures = [value for part in record["parts"] for values in part["figures"].values() for value in values]
    assert len(figures) > 20
    assert min(figures) > 0
    assert "**failed**" not in (tmp_path / "acceptance.md").read_text()


def test_a_part_that_fails_has_its_line_and_the_status_is_1(repo_root, tmp_path):
    script = """
import runpy, sys
sys.path.insert(0, "tools/benchmarks")
import acceptance
speed = {"speed": "speed " + acceptance._SUMMARY}
def parts():
    yield acceptance.Part("one", ("-c", "print('speed 1.5 (1.0 to 2.0)')"), (), 60, speed)
    yield acceptance.Part("two", ("-c", "print('nothing')"), (), 60, speed)
    yield acceptance.Part("three", ("-c", "raise SystemExit(3)"), (), 60)
    yield acceptance.Part("four", ("-c", "import time; time.sleep(60)"), (), 60)
acceptance.parts = parts
sys.argv = ["acceptance.py", sys.argv[1], "--seconds", "1"]  # of all parts: the first three take them
acceptance.main()
"""
    command = [sys.executable, "-c", script, str(tmp_path)]
    done = subprocess.run(command, cwd=repo_root, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    one, two, three, four = json.loads((tmp_path / "acceptance.json").read_text())["parts"]
    assert (one["passed"], one["figures"]) == (True, {"speed": [1.5, 1.0, 2.0]})
    assert (two["passed"], two["message"]) == (False, "does not say: speed")
    assert (three["passed"], three["message"]) == (False, "status 3")
    assert (four["passed"], four["message"]) == (False, "took longer than 1 s")
    assert "| one | passed" in done.stdout
