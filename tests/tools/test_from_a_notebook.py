"""The functions of apis, called as in a notebook: files and folders, and defaults for the rest."""

import json
import shutil

import pytest

from mmssl_dynamic.apis import evaluate, export, route
from mmssl_dynamic.errors import ConfigError
from mmssl_dynamic.execution import Execution
from mmssl_dynamic.loading import load_config, source_of


@pytest.fixture
def run(work, bank, tmp_path):
    """Config and checkpoint of a run, with its bank, in a folder that results may go into."""
    for file in (work / "config.py", work / "epoch_1.pth", bank):
        shutil.copy(file, tmp_path)
    return tmp_path / "config.py", tmp_path / "epoch_1.pth"


def test_routing_evaluation_and_export_need_a_config_a_checkpoint_and_images(run, work, tmp_path):
    ((ranking, winner),) = route(*run, tasks=[work / "pets"])
    assert (tmp_path / "routing/routing.json").is_file()
    assert winner.path.parent == tmp_path / "routing"
    (again,) = export(*run, tmp_path / "winner.pth", ranking)
    assert again.path.is_file()
    result = evaluate(*run, work / "pets", execution=Execution(workers=0, progress=False))
    assert (tmp_path / "evaluation/results.json").is_file()
    assert ranking.best.name in [network.name for network in result.networks]


def test_an_export_names_file_and_options_of_a_config_that_was_loaded_with_some(run, tmp_path):
    options = {"eval_pipeline.1.crop_size": 24}
    config = load_config(run[0], options)
    assert source_of(config) == (str(run[0]), options)
    assert source_of(config.copy())[1] == options
    (report,) = export(config, run[1], tmp_path / "net.pth", "0-0-1-0")
    source = json.loads(report.sidecar.read_text())["source"]
    assert (source["config"], source["cfg_options"]) == (str(run[0]), options)


def test_a_config_made_in_python_is_refused_where_a_result_has_to_name_it(run, tmp_path):
    config = type(load_config(run[0]))(load_config(run[0]).to_dict())
    with pytest.raises(ConfigError, match=r"a config without a file .* config\.dump"):
        export(config, run[1], tmp_path / "net.pth", "0-0-1-0")
