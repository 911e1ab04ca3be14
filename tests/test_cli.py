import subprocess
import sys
import warnings
from importlib.util import find_spec
from pathlib import Path

import pytest

from mmssl_dynamic import cli
from mmssl_dynamic.errors import DataError, UserNotice


def test_a_users_error_becomes_one_line_and_status_2(capsys):
    def main():
        raise DataError("image a.jpg is broken; remove it.")

    with pytest.raises(SystemExit) as stop:
        cli.run(main)
    assert stop.value.code == 2
    assert capsys.readouterr().err == "error: image a.jpg is broken; remove it.\n"


def test_an_error_out_of_a_loader_worker_keeps_its_sentence_only():
    wrapped = DataError(
        "Caught DataError in DataLoader worker process 0.\nOriginal Traceback (most recent call last):\n"
        '  File "x.py", line 1\nmmssl_dynamic.errors.DataError: image a.jpg is broken; remove it.\n'
    )
    assert cli.one_sentence(wrapped) == "image a.jpg is broken; remove it."


def test_the_classes_that_mmengine_was_building_are_left_out():
    wrapped = DataError("class `SDR` in a/b.py: class `SDRResNet` in c/d.py: depth=20 is not available; choose.")
    assert cli.one_sentence(wrapped) == "depth=20 is not available; choose."


@pytest.mark.parametrize(
    ("module", "remedy"),
    [
        ("torch", "pip install mmssl-dynamic`"),
        ("mmpretrain.models", "'mmssl-dynamic[openmmlab]'"),
        ("mmdet", "[mmdet]"),
    ],
)
def test_a_package_that_is_not_installed_is_one_sentence(module, remedy, capsys):
    def main():
        raise ModuleNotFoundError(f"No module named '{module}'", name=module)

    with pytest.raises(SystemExit) as stop:
        cli.run(main)
    assert stop.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"error: {module.split('.')[0]} is not installed in this environment; run `pip install ")
    assert remedy in line


def test_a_module_of_the_users_own_that_is_missing_keeps_its_traceback():
    def main():
        raise ModuleNotFoundError("No module named 'my_module'", name="my_module")

    with pytest.raises(ModuleNotFoundError):
        cli.run(main)


def test_other_errors_keep_their_traceback():
    with pytest.raises(ZeroDivisionError):
        cli.run(lambda: 1 / 0)


@pytest.mark.parametrize(
    "tool",
    [
        "train",
        "extract_features",
        "cluster",
        "calibrate_bn",
        "route",
        "export",
        "check_images",
        "demo",
        "demo_dspnet",
        "log_scalars",
    ],
)
def test_every_tool_explains_itself(tool, repo_root):
    result = subprocess.run(
        [sys.executable, str(repo_root / "tools" / f"{tool}.py"), "--help"], capture_output=True, text=True, check=True
    )
    assert "usage:" in result.stdout
    assert len(result.stdout.splitlines()) > 8


def test_tools_report_bad_input_in_one_line_without_a_traceback(repo_root):
    command = [sys.executable, str(repo_root / "tools/train.py"), "nowhere.py"]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert result.returncode == 2
    assert result.stderr.strip().splitlines()[-1] == "error: config nowhere.py does not exist; check the path."
    assert "Traceback" not in result.stderr


def test_a_notice_is_one_line_and_other_warnings_stay_as_they_are():
    before, shown = warnings.formatwarning, []

    def main():
        for message in (UserNotice("3 files are left out"), UserWarning("something else")):
            shown.append(warnings.formatwarning(message, type(message), "module.py", 7))

    cli.run(main)
    assert shown[0] == "note: 3 files are left out\n"
    assert shown[1].startswith("module.py:7: UserWarning: something else")
    assert warnings.formatwarning is before


def test_warnings_of_upstreams_imports_are_not_shown(recwarn):
    transformer = find_spec("mmcv").submodule_search_locations[0] + "/cnn/bricks/transformer.py"
    package_utils = find_spec("mmengine").submodule_search_locations[0] + "/utils/package_utils.py"
    assert "'Fail to import ``MultiScaleDeformableAttention`` from '" in Path(transformer).read_text()
    assert "import pkg_resources" in Path(package_utils).read_text()

    def main():
        warnings.warn("Fail to import ``MultiScaleDeformableAttention`` from ``mmcv.ops``, ...", stacklevel=2)
        warnings.warn("pkg_resources is deprecated as an API. See ...", stacklevel=2)
        warnings.warn("k=200 is cut to 12.", stacklevel=2)

    cli.run(main)
    assert [str(warning.message) for warning in recwarn] == ["k=200 is cut to 12."]


def test_a_file_that_the_system_refuses_is_one_line_with_its_name(capsys):
    with pytest.raises(SystemExit) as stop:
        cli.run(lambda: Path("/proc/no/such/file").read_bytes())
    assert stop.value.code == 2
    assert capsys.readouterr().err == (
        "error: /proc/no/such/file: No such file or directory; correct the path or its permissions.\n"
    )


