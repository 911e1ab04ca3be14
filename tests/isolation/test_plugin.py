"""The guard of the suite: leaks are reported and do not reach the next test; a seed repeats an order."""

import os
import subprocess
import sys
from xml.etree import ElementTree

import pytest

LEAKY = "tests/isolation/leaky.py"


def run_pytest(repo_root, *arguments, **variables):
    command = [sys.executable, "-m", "pytest", LEAKY, "-p", "no:cacheprovider", *map(str, arguments)]
    kept = {key: value for key, value in os.environ.items() if not key.startswith("PYTEST_")}
    env = {**kept, "OMP_NUM_THREADS": "1", **variables}
    return subprocess.run(command, cwd=repo_root, env=env, capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def outcomes(repo_root, tmp_path_factory):
    """The report on each of the tests by its name, in the order in which they ran; empty where all was well."""
    pytest.importorskip("pytest_randomly")
    file = tmp_path_factory.mktemp("leaky") / "report.xml"
    done = run_pytest(repo_root, f"--junitxml={file}", PYTEST_SEED="7")
    assert "PYTEST_SEED=7" in done.stdout, done.stdout + done.stderr
    found = {}
    for case in ElementTree.parse(file).iter("testcase"):
        reports = [f"{entry.get('message')} {entry.text}" for entry in case if entry.tag in ("failure", "error")]
        found[case.get("name")] = found.get(case.get("name"), "") + " ".join(reports)
    return found


def test_what_a_test_leaves_behind_is_reported_by_its_name(outcomes, repo_root):
    from tests.isolation import leaky

    leaks = {name: test.__doc__ for name, test in vars(leaky).items() if name.startswith("test_leaves_")}
    assert len(leaks) > 10
    assert leaks.keys() <= outcomes.keys()
    for name, words in leaks.items():
        assert words in outcomes[name], (name, outcomes[name])
        assert "behind: " in outcomes[name]


def test_what_any_training_changes_is_put_back_without_a_word_and_every_test_starts_clean(outcomes):
    wrong = {name: report for name, report in outcomes.items() if report and not name.startswith("test_leaves_")}
    assert not wrong
    assert sum(name.startswith(("test_may_leave_", "test_starts_", "test_sets_up_")) for name in outcomes) == 5


def test_the_seed_repeats_the_order(outcomes, repo_root):
    listed = run_pytest(repo_root, "--collect-only", "-q", PYTEST_SEED="7").stdout
    names = [line.split("::")[1] for line in listed.splitlines() if line.startswith(f"{LEAKY}::")]
    assert names == list(outcomes)
    written = [block.split("(")[0] for block in (repo_root / LEAKY).read_text().split("\ndef ") if "test_" in block[:5]]
    assert list(dict.fromkeys(name.split("[")[0] for name in names)) != written
