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