def test_modules_in_the_current_folder_can_be_named(tmp_path, monkeypatch):
    (tmp_path / "own_module_of_a_run.py").write_text("")
    monkeypatch.chdir(tmp_path)
    before = list(sys.path)
    found = []
    cli.run(lambda: found.append(find_spec("own_module_of_a_run")))
    assert found[0] is not None
    assert sys.path == before


def test_a_tilde_is_the_home_folder_also_behind_an_equals_sign(monkeypatch):
    monkeypatch.setenv("HOME", "/home/ada")
    given = [
        "tool.py",
        "~/a",
        "--out=~/b c",
        "data_root=~/d",
        "--baseline",
        "x=~/r.json",
        "a~b",
        "~",
        "--k=3",
        "x=a=~/b",
    ]
    monkeypatch.setattr(sys, "argv", given)
    seen = []
    cli.run(lambda: seen.extend(sys.argv))
    assert seen[1:] == [
        *("/home/ada/a", "--out=/home/ada/b c", "data_root=/home/ada/d", "--baseline", "x=/home/ada/r.json"),
        *("a~b", "/home/ada", "--k=3", "x=a=~/b"),
    ]
    assert sys.argv is given


QUICK = """
import runpy, sys
sys.path.insert(0, {root!r})
sys.argv = {arguments!r}
try:
    runpy.run_path({script!r}, run_name="__main__")
except SystemExit as stop:
    print(stop.code, "torch" in sys.modules)
"""


@pytest.mark.parametrize(
    ("tool", "arguments", "message"),
    [
        ("train", ["nowhere.py"], "config nowhere.py does not exist"),
        ("train", ["CONFIG", "--cfg-options", "image_szie=32"], "did you mean image_size?"),
        ("train", ["CONFIG", "--cfg-options", "max_epochs"], "has the form KEY=VALUE"),
        ("train", ["CONFIG", "--resume", "none.pth"], "checkpoint none.pth does not exist"),
        ("train", ["CONFIG", "--work-dir", "CONFIG"], "cannot be written"),
        ("train_det", ["none.py"], "config none.py does not exist"),
        ("test_det", ["CONFIG", "none.pth"], "checkpoint none.pth does not exist"),
        ("evaluate", ["CONFIG", "CONFIG", "--data-root", "none", "--out", "x"], "data folder none does not exist"),
        ("evaluate", ["CONFIG", "CONFIG", "--data-root", ".", "--out", "x.json"], "has the name of a file"),
        ("evaluate", ["CONFIG", "CONFIG", "--data-root", ".", "--out", "x", "--k", "0"], "--k 0 must be at least 1"),
        ("route", ["CONFIG", "CONFIG", "--out", "x"], "give --data-root or --dataset-config"),
        ("route", ["CONFIG", "CONFIG", "--out", "x", "--bank", "none"], "BN bank none does not exist"),
        ("transfer", ["CONFIG", "CONFIG", "--data-root", "none", "--out", "x"], "--data-root none does not exist"),
        ("export", ["CONFIG", "CONFIG", "--subnet", "full", "--out", "x"], "must end in .pth or .safetensors"),
        ("extract_features", ["CONFIG", "CONFIG", "--out", "x"], "must end in .npy"),
        ("cluster", ["none.npy", "--num-clusters", "4"], "features file none.npy does not exist"),
        ("calibrate_bn", ["CONFIG", "CONFIG", "--images", "1"], "--images 1 must be at least 2"),
        ("prune", ["CONFIG", "CONFIG", "--like", "none.py", "--out", "x"], "config none.py does not exist"),
        ("log_scalars", ["none"], "result none does not exist"),
        ("check_images", ["none"], "image folder none does not exist"),
        ("demo", ["--data", "none"], "image folder none does not exist"),
        ("demo_dspnet", ["--epochs", "0"], "--epochs 0 must be at least 1"),
    ],
)
def test_what_the_arguments_alone_decide_is_refused_without_importing_torch(tool, arguments, message, repo_root):
    config = str(repo_root / "configs/demo/simsiam_demo.py")
    script = str(repo_root / "tools" / f"{tool}.py")
    given = [script, *(config if entry == "CONFIG" else entry for entry in arguments)]
    code = QUICK.format(root=str(repo_root), arguments=given, script=script)
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert message in result.stderr
    assert result.stdout.split() == ["2", "False"]
    assert len(result.stderr.strip().splitlines()) == 1


FOLDER = Path(__file__).parents[1] / "tools"


@pytest.mark.parametrize("tool", sorted([*FOLDER.glob("*.py"), *FOLDER.glob("data/*.py")]), ids=lambda path: path.stem)
def test_help_imports_no_torch(tool, repo_root):
    script = str(tool)
    code = QUICK.format(root=str(repo_root), arguments=[script, "--help"], script=script)
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.startswith("usage: ")
    assert result.stdout.split()[-2:] == ["0", "False"]
    assert result.stderr == ""
