"""What an installation holds: the files of a wheel and of an editable install, the model index, the requirements."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import zipfile
from email.message import Message
from email.parser import Parser
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from mmssl_dynamic.commands.registry import VERBS

PROJECT_FILES = ("setup.py", "pyproject.toml", "LICENSE", "MANIFEST.in", "model-index.yml")
PROJECT_FOLDERS = ("mmssl_dynamic", "configs", "tools")


@pytest.fixture(scope="module")
def checkout(tmp_path_factory, repo_root) -> Path:
    """A copy of what a build reads, so that no build leaves anything in the real checkout."""
    copy = tmp_path_factory.mktemp("checkout")
    for name in PROJECT_FILES:
        shutil.copy(repo_root / name, copy / name)
    for name in PROJECT_FOLDERS:
        shutil.copytree(
            repo_root / name, copy / name, ignore=shutil.ignore_patterns("__pycache__", ".mim", "work_dirs")
        )
    return copy


def pip(*arguments: str | Path) -> None:
    """Run pip without the network and without a build environment of its own."""
    command = [sys.executable, "-m", "pip", *map(str, arguments)]
    options = ["--quiet", "--no-index", "--no-deps", "--no-build-isolation"]
    finished = subprocess.run(
        [*command, *options], capture_output=True, text=True, check=False, env={**os.environ, "PIP_NO_CACHE_DIR": "1"}
    )
    assert finished.returncode == 0, finished.stdout + finished.stderr


@pytest.fixture(scope="module")
def wheel(tmp_path_factory, checkout) -> zipfile.ZipFile:
    """The wheel, built for real."""
    folder = tmp_path_factory.mktemp("wheel")
    pip("wheel", checkout, "--wheel-dir", folder)
    (path,) = folder.glob("*.whl")
    with zipfile.ZipFile(path) as archive:
        yield archive


@pytest.fixture(scope="module")
def metadata(wheel) -> Message:
    """METADATA of the wheel."""
    (name,) = [name for name in wheel.namelist() if name.endswith(".dist-info/METADATA")]
    return Parser().parsestr(wheel.read(name).decode())


@pytest.fixture(scope="module")
def editable_site(tmp_path_factory, checkout) -> Path:
    """A folder that ``pip install --editable`` of the copy filled."""
    site = tmp_path_factory.mktemp("site")
    pip("install", "--editable", checkout, "--target", site)
    return site


def package_found_in(site: Path, cwd: Path) -> Path:
    """The folder that ``import mmssl_dynamic`` would read where only ``site``, with its .pth files, is installed."""
    code = (
        f"import site; site.addsitedir({str(site)!r})\n"
        "from importlib.util import find_spec; print(find_spec('mmssl_dynamic').submodule_search_locations[0])"
    )
    # -I -S: neither this environment, where the real checkout is installed, nor PYTHONPATH.
    command = [sys.executable, "-I", "-S", "-c", code]
    finished = subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False)
    assert finished.returncode == 0, finished.stderr
    return Path(finished.stdout.strip())


def relative_files(folder: Path) -> set[str]:
    """Posix paths of the files under ``folder`` as they should stand in ``.mim``."""
    files = (path.relative_to(folder) for path in folder.rglob("*") if path.is_file())
    return {path.as_posix() for path in files if "__pycache__" not in path.parts and path.parts[0] != "dev"}


def test_version_is_read_without_importing_the_package(metadata, repo_root):
    text = (repo_root / "mmssl_dynamic" / "version.py").read_text()
    assert metadata["Name"] == "mmssl-dynamic"
    assert f'__version__ = "{metadata["Version"]}"' in text
    assert "import mmssl_dynamic" not in (repo_root / "setup.py").read_text()


def test_wheel_holds_every_module_and_nothing_of_the_checkout_around_it(wheel, checkout):
    modules = {path.relative_to(checkout).as_posix() for path in (checkout / "mmssl_dynamic").rglob("*.py")}
    packed = set(wheel.namelist())
    assert modules <= packed, "a folder of the package lacks its __init__.py"
    top_level = {name.split("/")[0] for name in packed if ".dist-info/" not in name}
    assert top_level == {"mmssl_dynamic"}
    assert any(name.endswith("LICENSE") for name in packed)


def test_wheel_carries_configs_tools_and_model_index_in_mim(wheel, checkout):
    prefix = "mmssl_dynamic/.mim/"
    packed = {name.removeprefix(prefix) for name in wheel.namelist() if name.startswith(prefix)}
    expected = {f"configs/{name}" for name in relative_files(checkout / "configs")}
    expected |= {f"tools/{name}" for name in relative_files(checkout / "tools")}
    assert packed == expected | {"model-index.yml"}
    assert wheel.read(f"{prefix}model-index.yml") == (checkout / "model-index.yml").read_bytes()


def test_wheel_has_the_console_command(wheel):
    (name,) = [name for name in wheel.namelist() if name.endswith(".dist-info/entry_points.txt")]
    assert wheel.read(name).decode().split("\n")[:2] == [
        "[console_scripts]",
        "mmssl-dynamic = mmssl_dynamic.commands.main:main",
    ]


EVERY_HELP = """
import sys
sys.path.insert(0, {site!r})
from mmssl_dynamic.commands.registry import VERBS
from mmssl_dynamic.commands.main import main
for verb in ["", *VERBS]:
    sys.argv = ["mmssl-dynamic", *verb.split(), "--help"]
    try:
        main()
    except SystemExit as stop:
        assert stop.code == 0, verb
