"""The set-up behind `make demo` and `make test`: its checks, its memory, and which mmcv it takes."""

from __future__ import annotations

import importlib
import os
import platform
import subprocess
import sys
from pathlib import Path

import pytest


@pytest.fixture
def scripts(repo_root, monkeypatch):
    """The modules of tools/dev, which import each other as scripts do."""
    monkeypatch.syspath_prepend(str(repo_root / "tools" / "dev"))
    names = ("process", "mmcv_setup", "setup_env")
    yield tuple(importlib.import_module(name) for name in names)
    for name in names:
        del sys.modules[name]


@pytest.fixture
def process(scripts):
    return scripts[0]


@pytest.fixture
def mmcv_setup(scripts):
    return scripts[1]


@pytest.fixture
def setup_env(scripts):
    return scripts[2]


def make(repo_root: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run make in the checkout."""
    variables = {name: value for name, value in os.environ.items() if not name.startswith(("MAKE", "MFLAGS", "PYTHON"))}
    return subprocess.run(
        ["make", *arguments], cwd=repo_root, env=variables, capture_output=True, text=True, check=False
    )


def script(path: Path, text: str) -> Path:
    """An executable shell script."""
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return path


def test_make_alone_lists_every_command(repo_root):
    printed = make(repo_root).stdout
    for name in ("demo", "test", "lint", "typecheck", "unit"):
        assert f"make {name} " in printed


def test_make_refuses_a_python_out_of_range_in_one_sentence(repo_root, tmp_path):
    old = script(tmp_path / "python", 'case $1 in --version) echo "Python 3.9.1";; esac; [ -z "$2" ] || exit 1')
    finished = make(repo_root, "setup-test", f"PYTHON={old}")
    assert finished.returncode != 0
    assert "Python 3.9.1 is not supported: name a Python 3.10, 3.11 or 3.12" in finished.stderr


def test_make_refuses_a_python_that_does_not_run(repo_root, tmp_path):
    finished = make(repo_root, "setup-demo", f"PYTHON={tmp_path / 'absent'}")
    assert finished.returncode != 0
    assert "does not run" in finished.stderr


def test_finished_set_up_is_remembered_until_a_requirement_changes(setup_env, tmp_path):
    requirements = tmp_path / "runtime.txt"
    requirements.write_text("torch==2.11.0\n")
    before = setup_env.fingerprint("demo", [requirements])
    assert setup_env.fingerprint("demo", [requirements]) == before
    assert setup_env.fingerprint("test", [requirements]) != before
    requirements.write_text("torch==2.12.0\n")
    assert setup_env.fingerprint("demo", [requirements]) != before


def test_environment_of_the_tests_serves_the_demo_and_not_the_other_way_round(setup_env, tmp_path):
    setup_env.remember(tmp_path, "test")
    assert any(setup_env.is_current(tmp_path, purpose) for purpose in setup_env.SATISFIED_BY["demo"])
    setup_env.stamp(tmp_path, "test").unlink()
    setup_env.remember(tmp_path, "demo")
    assert not any(setup_env.is_current(tmp_path, purpose) for purpose in setup_env.SATISFIED_BY["test"])


def test_a_folder_that_is_no_environment_is_left_alone(setup_env, process, tmp_path):
    (tmp_path / "thesis.txt").write_text("years of work")
    with pytest.raises(process.SetupError, match="VENV="):
        setup_env.create(tmp_path)
    assert (tmp_path / "thesis.txt").read_text() == "years of work"


def test_a_full_disk_is_told_before_anything_is_downloaded(setup_env, process, tmp_path, monkeypatch):
    monkeypatch.setattr(setup_env, "VENV_BYTES", 1e18)
    with pytest.raises(process.SetupError, match=r"GB free .* VENV="):
        setup_env.check_space(tmp_path / "not" / "yet" / "there")


def test_a_python_without_venv_names_the_package_to_install(setup_env, process, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "ensurepip", None)
    with pytest.raises(process.SetupError, match=r"no ensurepip module.*python3\.\d+-venv"):
        setup_env.create(tmp_path / "new")
    assert not (tmp_path / "new").exists()


def test_demo_takes_mmcv_lite_only_where_no_full_mmcv_is(setup_env, mmcv_setup, monkeypatch):
    python = Path(sys.executable)
    monkeypatch.setattr(mmcv_setup, "is_installed", lambda _: True)
    assert not any("mmcv" in argument for argument in setup_env.requirement_arguments("demo", python))
    monkeypatch.setattr(mmcv_setup, "is_installed", lambda _: False)
    assert any(argument.endswith("mmcv-lite.txt") for argument in setup_env.requirement_arguments("demo", python))


def test_only_a_wheel_for_this_python_and_machine_is_taken(mmcv_setup, tmp_path):
    version, tag = mmcv_setup.pinned_version(), f"cp{sys.version_info[0]}{sys.version_info[1]}"
    system = f"{sys.platform}_{platform.machine()}"
    for name in (f"{version}-cp38-cp38-{system}", f"{version}-{tag}-{tag}-linux_toaster", f"9.9-{tag}-{tag}-{system}"):
        (tmp_path / f"mmcv-{name}.whl").touch()
    assert mmcv_setup.matching_wheel(tmp_path) is None
    assert mmcv_setup.matching_wheel(tmp_path / "absent") is None
    fitting = tmp_path / f"mmcv-{version}-{tag}-{tag}-{system}.whl"
    fitting.touch()
    assert mmcv_setup.matching_wheel(tmp_path) == fitting


def test_a_compiler_is_asked_for_only_when_mmcv_has_to_be_compiled(mmcv_setup, process, tmp_path, monkeypatch):
    monkeypatch.setenv("CXX", "no-such-compiler")
    absent = tmp_path / "bin" / "python"
    with pytest.raises(process.SetupError, match="C\\+\\+ compiler 'no-such-compiler'"):
        mmcv_setup.check_can_install(absent, tmp_path)
    tag = f"cp{sys.version_info[0]}{sys.version_info[1]}"
    (tmp_path / f"mmcv-{mmcv_setup.pinned_version()}-{tag}-{tag}-{sys.platform}_{platform.machine()}.whl").touch()
    mmcv_setup.check_can_install(absent, tmp_path)


def test_compiling_shows_how_far_it_is_and_keeps_the_whole_log(mmcv_setup, tmp_path, capsys):
    compiler = script(tmp_path / "pip", 'echo "  [1/2] c++ a.cpp"; echo "warning: b"; echo "  [2/2] c++ c.cpp"; exit 3')
    with open(tmp_path / "log", "w") as log:
        assert mmcv_setup.follow([str(compiler)], log, dict(os.environ)) == 3
    assert "1 of 2 files compiled" in capsys.readouterr().out
    assert len((tmp_path / "log").read_text().splitlines()) == 3
