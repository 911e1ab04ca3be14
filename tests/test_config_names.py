"""Configs are found by their names wherever the package is installed, and a wrong name is told the nearest ones."""

import argparse
import shutil
from pathlib import Path

import pytest

from mmssl_dynamic import config_names, get_model
from mmssl_dynamic.arguments import Checked, config_or_name
from mmssl_dynamic.config_names import config_file, find_shipped, shipped_configs
from mmssl_dynamic.errors import ConfigError
from mmssl_dynamic.loading import load_config

NAME = "sdr_simsiam_r50_16path_custom"


@pytest.fixture
def installed(tmp_path, monkeypatch, repo_root):
    """As in a wheel: configs in .mim, no checkout, and another project's folder of configs beside the package."""
    site = tmp_path / "site"
    mim = site / "mmssl_dynamic/.mim"
    shutil.copytree(repo_root / "configs", mim / "configs")
    shutil.copy(repo_root / "model-index.yml", mim)
    (site / "configs/sdr").mkdir(parents=True)
    (site / f"configs/sdr/{NAME}.py").write_text("other = 1")
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    monkeypatch.setattr(config_names, "__file__", str(site / "mmssl_dynamic/config_names.py"))
    return mim / "configs"


@pytest.mark.parametrize("name", [NAME, f"{NAME}.py", f"sdr/{NAME}", f"configs/sdr/{NAME}.py"])
def test_a_name_is_that_of_the_config_that_ships(installed, name):
    assert config_file(name) == installed / f"sdr/{NAME}.py"
    assert load_config(name).model.backbone.type == "mmssl_dynamic.SDRResNet"


def test_a_file_that_is_there_comes_first(installed):
    own = Path(f"{NAME}.py")
    own.write_text("x = 1")
    assert config_file(own) == own
    assert config_file(NAME) == installed / f"sdr/{NAME}.py"


def test_every_config_has_a_name_of_its_own_and_parts_of_others_have_none(repo_root):
    known = shipped_configs()
    stems = [path.stem for path in known.values()]
    assert len(stems) == len(set(stems)) > 50
    assert not [path for path in known if "_base_" in path]
    assert find_shipped("sdr_sgd_200e") is None


def test_two_configs_of_one_name_need_their_folders(installed):
    shutil.copy(installed / f"sdr/{NAME}.py", installed / "dspnet")
    with pytest.raises(ConfigError, match=f"config {NAME} may be dspnet/{NAME} or sdr/{NAME}; give the name with"):
        config_file(NAME)
    assert config_file(f"dspnet/{NAME}") == installed / f"dspnet/{NAME}.py"


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("sdr_simsiam_r50_16path_costum", f"none of that name ships with the package; did you mean {NAME}"),
        (f"configs/{NAME[:-2]}.py", f"did you mean {NAME}"),
        ("nowhere.py", "config nowhere.py does not exist; check the path"),
        ("s3://bucket/config.py", "is an address"),
    ],
)
def test_what_is_neither_is_one_sentence(installed, name, words):
    with pytest.raises(ConfigError, match=words):
        config_file(name)


def test_a_folder_is_no_config(installed):
    Path("runs").mkdir()
    with pytest.raises(ConfigError, match="config runs is a folder"):
        config_file("runs")


def test_a_command_line_takes_a_name(installed):
    parser = argparse.ArgumentParser()
    parser.add_argument("config", action=Checked, check=config_or_name)
    assert parser.parse_args([NAME]).config == str(installed / f"sdr/{NAME}.py")


def test_get_model_takes_a_path_and_a_name(installed, tmp_path):
    options = dict(stage_channels=(8, 8, 16, 16), stem_channels=4)
    own = tmp_path / "own.py"
    own.write_text(f"_base_ = [{str(installed / 'sdr/sdr_simsiam_r18_16path_tinyin.py')!r}]")
    nets = [get_model(which, **options) for which in (own, "sdr/sdr_simsiam_r18_16path_tinyin")]
    assert [type(net).__name__ for net in nets] == ["SDRResNet"] * 2