"""


def test_help_of_every_verb_needs_the_standard_library_alone(wheel, tmp_path):
    wheel.extractall(tmp_path, [name for name in wheel.namelist() if name.startswith("mmssl_dynamic/")])
    # -I -S: none of the packages of this environment.
    command = [sys.executable, "-I", "-S", "-c", EVERY_HELP.format(site=str(tmp_path))]
    shown = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert shown.returncode == 0, shown.stderr
    assert shown.stdout.count("usage: mmssl-dynamic ") == 1 + len(VERBS)


@pytest.mark.slow
def test_wheel_in_an_empty_environment_has_a_command_that_explains_itself_and_says_what_is_missing(wheel, tmp_path):
    subprocess.run([sys.executable, "-m", "venv", str(tmp_path / "env")], check=True)
    install = [tmp_path / "env/bin/pip", "install", "--quiet", "--no-index", "--no-deps", wheel.filename]
    subprocess.run(install, check=True)

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = [tmp_path / "env/bin/mmssl-dynamic", *arguments]
        alone = {"PATH": os.defpath}
        return subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False, env=alone)

    assert run("--version").stdout.startswith("mmssl-dynamic ")
    assert run("route", "--help").stdout.startswith("usage: mmssl-dynamic route ")
    missing = run("train", "nowhere.py")
    assert (missing.returncode, missing.stderr) == (2, "error: config nowhere.py does not exist; check the path.\n")
    (tmp_path / "config.py").write_text("x = 1\n")
    assert run("train", "config.py").stderr == (
        "error: torch is not installed in this environment; run `pip install mmssl-dynamic`.\n"
    )
    (site,) = (tmp_path / "env/lib").glob("python*/site-packages")
    assert (site / "mmssl_dynamic/.mim/configs/demo/sdr_demo.py").is_file()


def test_models_are_built_by_name_from_what_the_wheel_carries(wheel, tmp_path, monkeypatch):
    from mmssl_dynamic import config_names, get_model, list_models
    from mmssl_dynamic.errors import ConfigError

    (tmp_path / "configs").mkdir()  # another project's, in the same site-packages
    wheel.extractall(tmp_path, [name for name in wheel.namelist() if "/.mim/" in name])
    here = list_models()
    monkeypatch.setattr(config_names, "__file__", str(tmp_path / "mmssl_dynamic" / "config_names.py"))
    assert config_names.shipped_file("model-index.yml") == tmp_path / "mmssl_dynamic" / ".mim" / "model-index.yml"
    assert list_models() == here
    twin = get_model("sdr_simsiam_r18_16path_tinyin", "0-0-1-2")
    assert twin.out_channels == (520,)
    shutil.rmtree(tmp_path / "mmssl_dynamic")
    with pytest.raises(ConfigError, match=r"model-index\.yml does not ship with this installation"):
        list_models()


def test_editable_install_carries_mim_and_follows_edits_of_the_checkout(editable_site, checkout, tmp_path):
    package = package_found_in(editable_site, tmp_path)
    assert package == checkout / "mmssl_dynamic"
    mim = package / ".mim"
    assert (mim / "model-index.yml").read_bytes() == (checkout / "model-index.yml").read_bytes()
    assert (mim / "tools" / "dist_train.sh").is_file()
    new = checkout / "configs" / "added_after_the_install.py"
    new.write_text("x = 1\n")
    try:
        assert (mim / "configs" / new.name).read_text() == "x = 1\n"
    finally:
        new.unlink()


def test_wheel_built_in_an_editable_checkout_holds_mim_once(editable_site, checkout, tmp_path, wheel):
    assert (checkout / "mmssl_dynamic" / ".mim").is_dir()
    pip("wheel", checkout, "--wheel-dir", tmp_path)
    (path,) = tmp_path.glob("*.whl")
    with zipfile.ZipFile(path) as archive:
        assert sorted(archive.namelist()) == sorted(wheel.namelist())
    assert (checkout / "mmssl_dynamic" / ".mim" / "configs").is_symlink(), "the build touched the editable install"


def test_extras_choose_one_openmmlab_stack_and_the_base_forces_none(metadata):
    requirements = [Requirement(text) for text in metadata.get_all("Requires-Dist")]
    base = {requirement.name for requirement in requirements if requirement.marker is None}
    assert {"torch", "torchvision", "faiss-cpu", "numpy"} <= base
    assert not {name for name in base if "mm" in name.split("-")[0] or name.startswith("onedl")}

    def extra(name: str) -> set[str]:
        wanted = (r for r in requirements if r.marker is not None and r.marker.evaluate({"extra": name}))
        return {requirement.name for requirement in wanted}

    assert "mmcv-lite" in extra("openmmlab")
    assert not {"mmcv", "mmdet"} & extra("openmmlab")
    assert {"mmcv", "mmdet"} <= extra("mmdet")
    assert "mmcv-lite" not in extra("mmdet")
    assert all(name.startswith("onedl-") for name in extra("onedl") | extra("onedl-mmdet"))
    assert "faiss-gpu" in extra("gpu")
    assert "scikit-image" in extra("demo")


def pinned(repo_root: Path) -> dict[str, Requirement]:
    """Every requirement in requirements/*.txt by its name in lower case."""
    lines = [line for path in (repo_root / "requirements").glob("*.txt") for line in path.read_text().splitlines()]
    found = [Requirement(line) for line in lines if line and not line.startswith(("#", "-"))]
    return {requirement.name.lower(): requirement for requirement in found}


def test_requirement_files_cover_setup_py_and_their_pins_lie_in_its_ranges(metadata, repo_root):
    files = pinned(repo_root)
    for text in metadata.get_all("Requires-Dist"):
        requirement = Requirement(text)
        if requirement.name.startswith("onedl-"):
            continue
        assert requirement.name.lower() in files, f"{requirement.name} is in setup.py and in no requirements/*.txt"
        for specifier in files[requirement.name.lower()].specifier:
            if specifier.operator == "==":
                assert requirement.specifier.contains(specifier.version), f"{specifier} is outside {requirement}"


def test_model_index_parses_and_names_files_that_exist(repo_root, monkeypatch):
    from modelindex.load_model_index import load

    monkeypatch.chdir(repo_root)
    index = load("model-index.yml")
    index.build_models_with_collections()
    assert index.models
    for model in index.models:
        assert (repo_root / model.config).is_file(), model.config
        assert Path(model.config).stem == model.name
    imported = set(re.findall(r"configs/\S+", (repo_root / "model-index.yml").read_text()))
    assert imported == {path.relative_to(repo_root).as_posix() for path in repo_root.glob("configs/*/metafile.yml")}
